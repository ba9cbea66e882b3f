from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.load.arrivals import Arrival, random_for, schedule
from launchday.load.curves import RateCurve, launch_day

CURVE = launch_day(baseline_rps=20, multiple=5, quiet_seconds=5, peak_seconds=5, tail_seconds=5)


def test_the_same_seed_gives_the_same_arrivals_and_another_seed_others() -> None:
    first = list(schedule(CURVE, seed=1))
    assert first == list(schedule(CURVE, seed=1))
    assert first != list(schedule(CURVE, seed=2))


@given(st.integers(1, 7), st.integers(0, 5))
def test_shards_together_are_exactly_the_whole_schedule(shards: int, seed: int) -> None:
    whole = list(schedule(CURVE, seed=seed))
    parts = [a for i in range(shards) for a in schedule(CURVE, seed=seed, shard=i, shards=shards)]
    assert sorted(parts, key=lambda a: a.index) == whole


def test_even_arrivals_follow_the_curve_to_half_an_arrival() -> None:
    arrivals = list(schedule(CURVE, seed=1, mode="even"))
    assert len(arrivals) == round(CURVE.total)
    for arrival in arrivals[:: max(1, len(arrivals) // 100)]:
        assert math.isclose(
            CURVE.cumulative(arrival.due_seconds), arrival.index + 0.5, abs_tol=1e-6
        )


def test_poisson_counts_have_the_mean_and_the_dispersion_of_a_poisson_process() -> None:
    curve = RateCurve(((0.0, 100.0), (100.0, 100.0)))
    counts = [0] * 100
    for arrival in schedule(curve, seed=3):
        counts[int(arrival.due_seconds)] += 1
    mean = statistics.fmean(counts)
    # 100 windows of Poisson(100): the mean has a deviation of 1, the dispersion one of 0.14.
    assert abs(mean - 100) < 5
    assert 0.5 < statistics.variance(counts) / mean < 1.5


def test_arrivals_come_in_order_and_inside_the_curve() -> None:
    due = [a.due_seconds for a in schedule(CURVE, seed=5)]
    assert due == sorted(due)
    assert due[0] >= 0
    assert due[-1] <= CURVE.duration_seconds


def test_an_arrival_draws_the_same_wherever_it_runs() -> None:
    arrival = Arrival(17, 1.0)
    assert random_for(1, arrival).random() == random_for(1, Arrival(17, 9.0)).random()
    assert random_for(1, arrival).random() != random_for(2, arrival).random()


def test_wrong_shards_and_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="shard must be between"):
        schedule(CURVE, seed=1, shard=2, shards=2)
    with pytest.raises(ValueError, match="mode must be"):
        schedule(CURVE, seed=1, mode="bursty")  # type: ignore[arg-type] # what is tested
