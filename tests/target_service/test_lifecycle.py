"""Starting, being ready, draining: who is served, who is told to come back, and when it ends."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_service.lifecycle import (
    Lifecycle,
    LifecycleMiddleware,
    State,
    wait_for_dependency,
)
from tests.ports import free_port
from tests.target_service.processes import environment

TINY = "tests.target_service.tiny_service"
READY_LINE = "tiny ready on"


def wait_until_down(url: str) -> None:
    """Return when nobody accepts connections there any more."""
    while True:
        try:
            httpx.get(f"{url}/readyz", timeout=5, trust_env=False)
        except httpx.TransportError:
            return
        time.sleep(0.02)


class Unready:
    """The tiny service from its first moment on, ready or not."""

    def __init__(self, log: Path, settings: dict[str, str]) -> None:
        self.log = log
        port = free_port()
        address = {"TARGET_PORT": str(port), "TARGET_METRICS_PORT": "0"}
        with log.open("w") as stderr:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", TINY],
                env=environment(**address, **settings),
                stderr=stderr,
            )
        url = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def close(self) -> None:
        self.http.close()
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()


Start = Callable[..., Unready]


@pytest.fixture
def unready(tmp_path: Path) -> Iterator[Start]:
    """`unready(TINY_NEEDS_PORT="1")`: a tiny service that is only starting."""
    started: list[Unready] = []

    def start_one(**settings: str) -> Unready:
        started.append(Unready(tmp_path / "log", settings))
        return started[-1]

    yield start_one
    for process in started:
        process.close()


def in_flight(process: Any, path: str, pool: ThreadPoolExecutor) -> Future[httpx.Response]:
    """Send a request in a thread and return when it has arrived."""
    before = process.http.get("/inside").json()
    answer = pool.submit(httpx.get, process.url + path, timeout=30, trust_env=False)
    while process.http.get("/inside").json() == before:
        assert not answer.done(), answer.result()
        time.sleep(0.02)
    return answer


# ---- start


def test_while_it_starts_it_says_what_is_missing_and_then_it_becomes_ready(
    eventually: Any, unready: Start
) -> None:
    port = free_port()
    tiny = unready(TINY_NEEDS_PORT=str(port))
    eventually(lambda: "waiting for" in tiny.log.read_text())
    refused = tiny.http.get("/echo")
    readiness = tiny.http.get("/readyz")
    with socket.create_server(("127.0.0.1", port)):
        eventually(lambda: READY_LINE in tiny.log.read_text())
    assert (refused.status_code, readiness.status_code) == (503, 503)
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["unavailable-cause"] == "dependency"
    assert 1 <= int(refused.headers["retry-after"]) <= 3
    assert refused.json()["dependency"] == "database"
    assert refused.json()["processed"] is False
    assert readiness.json() == {
        "ready": False,
        "state": "starting",
        "missing": {"database": f"waiting for 127.0.0.1:{port}: connection refused"},
    }
    assert tiny.http.get("/echo").status_code == 200
    assert tiny.http.get("/readyz").json() == {"ready": True, "state": "ready", "missing": {}}
    lines = tiny.log.read_text().splitlines()
    assert len(lines) == 2, lines  # one reason, one line, however many tries
    assert f"waiting for the database at 127.0.0.1:{port}: connection refused" in lines[0]
    assert "giving up in 60 s" in lines[0]


def test_a_database_that_stays_away_ends_the_start_with_code_2(unready: Start) -> None:
    tiny = unready(TINY_NEEDS_PORT=str(free_port()), TARGET_DATABASE_WAIT_SECONDS="0.3")
    assert tiny.popen.wait(30) == 2
    waiting, last = tiny.log.read_text().splitlines()
    assert "waiting for the database" in waiting
    assert last == "no database there: connection refused"


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


async def wait(
    clock: Clock, lifecycle: Lifecycle, wait_seconds: float, open_it: Callable[[], Awaitable[None]]
) -> None:
    await wait_for_dependency(
        open_it,
        name="database",
        address="here",
        failures=(ConnectionError,),
        wait_seconds=wait_seconds,
        lifecycle=lifecycle,
        clock=clock,
        sleep=clock.sleep,
    )


@given(st.floats(0, 100), st.floats(0, 100))
def test_it_waits_as_long_as_it_may_and_no_longer(
    wait_seconds: float, there_at_seconds: float
) -> None:
    clock, lifecycle = Clock(), Lifecycle()

    async def open_it() -> None:
        if clock.now < there_at_seconds:
            raise ConnectionError("not yet")

    # It tries a last time at the very end, so "there in time" includes that moment.
    if there_at_seconds <= wait_seconds:
        asyncio.run(wait(clock, lifecycle, wait_seconds, open_it))
        assert clock.now <= there_at_seconds + 1.0
        assert lifecycle.missing == {}
    else:
        with pytest.raises(ConnectionError, match="not yet"):
            asyncio.run(wait(clock, lifecycle, wait_seconds, open_it))
        assert wait_seconds <= clock.now <= wait_seconds * (1 + 1e-9)
    assert all(0 < pause <= 1.0 for pause in clock.slept)
    assert clock.slept[:1] in ([], [min(0.1, wait_seconds)])


async def test_each_change_of_reason_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    reasons = iter(["refused", "refused", "starting up", "starting up", "refused"])
    clock, lifecycle = Clock(), Lifecycle()

    async def open_it() -> None:
        if reason := next(reasons, None):
            raise ConnectionError(reason)

    with caplog.at_level("INFO"):
        await wait(clock, lifecycle, 60.0, open_it)
    said = [record.getMessage().split(": ")[1] for record in caplog.records]
    assert [words.split(";")[0] for words in said] == ["refused", "starting up", "refused"]


# ---- drain


def test_readiness_goes_first_and_everybody_is_served_until_the_listener_closes(
    start: Any, eventually: Any
) -> None:
    tiny = start(TINY, TARGET_DRAIN_DELAY_SECONDS="1")
    kept = tiny.http
    assert kept.get("/readyz").status_code == 200
    sent_at = time.monotonic()
    tiny.popen.send_signal(signal.SIGTERM)
    eventually(lambda: kept.get("/readyz").status_code == 503)
    assert kept.get("/readyz").json() == {"ready": False, "state": "draining", "missing": {}}
    served = httpx.get(f"{tiny.url}/echo", trust_env=False)
    assert served.status_code == 200
    assert served.headers["connection"] == "close"
    assert tiny.popen.wait(30) == 0
    assert time.monotonic() - sent_at >= 1.0


def test_what_is_in_flight_finishes_endless_streams_end_and_nothing_new_gets_in(start: Any) -> None:
    tiny = start(TINY, TARGET_DRAIN_SECONDS="20")
    with ThreadPoolExecutor(2) as pool:
        stream = in_flight(tiny, "/stream", pool)
        request = in_flight(tiny, "/slow?seconds=1.5", pool)
        tiny.popen.send_signal(signal.SIGTERM)
        assert stream.result().text == "begun ended"
        wait_until_down(tiny.url)
        assert not request.done()
        answer = request.result()
    assert (answer.status_code, answer.json()) == (200, {"done": True})
    assert answer.headers["connection"] == "close"
    # Far less than the drain: it ends when nothing is left to do.
    assert tiny.popen.wait(10) == 0
    assert len(tiny.log.read_text().splitlines()) == 1, tiny.log.read_text()


def test_what_the_drain_does_not_wait_for_is_told_to_come_back(start: Any) -> None:
    tiny = start(TINY, TARGET_DRAIN_SECONDS="0.5")
    with ThreadPoolExecutor(2) as pool:
        slow = in_flight(tiny, "/slow?seconds=60", pool)
        half = in_flight(tiny, "/half", pool)
        tiny.popen.send_signal(signal.SIGTERM)
        answer = slow.result()
        # Half an answer must not look like a whole one.
        assert isinstance(half.exception(), httpx.RemoteProtocolError)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["unavailable-cause"] == "maintenance"
    assert 1 <= int(answer.headers["retry-after"]) <= 3
    assert answer.json()["reason"] == "draining"
    assert "processed" not in answer.json()  # nobody knows
    assert tiny.popen.wait(10) == 0
    assert len(tiny.log.read_text().splitlines()) == 1, tiny.log.read_text()


def test_a_second_signal_ends_at_once(start: Any, eventually: Any) -> None:
    tiny = start(TINY, TARGET_DRAIN_DELAY_SECONDS="300")
    tiny.popen.send_signal(signal.SIGTERM)
    eventually(lambda: tiny.http.get("/readyz").status_code == 503)
    assert tiny.stop(signal.SIGINT) == 130


async def test_a_time_limit_of_the_application_is_not_taken_for_the_end_of_the_drain() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise TimeoutError("of the application")

    async def nothing(_message: Any = None) -> Any:
        raise AssertionError("nothing is to be sent")

    lifecycle = Lifecycle()
    lifecycle.ready()
    middleware = LifecycleMiddleware(app, lifecycle=lifecycle)
    with pytest.raises(TimeoutError, match="of the application"):
        await middleware({"type": "http", "path": "/"}, nothing, nothing)


async def test_stopped_before_it_was_ready_it_never_becomes_ready() -> None:
    lifecycle = Lifecycle()
    lifecycle.drain()
    lifecycle.ready()
    assert lifecycle.state is State.DRAINING
    assert lifecycle.is_over
