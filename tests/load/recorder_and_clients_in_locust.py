"""Users and other clients inside real Locust, as the recorder counts them; see test_recorder.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent.server import StreamServer
from locust import User, constant, task  # noqa: TID251  (a process of its own)
from locust.env import Environment  # noqa: TID251  (as above)
from locust.exception import (  # noqa: TID251  (as above)
    InterruptTaskSet,
    RescheduleTask,
    StopUser,
)

from launchday.histogram import LogHistogram, bucket_of
from launchday.load.cells import CellBook
from launchday.load.http import HttpClient, Response
from launchday.load.recorder import Recorder
from tests.load.recorder_in_locust import CLASSES, environment_with_runner, listened_to


@pytest.fixture
def service() -> Iterator[tuple[str, Callable[[], int]]]:
    """Answers every request, each tenth with 503; gives its URL and what it counted."""
    answered = 0

    def serve(connection: Any, _: Any) -> None:
        nonlocal answered
        received = b""
        while more := connection.recv(65536):
            received += more
            while b"\r\n\r\n" in received:
                _, _, received = received.partition(b"\r\n\r\n")
                answered += 1
                status = b"503 x" if answered % 10 == 0 else b"200 OK"
                connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nhi")

    server = StreamServer(("127.0.0.1", 0), serve)
    server.start()
    yield f"http://127.0.0.1:{server.server_port}", lambda: answered
    server.stop()


@pytest.mark.parametrize("listener", [False, True])
def test_a_plain_locust_user_is_counted_to_the_request(
    service: tuple[str, Callable[[], int]], listener: bool
) -> None:
    url, answered = service

    class Plain(User):
        wait_time = constant(0)

        def on_start(self) -> None:
            recorder = Recorder.of(self.environment)
            self.client = HttpClient(url, recorder, self, timeout_seconds=10.0)

        @task
        def ask(self) -> None:
            self.client.get("/a", name="a")
            with self.client.post("/b", json=1, catch_response=True) as response:
                response.success()

    environment = Environment(user_classes=[Plain])
    runner = environment.create_local_runner()
    if listener:
        listened_to(environment)
    runner.start(10, spawn_rate=100)
    with gevent.Timeout(30):
        while environment.stats.total.num_requests < 2000:
            gevent.sleep(0.01)
    runner.stop()
    stats = environment.stats
    # Of the requests in flight when the users were stopped nobody knows.
    assert answered() - 10 <= stats.total.num_requests <= answered()
    assert stats.total.num_requests == sum(each.num_requests for each in stats.entries.values())
    assert set(stats.entries) == {("a", "GET"), ("/b", "POST")}
    assert stats.entries["a", "GET"].num_failures > 0
    assert stats.entries["/b", "POST"].num_failures == 0
    runner.quit()


class GrpcError(Exception):
    """What another client's library raises."""


@pytest.mark.parametrize(
    ("response", "exception", "outcome"),
    [
        (None, None, "ok"),
        (None, GrpcError("unavailable"), "invalid"),
        (None, ConnectionResetError(), "connection"),
        (None, TimeoutError(), "timeout"),
        (SimpleNamespace(status_code=200, headers={}), None, "ok"),
        (SimpleNamespace(status_code=503, headers={"Retry-After": "1"}), OSError(), "shed"),
    ],
)
def test_what_other_clients_report_of_an_arrival_is_on_record(
    response: object, exception: Exception | None, outcome: str
) -> None:
    environment, cells = environment_with_runner(), CellBook()
    Recorder.of(environment).keep(cells, 0.5)
    hook: Any = environment.events.request  # Locust's events have no types
    for context in ({"launchday": (3.2, 0.1, CLASSES)}, {}):
        hook.fire(
            request_type="GRPC",
            name="state",
            response_time=200.0,
            response_length=7,
            response=response,
            exception=exception,
            context=context,
        )
    [(key, cell)] = cells.take().items()
    assert key == (3, "state", "critical", outcome)
    assert (cell.count, cell.response_bytes) == (1, 7)
    assert cell.service == LogHistogram({bucket_of(0.2): 1})
    assert cell.corrected == LogHistogram({bucket_of(0.2 + 0.1): 1})
    assert environment.stats.total.num_requests == 2


@pytest.mark.parametrize("leaving", [StopUser, RescheduleTask, InterruptTaskSet])
def test_leaving_a_task_says_nothing_about_the_answer(
    service: tuple[str, Callable[[], int]], leaving: type[Exception]
) -> None:
    url, _ = service
    environment = environment_with_runner()
    client = HttpClient(url, Recorder.of(environment), timeout_seconds=10.0)
    for judge in (Response.success, partial(Response.failure, words="wrong car"), Response.json):
        with (
            suppress(leaving, ValueError),
            client.get("/", catch_response=True) as response,
        ):
            judge(response)
            raise leaving
    client.close()
    Recorder.of(environment).fold()
    assert environment.stats.total.num_requests == 3
    failures = {error.error: error.occurrences for error in environment.stats.errors.values()}
    assert sorted(failures.values()) == [1, 1], failures
    assert any("wrong car" in str(words) for words in failures)
