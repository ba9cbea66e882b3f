"""What the live ladder makes of a recording, and when it says that a row is void."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks._ladder_apps import service_seconds
from benchmarks._ladder_load import End, poisson
from benchmarks._ladder_measures import (
    FELL_BEHIND,
    Trace,
    best_share,
    good_rps,
    percentile,
    recovery_seconds,
    schedule_kept,
    summary,
    why_void,
)


def trace_of(*requests: tuple[float, float, int]) -> Trace:
    """Of (intended, seconds, status)."""
    intended = [at for at, _, _ in requests]
    return Trace(
        intended,
        list(intended),
        [seconds for _, seconds, _ in requests],
        [status for _, _, status in requests],
        opened=1,
        bare_refusals=0,
        cpu_share=0.1,
    )


STEADY = trace_of(*((i / 100, 0.05, 200) for i in range(1000)))


def test_a_row_is_void_when_more_than_2_percent_were_sent_over_20_ms_late() -> None:
    def late(share: float) -> Trace:
        count = round(share * 1000)
        begun = [at + (0.021 if i < count else 0.019) for i, at in enumerate(STEADY.intended)]
        return replace(STEADY, begun=begun)

    assert schedule_kept(late(0.02)) == pytest.approx(0.98)
    assert why_void(late(0.02)) is None
    assert why_void(late(0.021)) == FELL_BEHIND


def test_a_row_is_void_when_requests_were_never_sent() -> None:
    statuses = [End.UNSENT if i % 40 == 0 else 200 for i in range(1000)]
    assert schedule_kept(replace(STEADY, statuses=statuses)) == pytest.approx(0.975)
    assert why_void(replace(STEADY, statuses=statuses)) == FELL_BEHIND


def test_a_row_is_void_when_the_generator_used_over_80_percent_of_a_core() -> None:
    assert why_void(replace(STEADY, cpu_share=0.8)) is None
    assert why_void(replace(STEADY, cpu_share=0.81)) == FELL_BEHIND


def test_a_row_without_requests_is_void() -> None:
    assert why_void(trace_of()) == FELL_BEHIND


def test_goodput_counts_timely_successes_by_the_time_of_their_answer() -> None:
    trace = trace_of(
        (0.9, 0.2, 200),  # answered in the window
        (1.0, 0.501, 200),  # too late
        (1.2, 0.1, 503),
        (1.3, 0.1, 404),
        (1.4, 0.1, End.TIMED_OUT),
        (1.95, 0.1, 200),  # answered after it
        (1.5, 0.5, 204),
    )
    assert good_rps(trace, 1.0, 2.1, 0.5) * 1.1 == pytest.approx(3)
    assert good_rps(trace, 1.0, 2.0, 0.5) == 1


def test_a_summary_tells_refusals_timeouts_and_errors_apart() -> None:
    told = summary(
        trace_of(
            (0.0, 0.2, 200),
            (0.1, 1.0, End.TIMED_OUT),
            (0.2, 0.01, 503),
            (0.3, 0.03, 429),
            (0.4, 0.01, 500),
            (0.5, 0.0, End.LOST),
            (1.0, 0.1, 200),
        ),
        0,
        1,
        0.5,
    )
    assert told["offered_rps"] == 6
    assert told["p99_admitted_seconds"] == 1.0
    assert told["refused_share"] == pytest.approx(2 / 6)
    assert (told["p50_refused_seconds"], told["p99_refused_seconds"]) == (0.01, 0.03)
    assert (told["timeouts"], told["connection_errors"], told["server_errors"]) == (1, 1, 1)


@given(st.lists(st.floats(0, 10), min_size=1), st.floats(0, 1))
def test_a_percentile_is_the_least_value_that_the_share_does_not_exceed(
    values: list[float], share: float
) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < max(1, math.ceil(share * len(values)))


def test_there_is_no_percentile_of_nothing() -> None:
    assert percentile([], 0.99) is None


@pytest.mark.parametrize(
    ("ratio", "cost_ratio", "best"),
    [
        (0.5, 0.0, 0.5),
        (10, 0.0, 1.0),
        # The reference: hello 63 % at 2 x and 26 % at 3 x; a handler of 5 ms 92 % at 10 x.
        (2, 0.27, 0.63),
        (3, 0.27, 0.26),
        (10, 0.27, 0.0),
        (10, 0.009, 0.918),
        (2, 1.0, 0.0),
    ],
)
def test_physics_allows_what_refusals_leave(ratio: float, cost_ratio: float, best: float) -> None:
    assert best_share(ratio, cost_ratio) == pytest.approx(best, abs=0.005)


def stepped(calm_at: float) -> Trace:
    """100 requests per second for 6 s; until then every tenth is refused."""
    return trace_of(
        *((i / 100, 0.1, 503 if i % 10 == 0 and i / 100 < calm_at else 200) for i in range(600))
    )


def test_recovery_ends_with_the_first_good_second() -> None:
    assert recovery_seconds(stepped(0), 2, 6, 0.1) == 0
    assert recovery_seconds(stepped(3), 2, 6, 0.1) == pytest.approx(0.95, abs=0.051)


def test_there_is_no_recovery_while_requests_are_refused_or_slow() -> None:
    assert recovery_seconds(stepped(6), 2, 6, 0.1) is None
    assert recovery_seconds(stepped(0), 2, 6, 0.05) is None
    assert recovery_seconds(trace_of(), 2, 6, 0.1) is None


def test_service_times_have_the_mean_and_the_spread_of_the_profile() -> None:
    times = list(itertools.islice(service_seconds(Random(1)), 1000))
    assert statistics.fmean(times) == pytest.approx(0.05)
    assert statistics.pstdev(times) / 0.05 == pytest.approx(0.5, abs=0.01)
    assert times != sorted(times)


def test_arrivals_are_a_seeded_poisson_process_of_phases() -> None:
    arrivals = poisson([(1000, 5), (4000, 5)], seed=1)
    assert arrivals == poisson([(1000, 5), (4000, 5)], seed=1)
    assert arrivals == sorted(arrivals)
    assert sum(at < 5 for at in arrivals) == pytest.approx(5000, rel=0.05)
    assert sum(at >= 5 for at in arrivals) == pytest.approx(20000, rel=0.05)
    assert max(arrivals) < 10
    gaps = [after - before for before, after in itertools.pairwise(arrivals[-10000:])]
    # Of an exponential distribution: as wide as its mean.
    assert statistics.pstdev(gaps) == pytest.approx(statistics.fmean(gaps), rel=0.1)
