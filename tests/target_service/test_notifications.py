"""Notifications listed and streamed: everything once, in order, to those whom it concerns."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_service.notifications import settled_after
from tests.target_service.processes import Process
from tests.target_service.sse import listen

PATH = "/v1/notifications"
STREAM = "/v1/notifications/stream"
EVERYBODY = None
Tell = Callable[[int | None, str], None]


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('shared') / 'car.db'}"


@pytest.fixture(scope="module")
def service(start: Any, database_url: str) -> Process:
    process: Process = start("target_service", TARGET_DATABASE_URL=database_url, TARGET_STREAMS="3")
    return process


@pytest.fixture
def tell(database_url: str) -> Tell:
    """Store a notification as another replica does."""

    def store(owner_id: int | None, title: str) -> None:
        path = database_url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
            sql = (
                "INSERT INTO notifications (owner_id, kind, title, created_at, created_unix) "
                "VALUES (?, 'charged', ?, '2026-01-01T00:00:00.000+00:00', ?)"
            )
            connection.execute(sql, (owner_id, title, time.time()))

    return store


def titles(process: Process, owner: Any, after: int = 0) -> list[str]:
    answer = process.http.get(PATH, params={"after": after}, headers=owner)
    assert answer.status_code == 200, answer.text
    return [each["title"] for each in answer.json()["notifications"]]


def test_the_list_has_the_newest_100_of_this_owner_and_of_everybody(
    service: Process, sign_in: Any, tell: Tell, eventually: Any
) -> None:
    owner = sign_in(service, 1)
    for number in range(101):
        tell(1, f"own {number}")
    tell(2, "of another")
    tell(EVERYBODY, "of everybody")
    eventually(lambda: "of everybody" in titles(service, owner))
    listed = service.http.get(PATH, headers=owner).json()["notifications"]
    assert [each["title"] for each in listed[:2]] == ["of everybody", "own 100"]
    assert len(listed) == 100
    assert titles(service, owner, after=listed[2]["id"]) == ["of everybody", "own 100"]
    assert titles(service, owner, after=listed[0]["id"]) == []
    for wrong in ("-1", "x", str(2**63)):
        answer = service.http.get(PATH, params={"after": wrong}, headers=owner)
        assert answer.status_code == 422, wrong


def test_the_stream_tells_what_is_new_and_goes_on_where_it_broke_off(
    service: Process, sign_in: Any, tell: Tell
) -> None:
    owner = sign_in(service, 3)
    tell(3, "before")
    time.sleep(1.1)  # the service looks once a second for what replicas stored
    with listen(service, STREAM, **owner) as events:
        tell(4, "of another")
        tell(3, "first")
        tell(EVERYBODY, "second")
        first, second = next(events), next(events)
    assert (first.name, first.data["title"]) == ("notification", "first")
    assert second.data["title"] == "second"
    assert first.id == str(first.data["id"])
    for number in range(250):
        tell(3, f"missed {number}")
    with listen(service, STREAM, **owner, **{"last-event-id": first.id}) as events:
        seen = [each.data["title"] for each in islice(events, 251)]
    assert seen == ["second", *(f"missed {number}" for number in range(250))]


def test_the_first_bytes_come_at_once(service: Process, sign_in: Any) -> None:
    with service.http.stream("GET", STREAM, headers=sign_in(service)) as response:
        assert next(response.iter_lines()).startswith(":")
        assert response.headers["cache-control"] == "no-store"


def test_there_are_as_many_streams_as_set_and_no_more(
    service: Process, sign_in: Any, eventually: Any
) -> None:
    owner = sign_in(service)
    open_now = {"stream": "notifications"}
    eventually(lambda: service.metric("car_streams", **open_now) == 0)
    with ExitStack() as streams:
        for _ in range(3):
            streams.enter_context(listen(service, STREAM, **owner))
        answer = service.http.get(STREAM, headers=owner)
        assert answer.status_code == 503
        assert answer.headers["unavailable-cause"] == "overload"
        assert int(answer.headers["retry-after"]) >= 1
        assert service.metric("car_streams", **open_now) == 3
        assert service.http.get(PATH, headers=owner).status_code == 200
    eventually(lambda: service.metric("car_streams", **open_now) == 0)


def test_nobody_listens_without_a_session_or_after_its_end(
    service: Process, sign_in: Any, tell: Tell
) -> None:
    assert service.http.get(STREAM).status_code == 401
    assert service.http.get(PATH).status_code == 401
    owner = sign_in(service, 5)
    wrong = service.http.get(STREAM, headers={**owner, "last-event-id": "x"})
    assert wrong.status_code == 422
    with listen(service, STREAM, **owner) as events:
        assert service.http.delete("/v1/sessions", headers=owner).status_code == 204
        tell(5, "a secret")
        assert list(events) == []


def test_streams_end_at_once_when_the_service_stops(start: Any, sign_in: Any) -> None:
    service = start("target_service", TARGET_DRAIN_SECONDS="60")
    with (
        listen(service, STREAM, **sign_in(service)) as news,
        listen(service, "/status/events") as changes,
    ):
        next(changes)
        began = time.monotonic()
        assert service.stop() == 0
        assert list(news) == []
        assert {each.name for each in changes} <= {"status", "page"}
    assert time.monotonic() - began < 30, "not by the end of the drain"


@given(st.data())
def test_whatever_the_order_of_commits_a_reader_misses_nothing_and_sees_nothing_twice(
    data: st.DataObject,
) -> None:
    """Numbers are drawn one a second, and committed up to 5 s later or never."""
    late_seconds = 5.0
    delays = data.draw(st.lists(st.none() | st.floats(0, late_seconds), max_size=30))
    commits = {n: n + delay for n, delay in enumerate(delays, 1) if delay is not None}
    end = len(delays) + 2 * late_seconds
    times = sorted(data.draw(st.lists(st.floats(0, end), max_size=60)))
    settled, seen = 0, []
    for now in [*times, *(end + n for n in range(len(delays) + 2))]:
        rows = [(n, float(n)) for n in sorted(commits) if n > settled and commits[n] <= now]
        after = settled_after(settled, rows, now - late_seconds)
        seen += [n for n, _ in rows if n <= after]
        settled = after
    assert seen == sorted(commits)
