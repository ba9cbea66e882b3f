from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.load.curves import Phase, RateCurve, launch_day

STEPS = st.lists(
    st.tuples(st.floats(0.0, 10.0), st.floats(0.0, 1000.0)), min_size=1, max_size=8
).map(lambda steps: [*steps, (1.0, 10.0)])


def curve_of(steps: list[tuple[float, float]]) -> RateCurve:
    at, points = 0.0, [(0.0, 5.0)]
    for length, rate in steps:
        at += length
        points.append((at, rate))
    return RateCurve(tuple(points))


@settings(deadline=None)
@given(STEPS, st.floats(0.0, 1.0))
def test_inverse_and_integral_undo_each_other(
    steps: list[tuple[float, float]], share: float
) -> None:
    curve = curve_of(steps)
    arrivals = share * curve.total
    t = curve.inverse(arrivals)
    assert 0 <= t <= curve.duration_seconds
    assert math.isclose(curve.cumulative(t), arrivals, rel_tol=1e-6, abs_tol=1e-6)


@settings(deadline=None)
@given(STEPS, st.lists(st.floats(0.0, 1.0), max_size=20))
def test_the_inverse_of_many_in_any_order_is_that_of_each(
    steps: list[tuple[float, float]], shares: list[float]
) -> None:
    curve = curve_of(steps)
    arrivals = [share * curve.total for share in shares]
    assert list(curve.inverses(arrivals)) == [curve.inverse(each) for each in arrivals]


def test_more_arrivals_than_the_curve_holds_have_no_inverse() -> None:
    curve = RateCurve(((0.0, 1.0), (10.0, 1.0)))
    times = curve.inverses([10.0, 10.5])
    assert next(times) == 10.0
    with pytest.raises(ValueError, match="between 0 and 10"):
        next(times)


@settings(deadline=None)
@given(STEPS)
def test_the_integral_never_falls_and_ends_at_the_total(steps: list[tuple[float, float]]) -> None:
    curve = curve_of(steps)
    times = [curve.duration_seconds * i / 50 for i in range(51)]
    cumulated = [curve.cumulative(t) for t in times]
    assert all(a <= b + 1e-9 for a, b in pairwise(cumulated))
    assert math.isclose(cumulated[-1], curve.total, rel_tol=1e-9)


def test_a_ramp_by_hand() -> None:
    curve = RateCurve(((0.0, 0.0), (10.0, 20.0)))
    assert curve.total == 100.0
    assert curve.cumulative(5.0) == 25.0
    assert curve.inverse(25.0) == pytest.approx(5.0)
    assert curve.rate(2.5) == pytest.approx(5.0)


def test_launch_day_rises_tenfold_and_names_its_phases() -> None:
    curve = launch_day(baseline_rps=50, multiple=10)
    assert curve.rate(1) == 50
    assert curve.peak_rps == 500
    assert [phase.name for phase in curve.phases] == ["quiet", "rise", "peak", "decay", "tail"]
    assert curve.phases[-1].end_seconds == curve.duration_seconds


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (((0.0, 1.0),), "at least two"),
        (((1.0, 1.0), (2.0, 1.0)), "first point must be at 0"),
        (((0.0, 1.0), (5.0, 1.0), (4.0, 1.0)), "in order of time"),
        (((0.0, -1.0), (5.0, 1.0)), ">= 0"),
        (((0.0, 0.0), (5.0, 0.0)), "no arrivals"),
        (((0.0, math.inf), (5.0, 1.0)), "finite"),
    ],
)
def test_a_curve_that_makes_no_sense_is_refused(
    points: tuple[tuple[float, float], ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        RateCurve(points)


def test_a_phase_outside_the_curve_is_refused() -> None:
    with pytest.raises(ValueError, match="outside the curve"):
        RateCurve(((0.0, 1.0), (5.0, 1.0)), (Phase("late", 4.0, 6.0),))


@pytest.mark.parametrize(
    "wrong", [{"baseline_rps": 0}, {"multiple": 0.5}, {"peak_seconds": -1}, {"multiple": math.nan}]
)
def test_launch_day_refuses_wrong_parameters_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        launch_day(**wrong)
