from __future__ import annotations

import math
import statistics
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.load.arrivals import Arrival, Lots, Mode, positions, random_for, schedule
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


def test_poisson_arrivals_on_a_surge_are_uniform_in_the_integral_of_the_rate() -> None:
    # Kolmogorov and Smirnov: given their number, Λ(due)/Λ(end) of a Poisson process is uniform.
    # 1.63/√n is the 1 % point; the seeds are fixed, so this cannot fail by chance.
    for seed in range(20):
        shares = [CURVE.cumulative(a.due_seconds) / CURVE.total for a in schedule(CURVE, seed=seed)]
        n = len(shares)
        apart = max(max((k + 1) / n - share, share - k / n) for k, share in enumerate(shares))
        assert apart < 1.63 / math.sqrt(n)


def test_the_gaps_of_poisson_arrivals_are_exponential_and_independent() -> None:
    places = list(positions(RateCurve(((0.0, 100.0), (200.0, 100.0))), seed=9, mode="poisson"))
    gaps = [later - earlier for earlier, later in pairwise(places)]
    n = len(gaps)
    expected = [1 - math.exp(-gap) for gap in sorted(gaps)]
    assert max(abs((k + 0.5) / n - share) for k, share in enumerate(expected)) < 1.63 / math.sqrt(n)
    mean = statistics.fmean(gaps)
    products = [(a - mean) * (b - mean) for a, b in pairwise(gaps)]
    assert abs(statistics.fmean(products) / statistics.variance(gaps)) < 3 / math.sqrt(n)


@pytest.mark.parametrize(("mode", "least", "most"), [("poisson", 0.8, 1.2), ("even", 0.0, 0.02)])
def test_the_index_of_dispersion_is_that_of_the_mode(mode: Mode, least: float, most: float) -> None:
    # Of counts in windows of 100 ms: 1 for a Poisson process, 0 for even arrivals. With 2 000
    # windows the deviation of the first is 0.03.
    counts = [0] * 2000
    for arrival in schedule(RateCurve(((0.0, 500.0), (200.0, 500.0))), seed=4, mode=mode):
        counts[int(arrival.due_seconds * 10)] += 1
    assert least <= statistics.variance(counts) / statistics.fmean(counts) <= most


@given(st.integers(0, 9), st.sampled_from(["poisson", "even"]))
def test_positions_are_those_of_the_schedule_and_as_many(seed: int, mode: Mode) -> None:
    arrivals = list(schedule(CURVE, seed=seed, mode=mode))
    places = list(positions(CURVE, seed=seed, mode=mode))
    assert [CURVE.inverse(place) for place in places] == [a.due_seconds for a in arrivals]


def test_arrivals_come_in_order_and_inside_the_curve() -> None:
    due = [a.due_seconds for a in schedule(CURVE, seed=5)]
    assert due == sorted(due)
    assert due[0] >= 0
    assert due[-1] <= CURVE.duration_seconds


def test_an_arrival_draws_the_same_wherever_it_runs() -> None:
    arrival = Arrival(17, 1.0)
    assert random_for(1, arrival).random() == random_for(1, Arrival(17, 9.0)).random()
    assert random_for(1, arrival).random() != random_for(2, arrival).random()


def test_lots_fall_by_weight_and_independently_of_those_for_another_purpose() -> None:
    classes = Lots([3.0, 0.0, 1.0], seed=5, purpose=1)
    journeys = Lots([1.0, 1.0], seed=5, purpose=2)
    drawn = Counter((classes.of(k), journeys.of(k)) for k in range(40_000))
    assert {which for which, _ in drawn} == {0, 2}
    for (which, _), count in drawn.items():
        assert abs(count / 40_000 - (0.375 if which == 0 else 0.125)) < 0.01


def test_neighbouring_arrivals_and_seeds_draw_unrelated_lots() -> None:
    for seed in (0, 1, 2**31, -1):
        lots = [Lots([1.0, 1.0], seed=seed, purpose=1).of(k) for k in range(10_000)]
        other = [Lots([1.0, 1.0], seed=seed + 1, purpose=1).of(k) for k in range(10_000)]
        for pairs in (pairwise(lots), zip(lots, other, strict=True)):
            same = sum(a == b for a, b in pairs)
            assert abs(same / 10_000 - 0.5) < 0.025


@given(st.integers(-(2**70), 2**70), st.integers(0, 2**40))
def test_a_lot_is_the_same_in_any_order_and_on_any_worker(seed: int, index: int) -> None:
    weights = [2.0, 5.0, 1.0]
    first = Lots(weights, seed=seed, purpose=1)
    first.of(index + 1)
    assert first.of(index) == Lots(weights, seed=seed, purpose=1).of(index)


@pytest.mark.parametrize("weights", [[], [0.0], [-1.0, 2.0], [math.nan], [math.inf]])
def test_weights_that_make_no_sense_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights must be finite"):
        Lots(weights, seed=1, purpose=1)


def test_wrong_shards_and_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="shard must be between"):
        schedule(CURVE, seed=1, shard=2, shards=2)
    with pytest.raises(ValueError, match="mode must be"):
        schedule(CURVE, seed=1, mode="bursty")  # type: ignore[arg-type] # what is tested
