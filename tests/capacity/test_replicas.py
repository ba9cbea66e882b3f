"""Replicas for a forecast: goldens, whole multiples, and losses tried one by one."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from launchday.capacity.forecast import Forecast
from launchday.capacity.replicas import (
    at_least,
    measured_scaling,
    replicas_for,
    survivors,
)
from launchday.capacity.results import Estimate
from launchday.errors import RecordError, SettingsError


def proved(low: float, value: float | None = None) -> Estimate:
    return Estimate(value or low * 1.05, low, low * 1.1, 5, "test")


RPS = st.floats(1, 1e5)
EACH = st.floats(10, 1e4)
ZONES = st.integers(1, 7)


def test_the_example_of_the_reference() -> None:
    """λ 1200, A 1.1, c 95, u 0.8: 17.4 -> 18; 19 with a spare; 27 across three zones."""
    plan = replicas_for(Forecast(1050, 150), proved(95), zones=3, attempts=1.1)
    assert (plan.replicas, plan.with_spare, plan.per_zone, plan.across_zones) == (18, 19, 9, 27)
    assert plan.forecast_rps == 1200
    for part in ("18 replicas", "19 with one spare", "27 (9 in each of 3 zones)", "linear scaling"):
        assert part in plan.sentence


def test_one_zone_is_not_survived_and_says_so() -> None:
    plan = replicas_for(Forecast(1200), proved(95), attempts=1.1)
    assert (plan.across_zones, plan.per_zone) == (19, 19)
    assert "its loss is not survived" in plan.sentence


def test_one_replica_is_no_replicas_and_thousands_are_told_apart() -> None:
    assert "need 1 replica at 80%" in replicas_for(Forecast(10), proved(95)).sentence
    assert "1,516 rps" in replicas_for(Forecast(1516), proved(95)).sentence
    assert "need 15,157 replicas" in replicas_for(Forecast(1_515_700), proved(125)).sentence


def test_without_an_interval_the_value_is_taken_and_it_is_said() -> None:
    plan = replicas_for(Forecast(1200), Estimate(100, None, None, 1, "csv"))
    assert plan.replicas == 15
    assert "no interval" in plan.sentence


def test_linear_scaling_is_only_called_assumed_where_it_is() -> None:
    scaling = measured_scaling([(1, 100.0), (3, 300.0)])
    plan = replicas_for(Forecast(1200), proved(95), scaling=scaling)
    assert "linear" not in plan.sentence
    assert plan.replicas == replicas_for(Forecast(1200), proved(95)).replicas


@given(st.integers(1, 5000), st.floats(1e-3, 1e5), st.sampled_from([0.5, 0.7, 0.8, 0.9, 1.0]))
def test_whole_multiples_do_not_round_up(whole: int, each: float, utilisation: float) -> None:
    rps = whole * each * utilisation
    assume(rps <= 1e9)
    plan = replicas_for(Forecast(rps), Estimate(each, each, each, 1, ""), utilisation=utilisation)
    assert plan.replicas == whole


@pytest.mark.parametrize(
    ("rps", "each", "attempts", "whole"),
    [(0.3, 0.1, 1, 3), (2.1, 0.7, 1, 3), (1.1, 1.21, 1.1, 1), (4.35, 0.01, 1, 435)],
)
def test_decimal_fractions_do_not_round_up(
    rps: float, each: float, attempts: float, whole: int
) -> None:
    plan = replicas_for(
        Forecast(rps), Estimate(each, each, each, 1, ""), utilisation=1, attempts=attempts
    )
    assert plan.replicas == whole


@given(RPS, EACH, ZONES)
def test_the_replicas_carry_the_forecast_and_one_fewer_would_not(
    rps: float, each: float, zones: int
) -> None:
    n = replicas_for(Forecast(rps), proved(each), zones=zones).replicas
    assert n * each * 0.8 >= rps * (1 - 1e-9)
    assert n == 1 or (n - 1) * each * 0.8 < rps


@given(RPS, EACH, st.integers(2, 7), st.integers(1, 3))
def test_the_loss_of_any_zones_is_survived(rps: float, each: float, zones: int, lost: int) -> None:
    assume(lost < zones)
    plan = replicas_for(Forecast(rps), proved(each), zones=zones, lost_zones=lost)
    spread = [plan.per_zone] * zones
    assert sum(spread) == plan.across_zones
    for gone in itertools.combinations(range(zones), lost):
        left = sum(count for zone, count in enumerate(spread) if zone not in gone)
        assert left >= plan.replicas
        assert left >= survivors(plan.across_zones, zones, lost)


@given(RPS, EACH, ZONES)
def test_one_may_always_be_lost(rps: float, each: float, zones: int) -> None:
    plan = replicas_for(Forecast(rps), proved(each), zones=zones)
    assert plan.with_spare - 1 == plan.replicas
    assert survivors(plan.with_spare) == plan.replicas
    assert plan.across_zones >= plan.with_spare


@given(RPS, st.floats(1, 3), EACH, ZONES)
def test_a_larger_forecast_never_needs_fewer(
    rps: float, times: float, each: float, zones: int
) -> None:
    small = replicas_for(Forecast(rps), proved(each), zones=zones)
    large = replicas_for(Forecast(rps * times), proved(each), zones=zones)
    assert small.across_zones <= large.across_zones


@given(RPS, EACH)
def test_more_zones_never_need_more_in_each(rps: float, each: float) -> None:
    plans = [replicas_for(Forecast(rps), proved(each), zones=zones) for zones in range(1, 8)]
    per_zone = [plan.per_zone for plan in plans]
    assert per_zone == sorted(per_zone, reverse=True)
    assert len({plan.replicas for plan in plans}) == 1


@given(st.integers(0, 60), st.integers(1, 9))
def test_survivors_are_what_the_fullest_zone_leaves(total: int, zones: int) -> None:
    spread = [total // zones + (zone < total % zones) for zone in range(zones)]
    lost = max(spread) if zones > 1 else min(total, 1)
    assert survivors(total, zones) == total - lost


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"zones": 0}, "zones is 0"),
        ({"zones": 101}, "zones is 101"),
        ({"zones": 3, "lost_zones": 3}, "lost zones is 3"),
        ({"zones": 1, "lost_zones": 2}, "lost zones is 2"),
        ({"utilisation": 0.0}, "utilisation is 0"),
        ({"utilisation": 1.1}, "utilisation is 1.1"),
        ({"utilisation": math.nan}, "utilisation is nan"),
        ({"attempts": 0.9}, "attempts is 0.9"),
        ({"attempts": math.inf}, "attempts is inf"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        replicas_for(Forecast(1200), proved(95), **settings)


@pytest.mark.parametrize("low", [0.0, -1.0, math.nan, math.inf])
def test_a_capacity_of_nothing_is_refused(low: float) -> None:
    with pytest.raises(RecordError, match="lower bound"):
        replicas_for(Forecast(1200), Estimate(100, low, None, 1, ""))


@pytest.mark.parametrize("each", [1e-3, 1e-320, 500.0])
def test_more_than_a_million_replicas_are_refused(each: float) -> None:
    with pytest.raises(SettingsError, match="1,000,000"):
        at_least(1e9, each)


def test_a_million_are_not() -> None:
    assert at_least(1e6, 1) == 1_000_000


def test_what_more_replicas_lose_is_paid_for() -> None:
    """X ∝ n^0.9: ten times the rate takes 10^(1/0.9) = 12.9 replicas."""
    scaling = measured_scaling([(1, 100.0), (2, 100 * 2**0.9), (4, 100 * 4**0.9)])
    assert at_least(1000, 100, scaling) == 13
    assert at_least(100, 100, scaling) == 1


def test_better_than_linear_is_not_believed() -> None:
    scaling = measured_scaling([(1, 100.0), (2, 250.0)])
    assert scaling(7) == 1


@given(RPS, EACH, st.floats(0.5, 1))
def test_a_measured_scaling_never_needs_fewer(rps: float, each: float, power: float) -> None:
    assume(rps / each < 1e3)  # half of linear: a million beyond that
    scaling = measured_scaling([(1, 1.0), (4, 4**power)])
    assert at_least(rps, each, scaling) >= at_least(rps, each)


@pytest.mark.parametrize(
    ("groups", "why"),
    [
        ([(1, 100.0)], "two numbers"),
        ([(2, 100.0), (2, 110.0)], "two numbers"),
        ([(1, 100.0), (2, 90.0)], "no more than fewer"),
        ([(1, 100.0), (2, math.nan)], "rates above 0"),
        ([(0, 100.0), (2, 90.0)], "at least 1"),
    ],
)
def test_no_scaling_is_made_of_too_little(groups: list[tuple[int, float]], why: str) -> None:
    with pytest.raises(RecordError, match=why):
        measured_scaling(groups)
