"""When an experiment must end early, over what was counted so far."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.chaos.hypothesis import Abort
from launchday.counts import Arrivals, Cell
from launchday.outcomes import Outcome
from launchday.rate_curve import Phase
from launchday.record import Record, RunInfo, Schedule
from launchday.runs.abort import AbortWatch, decide

Seconds = list[tuple[int, int]]
"""Of each second: requests that were served, requests that failed."""


def record_of(
    seconds: Seconds, *, endpoint: str = "unlock", criticality: str = "critical_plus"
) -> Record:
    schedule = Schedule(
        epoch_unix=0.0,
        duration_seconds=100.0,
        phases=(Phase("peak", 0.0, 100.0),),
        points=((0.0, 10.0), (100.0, 10.0)),
        expected_arrivals=1000,
        seed=1,
        request_timeout_seconds=1.0,
        late_after_seconds=0.01,
    )
    info = RunInfo("run", "scenario", "http://127.0.0.1:1", 0.0)
    record = Record(Path("run"), info, [schedule], 0, {}, {}, [], [])
    for second, (served, failed) in enumerate(seconds):
        record.arrivals[second] = Arrivals(started=served + failed)
        if served:
            record.cells[second, endpoint, criticality, Outcome.OK] = Cell(count=served)
        if failed:
            record.cells[second, endpoint, criticality, Outcome.TIMEOUT] = Cell(count=failed)
    return record


def decided(record: Record, seconds: range, abort: Abort | None = None) -> str | None:
    return decide(abort or Abort(for_seconds=3), record, breaks=(), seconds=seconds)


BAD, HALF, GOOD = (1, 9), (5, 5), (9, 1)


@pytest.mark.parametrize(
    ("seconds", "ends"),
    [
        ([GOOD, BAD, BAD, BAD], True),
        ([GOOD, BAD, HALF, BAD], False),
        ([GOOD, GOOD, BAD, BAD], False),
        ([GOOD, (0, 0), BAD, BAD], True),
        ([GOOD, (0, 0), (0, 0), (0, 0)], False),
        ([BAD, BAD, BAD, GOOD], False),
    ],
)
def test_only_a_success_below_the_floor_in_every_second_that_has_requests_ends_it(
    seconds: Seconds, ends: bool
) -> None:
    reason = decided(record_of(seconds), range(4))
    assert (reason is not None) == ends
    if reason:
        assert reason.startswith("only 10% of the critical requests succeeded for 3 s")


def test_what_was_bad_before_the_faults_is_not_their_fault() -> None:
    record = record_of([BAD] * 4)
    assert decided(record, range(2, 4)) is None
    assert decided(record, range(1, 4)) is not None


def test_what_may_wait_and_what_the_experiment_breaks_do_not_count() -> None:
    telemetry = record_of([BAD] * 4, criticality="sheddable")
    telemetry.cells[3, "unlock", "critical_plus", Outcome.OK] = Cell(count=1)
    assert decided(telemetry, range(4)) is None
    eu = record_of([BAD] * 4, endpoint="eu unlock")
    assert decide(Abort(for_seconds=3), eu, breaks=("eu ",), seconds=range(4)) is None


def test_all_requests_count_where_none_is_said_to_be_critical() -> None:
    assert decided(record_of([BAD] * 4, criticality="unclassified"), range(4)) is not None


def test_a_spent_error_budget_ends_it_also_above_the_floor() -> None:
    # 1 % of about 1000 requests.
    abort = Abort(success_floor=0, error_budget_share=0.01)
    assert decided(record_of([(90, 5), (90, 5)]), range(2), abort) is None
    reason = decided(record_of([(90, 5), (90, 6)]), range(2), abort)
    assert reason == (
        "11 requests failed, more than the error budget of the run: 1.00% of about 1000"
    )


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=12))
def test_a_floor_of_0_never_ends_it_and_more_patience_never_ends_it_earlier(
    seconds: Seconds,
) -> None:
    record, whole = record_of(seconds), range(len(seconds))
    assert decided(record, whole, Abort(success_floor=0, for_seconds=1)) is None
    if decided(record, whole, Abort(for_seconds=4)) is not None:
        assert decided(record, whole, Abort(for_seconds=2)) is not None


def test_a_watch_asks_once_for_each_complete_second_since_the_faults_began() -> None:
    record = record_of([GOOD, *[BAD] * 6])
    watch = AbortWatch(Abort(for_seconds=3), (), start_seconds=1.5)
    # A second is complete when a request of its end has timed out (1 s) and was written (1 s).
    assert watch.reason(record, 5.9) is None
    assert watch.reason(record, 6.1) is not None
    assert watch.reason(record, 6.5) is None
    assert watch.reason(record, 7.0) is not None
