"""The what-if table: every cell a number or a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.capacity.forecast import Forecast
from launchday.capacity.replicas import replicas_for
from launchday.capacity.results import Estimate, Rung
from launchday.capacity.what_if import SURGES, what_if
from launchday.errors import SettingsError


def rung(seconds: float, low: float) -> Rung:
    return Rung(seconds, Estimate(low * 1.05, low, low * 1.1, 5, "test"), "")


LADDER = (rung(0.5, 95), rung(0.25, 80), Rung(0.1, None, "never met"), rung(1.0, 110))


def test_every_objective_meets_every_surge_from_strict_to_loose() -> None:
    rows = what_if(LADDER, Forecast(1050, 150))
    assert [(row.objective_seconds, row.surge) for row in rows] == [
        (seconds, surge) for seconds in (0.1, 0.25, 0.5, 1.0) for surge in SURGES
    ]


def test_a_row_is_what_the_plan_would_say() -> None:
    (row,) = what_if([rung(0.5, 95)], Forecast(1050, 150), surges=[2], zones=3, attempts=1.1)
    plan = replicas_for(Forecast(2400), Estimate(95, 95, 95, 1, ""), zones=3, attempts=1.1)
    assert (row.forecast_rps, row.per_replica_rps) == (2400, 95)
    assert row.replicas == plan.across_zones


def test_the_rates_of_several_replicas_are_divided_among_them() -> None:
    (row,) = what_if([rung(0.5, 285)], Forecast(1200), surges=[1], tested_replicas=3)
    assert row.per_replica_rps == pytest.approx(95)
    assert row.replicas == 17


def test_a_rung_without_a_rate_says_which_and_why() -> None:
    row = what_if(LADDER, Forecast(1200))[0]
    assert (row.per_replica_rps, row.replicas) == (None, None)
    assert row.words == "no number at 100 ms: never met"


def test_a_lower_bound_of_nothing_is_no_number() -> None:
    (row,) = what_if([rung(0.5, 0)], Forecast(1200), surges=[1])
    assert row.replicas is None
    assert "lower bound" in row.words


@pytest.mark.parametrize("binding", ["shed", "errors"])
def test_what_is_not_bound_by_latency_says_that_a_looser_objective_buys_nothing(
    binding: str,
) -> None:
    rows = what_if(LADDER, Forecast(1200), binding=binding)
    for row in rows[len(SURGES) :]:
        assert binding in row.words
        assert "not latency" in row.words
    assert "never met" in rows[0].words


def test_no_row_promises_more_than_the_plan_where_shedding_is_the_limit() -> None:
    """250 ms were crossed at 177 rps, but a tenth was refused there: 92 rps were proved."""
    always = Rung(0.5, None, "p99 <= 500 ms: always met, up to 359 rps", True)
    rows = what_if(
        [rung(0.25, 177), always], Forecast(1350), surges=[1], zones=3, binding="shed",
        recommended=(0.5, 92.0),
    )  # fmt: skip
    plan = replicas_for(Forecast(1350), Estimate(92, 92, None, 1, ""), zones=3)
    assert [row.replicas for row in rows] == [plan.across_zones] * 2
    assert all("the share shed is the limit" in row.words for row in rows)


def test_a_stricter_objective_than_the_plans_never_needs_less() -> None:
    rows = what_if(LADDER, Forecast(1200), surges=[1], recommended=(0.5, 70.0))
    assert [row.per_replica_rps for row in rows] == [None, 70.0, 70.0, 110]


def test_an_objective_that_was_always_met_needs_what_the_plan_does() -> None:
    always = Rung(1.0, None, "p99 <= 1000 ms: always met, up to 120 rps", True)
    rows = what_if([always], Forecast(1200), surges=[1], binding="", recommended=(0.5, 95.0))
    assert rows[0].per_replica_rps == 95
    assert "at least what is recommended" in rows[0].words


def test_too_many_replicas_are_a_row_with_a_reason_and_the_others_stand() -> None:
    small, large = what_if([rung(0.5, 1)], Forecast(1e6), surges=[0.5, 5])
    assert small.replicas is not None
    assert large.replicas is None
    assert "5 times the forecast" in large.words
    assert "1,000,000" in large.words


@pytest.mark.parametrize("surge", [0.0, -1.0, float("nan"), float("inf"), 1001.0])
def test_an_impossible_surge_is_refused(surge: float) -> None:
    with pytest.raises(SettingsError, match="surge is"):
        what_if(LADDER, Forecast(1200), surges=[surge])


def test_impossible_settings_are_refused_and_not_put_into_rows() -> None:
    with pytest.raises(SettingsError, match="zones is 0"):
        what_if(LADDER, Forecast(1200), zones=0)
    with pytest.raises(SettingsError, match="tested replicas is 0"):
        what_if(LADDER, Forecast(1200), tested_replicas=0)


@given(
    st.lists(st.tuples(st.floats(0.01, 5), st.floats(5, 500)), min_size=1, max_size=6),
    st.floats(1, 1e4),
    st.integers(1, 4),
)
def test_a_looser_objective_or_a_smaller_surge_never_needs_more(
    rungs: list[tuple[float, float]], rps: float, zones: int
) -> None:
    rows = what_if([rung(*each) for each in rungs], Forecast(rps), zones=zones)
    for surge in SURGES:
        needs = [row.replicas or 0 for row in rows if row.surge == surge]
        assert needs == sorted(needs, reverse=True)
    for start in range(0, len(rows), len(SURGES)):
        needs = [row.replicas or 0 for row in rows[start : start + len(SURGES)]]
        assert needs == sorted(needs)
