"""The recorder inside real Locust: run by test_recorder.py in a process of its own.

Importing Locust changes the sockets of its process for good, and so those of every other test.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from locust import stats as locust_stats  # noqa: TID251  (as above)
from locust.env import Environment  # noqa: TID251  (as above)

from launchday.histogram import LogHistogram
from launchday.load import recorder as recorder_module
from launchday.load.cells import CellBook
from launchday.load.http import HttpStatusError, Response
from launchday.load.http.message import Site
from launchday.load.ledger_book import LedgerBook
from launchday.load.recorder import Recorder
from launchday.record import read_lines

SITE = Site("http://127.0.0.1:1")
CLASSES = {"state": "critical"}
START_UNIX = 1_700_000_000.0


class Clock:
    """Stands in for the clocks of Locust's statistics and the recorder, not for their code."""

    def __init__(self) -> None:
        self.unix = START_UNIX

    def time(self) -> float:
        return self.unix

    def perf_counter(self) -> float:
        return self.unix - START_UNIX


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(locust_stats, "time", clock)
    monkeypatch.setattr(recorder_module, "time", clock.time)
    monkeypatch.setattr(recorder_module, "perf_counter", clock.perf_counter)
    return clock


def environment_with_runner() -> Environment:
    environment = Environment(user_classes=[])
    environment.create_local_runner()
    return environment


def listened_to(environment: Environment) -> Environment:
    hook: Any = environment.events.request  # Locust's events have no types
    hook.add_listener(lambda **_: None)
    return environment


Made = tuple[str, str, float, float, int, int, bool, float | None]
made = st.tuples(
    st.sampled_from(["GET", "POST"]),
    st.sampled_from(["state", "unlock", "reserve"]),
    st.floats(0.0, 0.9),  # how long after the one before
    st.one_of(st.floats(1e-7, 0.2), st.floats(0.0, 70.0)),  # how long it took
    st.integers(0, 5000),
    st.sampled_from([200, 200, 200, 201, 204, 302, 404, 429, 503, 0]),
    st.booleans(),
    st.one_of(st.none(), st.floats(0.0, 3.0)),  # whether an arrival made it, and how late
)


def tell(recorder: Recorder, clock: Clock, each: Made) -> None:
    method, name, after, took, size, status, retry, late = each
    clock.unix += after
    response = Response(status, bytes(size))
    response.request = SITE.message(method, "/x", name)
    response.elapsed_seconds = took
    response.ended = clock.perf_counter()
    response.retry = retry
    if status == 0:
        response.error = TimeoutError("no answer in time")
    exception = response.error or (HttpStatusError(f"HTTP {status}") if status >= 300 else None)
    context: Mapping[str, Any] = {}
    if late is not None:
        context = {"launchday": (clock.perf_counter() - took, late, CLASSES)}
    recorder.finished(response, context, exception)


def numbers(environment: Environment) -> dict[str, Any]:
    """All that Locust knows; sums of floats may differ in their last digit."""
    stats = environment.stats
    entries = {**stats.entries, ("Aggregated", ""): stats.total}
    return {
        f"{key}": {
            "requests": entry.num_requests,
            "failures": entry.num_failures,
            "per second": dict(entry.num_reqs_per_sec),
            "failures per second": dict(entry.num_fail_per_sec),
            "response times": dict(entry.response_times),
            "bounds": (entry.min_response_time, entry.max_response_time),
            "started": entry.start_time,
            "last": entry.last_request_timestamp,
            "sum": pytest.approx(entry.total_response_time),
            "bytes": entry.total_content_length,
            "cache": entry.response_times_cache,
        }
        for key, entry in entries.items()
    } | {"errors": {key: error.occurrences for key, error in stats.errors.items()}}


@settings(max_examples=60)
@given(requests=st.lists(made, max_size=60))
def test_batches_make_the_numbers_that_an_event_for_each_request_makes(
    requests: list[Made],
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        results = []
        for environment_of in (
            environment_with_runner,
            lambda: listened_to(environment_with_runner()),
        ):
            clock = Clock()
            patched.setattr(locust_stats, "time", clock)
            patched.setattr(recorder_module, "time", clock.time)
            patched.setattr(recorder_module, "perf_counter", clock.perf_counter)
            environment = environment_of()
            recorder, cells = Recorder.of(environment), CellBook()
            recorder.keep(cells, objective_seconds=0.1)
            for each in requests:
                tell(recorder, clock, each)
            recorder.fold()
            results.append((numbers(environment), cells.take()))
            environment.runner.quit()  # type: ignore[union-attr]  # it was made above
    assert results[0] == results[1]
    assert sum(cell.count for cell in results[0][1].values()) == sum(
        each[-1] is not None for each in requests
    )


def test_well_answered_requests_fire_no_event_and_are_in_the_statistics_all_the_same(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = environment_with_runner()
    recorder = Recorder.of(environment)
    fired: list[dict[str, Any]] = []
    hook: Any = environment.events.request  # Locust's events have no types
    real = hook.fire

    def fire(**meta: Any) -> None:
        fired.append(meta)
        real(**meta)

    monkeypatch.setattr(hook, "fire", fire)
    for _ in range(1000):
        tell(recorder, clock, ("GET", "state", 0.001, 0.01, 5, 200, False, None))
    tell(recorder, clock, ("GET", "state", 0.001, 0.01, 5, 503, False, None))
    recorder.fold()
    assert [meta["response"].status_code for meta in fired] == [503]
    assert environment.stats.total.num_requests == 1001
    assert environment.stats.total.num_failures == 1


def test_a_listener_that_comes_later_hears_every_request_from_then_on(clock: Clock) -> None:
    environment = environment_with_runner()
    recorder = Recorder.of(environment)
    heard: list[str] = []
    hook: Any = environment.events.request

    def listen(name: str, **_: Any) -> None:
        heard.append(name)

    well: Made = ("GET", "state", 0.0, 0.01, 5, 200, False, None)
    tell(recorder, clock, well)
    hook.add_listener(listen)
    tell(recorder, clock, well)
    tell(recorder, clock, well)
    hook.remove_listener(listen)
    tell(recorder, clock, well)
    recorder.fold()
    assert heard == ["state", "state"]
    assert environment.stats.total.num_requests == 4


def test_without_a_runner_nobody_counts_and_nothing_is_counted(clock: Clock) -> None:
    environment = Environment(user_classes=[])
    recorder = Recorder.of(environment)
    tell(recorder, clock, ("GET", "state", 0.0, 0.01, 5, 200, False, None))
    recorder.fold()
    assert environment.stats.total.num_requests == 0


@pytest.mark.parametrize(
    "event", ["report_to_master", "test_stop", "spawning_complete", "reset_stats"]
)
def test_whoever_reads_or_empties_the_statistics_finds_them_complete(
    clock: Clock, event: str
) -> None:
    environment = environment_with_runner()
    seen: list[int] = []
    hook: Any = getattr(environment.events, event)
    hook.add_listener(lambda **_: seen.append(environment.stats.total.num_requests))
    tell(Recorder.of(environment), clock, ("GET", "state", 0.0, 0.01, 5, 200, False, None))
    assert environment.stats.total.num_requests == 0
    hook.fire(user_count=1, client_id="x", data={}, environment=environment)
    assert seen == [1]


def test_what_was_noted_is_folded_soon_even_if_nothing_more_comes() -> None:
    environment = environment_with_runner()
    recorder, real = Recorder.of(environment), Clock()
    real.unix = START_UNIX
    tell(recorder, real, ("GET", "state", 0.0, 0.01, 5, 200, False, None))
    with gevent.Timeout(20):
        while environment.stats.total.num_requests == 0:
            gevent.sleep(0.01)


def test_a_replaced_bucketing_of_response_times_is_used(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locust_stats, "bucket_response_time", lambda ms: round(ms, 1))
    environment = environment_with_runner()
    recorder = Recorder.of(environment)
    tell(recorder, clock, ("GET", "state", 0.0, 0.01234, 5, 200, False, None))
    recorder.fold()
    assert environment.stats.total.response_times == {12.3: 1}


def test_a_request_sent_twice_is_counted(clock: Clock) -> None:
    recorder = Recorder.of(environment_with_runner())
    response = Response(200)
    response.request = SITE.message("GET", "/")
    response.resent = True
    recorder.finished(response, {}, None)
    assert recorder.resent == 1


def test_a_record_of_cells_can_change_with_the_test(clock: Clock) -> None:
    recorder = Recorder.of(environment_with_runner())
    first, second = CellBook(), CellBook()
    recorder.keep(first, 0.5)
    tell(recorder, clock, ("GET", "state", 0.0, 0.01, 5, 200, False, 0.0))
    recorder.keep(second, 0.5)
    tell(recorder, clock, ("GET", "state", 0.0, 0.01, 5, 200, True, 1.0))
    recorder.keep(None, 0.5)
    tell(recorder, clock, ("GET", "state", 0.0, 0.01, 5, 200, False, 0.0))
    recorder.fold()
    ((key, cell),) = first.take().items()
    assert key[1:] == ("state", "critical", "ok")
    assert (cell.count, cell.retries, cell.response_bytes) == (1, 0, 5)
    ((key, cell),) = second.take().items()
    assert key[1:] == ("state", "critical", "slow")
    assert (cell.count, cell.retries) == (1, 1)
    assert cell.service == LogHistogram.merged([cell.service])
    assert cell.corrected != cell.service


@pytest.mark.parametrize("listener", [False, True])
def test_what_was_told_about_a_key_is_in_the_ledger_once(
    clock: Clock, tmp_path: Path, listener: bool
) -> None:
    environment = environment_with_runner()
    if listener:
        listened_to(environment)
    recorder, ledger = Recorder.of(environment), LedgerBook(tmp_path / "ledger-0.jsonl")
    ledger.begin()
    recorder.keep(CellBook(), 0.5, ledger)
    late = {"launchday": (0.0, 0.6, CLASSES)}
    for key, status, context in (("k1", 201, late), ("k2", 503, late), ("k3", 200, {})):
        response = Response(status, b'{"id": 7}')
        headers = {"Idempotency-Key": key}
        response.request = SITE.message("POST", "/x", "reserve", headers=headers)
        exception = HttpStatusError("HTTP 503") if status == 503 else None
        recorder.finished(response, context, exception)
    recorder.fold()
    ledger.end()
    told = [line for line in read_lines(tmp_path / "ledger-0.jsonl") if "key" in line]
    assert [(line["key"], line["outcome"], line["id"]) for line in told] == [
        ("k1", "slow", "7"),
        ("k2", "server_error", None),
    ]


def test_an_event_that_another_client_fired_for_an_arrival_is_in_the_record(clock: Clock) -> None:
    environment = environment_with_runner()
    recorder, cells = Recorder.of(environment), CellBook()
    recorder.keep(cells, 0.5)
    response = Response(200, b"hello")
    response.request = SITE.message("SEND", "/x", "message")
    response.elapsed_seconds = 0.25
    hook: Any = environment.events.request  # Locust's events have no types
    for _ in range(2):  # the same answer told twice is one request
        hook.fire(
            request_type="SEND",
            name="message",
            response_time=250.0,
            response_length=5,
            response=response,
            context={"launchday": (1.0, 0.0, CLASSES)},
            exception=None,
        )
    ((key, cell),) = cells.take().items()
    assert key == (1, "message", "unclassified", "ok")
    assert cell.count == 1


def test_why_an_arrivals_request_got_no_answer_is_told(clock: Clock) -> None:
    told: list[BaseException] = []
    recorder = Recorder.of(environment_with_runner())
    recorder.keep(CellBook(), 0.5, unanswered=told.append)
    tell(recorder, clock, ("GET", "state", 0.1, 0.2, 0, 0, False, 0.0))  # of an arrival
    tell(recorder, clock, ("GET", "state", 0.1, 0.2, 0, 0, False, None))  # of nobody's
    tell(recorder, clock, ("GET", "state", 0.1, 0.2, 0, 503, False, 0.0))  # answered
    assert [type(error) for error in told] == [TimeoutError]
