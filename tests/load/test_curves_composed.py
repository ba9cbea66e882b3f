from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.load.curves import CURVES, Phase, RateCurve, launch_day

RATES = st.floats(0.0, 1000.0, allow_subnormal=False)
SHARES = st.floats(0.0, 1.0)
FACTORS = st.floats(0.01, 100.0)


@st.composite
def curves(draw: st.DrawFn) -> RateCurve:
    """Some segments, steps among them, and a phase; at least ten arrivals."""
    at, points = 0.0, [(0.0, draw(RATES))]
    for _ in range(draw(st.integers(1, 8))):
        at += draw(st.one_of(st.just(0.0), st.floats(0.01, 10.0)))
        points.append((at, draw(RATES)))
    points.append((at + 1.0, points[-1][1] + 20.0))
    start = draw(SHARES) * (at + 1.0)
    return RateCurve(tuple(points), (Phase("peak", start, at + 1.0),))


def near(left: float, right: float) -> bool:
    return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-6)


@settings(deadline=None, max_examples=60)
@given(curves(), curves(), SHARES)
def test_then_adds_the_integrals_one_after_the_other(
    one: RateCurve, two: RateCurve, share: float
) -> None:
    both = one.then(two)
    assert near(both.total, one.total + two.total)
    t = share * two.duration_seconds
    at = one.duration_seconds + t
    assert near(both.cumulative(at), one.total + two.cumulative(at - one.duration_seconds))
    assert near(
        both.cumulative(share * one.duration_seconds),
        one.cumulative(t * 0 + share * one.duration_seconds),
    )


@settings(deadline=None, max_examples=60)
@given(curves(), curves(), SHARES)
def test_plus_adds_the_integrals_at_every_time(
    one: RateCurve, two: RateCurve, share: float
) -> None:
    both = one + two
    assert both.duration_seconds == max(one.duration_seconds, two.duration_seconds)
    t = share * both.duration_seconds
    assert near(both.cumulative(t), one.cumulative(t) + two.cumulative(t))
    assert near((two + one).cumulative(t), both.cumulative(t))
    assert {t for t, _ in both.points} == {t for c in (one, two) for t, _ in c.points}


@settings(deadline=None, max_examples=60)
@given(curves(), FACTORS, SHARES)
def test_scale_multiplies_the_integral_and_compress_shortens_the_time(
    curve: RateCurve, factor: float, share: float
) -> None:
    t = share * curve.duration_seconds
    assert near(curve.scale(factor).cumulative(t), factor * curve.cumulative(t))
    squeezed = curve.compress(factor)
    assert squeezed.peak_rps == curve.peak_rps
    assert near(squeezed.total * factor, curve.total)
    assert near(squeezed.cumulative(t / factor) * factor, curve.cumulative(t))


@settings(deadline=None, max_examples=60)
@given(curves(), st.floats(1.0, 1000.0), SHARES)
def test_clip_is_the_lower_of_the_rate_and_the_limit(
    curve: RateCurve, limit: float, share: float
) -> None:
    clipped = curve.clip(limit)
    assert clipped.peak_rps <= limit
    t = share * curve.duration_seconds
    # Times at which there is a step have two rates; a breakpoint may be off by one rounding.
    if all(abs(t - at) > 1e-6 for at, _ in curve.points):
        assert math.isclose(clipped.rate(t), min(curve.rate(t), limit), rel_tol=1e-6, abs_tol=1e-6)


@settings(deadline=None, max_examples=60)
@given(curves(), SHARES, st.integers(0, 2**32), st.floats(0.1, 3.0))
def test_noise_keeps_the_total_and_multiplies_each_window_by_one_factor(
    curve: RateCurve, share: float, seed: int, every: float
) -> None:
    noisy = curve.noise(share, seed=seed, every_seconds=every)
    assert noisy == curve.noise(share, seed=seed, every_seconds=every)
    assert near(noisy.total, curve.total)
    assert noisy.duration_seconds == curve.duration_seconds
    for window in range(int(curve.duration_seconds / every)):
        times = [(window + k / 7) * every for k in range(1, 7)]
        factors = [noisy.rate(t) / curve.rate(t) for t in times if curve.rate(t) > 1e-3]
        assert all(math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-6) for a, b in pairwise(factors))


@settings(deadline=None, max_examples=60)
@given(curves(), curves(), FACTORS, SHARES)
def test_the_inverse_undoes_the_integral_of_whatever_was_composed(
    one: RateCurve, two: RateCurve, factor: float, share: float
) -> None:
    composed = (one.then(two) + two.compress(factor)).clip(700.0).scale(0.5)
    arrivals = share * composed.total
    assert math.isclose(
        composed.cumulative(composed.inverse(arrivals)), arrivals, rel_tol=1e-6, abs_tol=1e-5
    )


def test_noise_with_another_seed_is_another_curve_and_without_a_share_none() -> None:
    curve = launch_day()
    assert curve.noise(0.2, seed=1) != curve.noise(0.2, seed=2)
    still = curve.noise(0.0, seed=1)
    assert all(math.isclose(still.rate(t), curve.rate(t)) for t in (0.5, 11.3, 20.0, 43.7, 60.0))


def test_noise_spreads_by_its_share() -> None:
    flat = RateCurve(((0.0, 100.0), (4000.0, 100.0)))
    noisy = flat.noise(0.2, seed=7)
    rates = [noisy.rate(second + 0.5) for second in range(4000)]
    spread = math.sqrt(sum((rate - 100.0) ** 2 for rate in rates) / len(rates))
    assert 19.0 < spread < 21.0


def test_a_ramp_is_clipped_where_it_crosses() -> None:
    clipped = RateCurve(((0.0, 0.0), (10.0, 20.0), (20.0, 0.0))).clip(10.0)
    assert clipped.points == ((0.0, 0.0), (5.0, 10.0), (10.0, 10.0), (15.0, 10.0), (20.0, 0.0))
    assert clipped.total == 150.0


def test_steps_meet_as_steps() -> None:
    low = RateCurve(((0.0, 10.0), (5.0, 10.0)))
    step = RateCurve(((0.0, 0.0), (2.0, 0.0), (2.0, 30.0), (8.0, 30.0)))
    assert (low + step).points == (
        (0.0, 10.0), (2.0, 10.0), (2.0, 40.0), (5.0, 40.0), (5.0, 30.0), (8.0, 30.0)
    )  # fmt: skip
    assert low.then(low).points == ((0.0, 10.0), (5.0, 10.0), (10.0, 10.0))
    assert low.then(step).points[1:3] == ((5.0, 10.0), (5.0, 0.0))


def test_phases_come_along_and_keep_names_of_their_own() -> None:
    day = RateCurve(((0.0, 1.0), (4.0, 1.0)), (Phase("quiet", 0, 1), Phase("peak", 1, 4)))
    twice = day.then(day.compress(2))
    assert [(p.name, p.start_seconds, p.end_seconds) for p in twice.phases] == [
        ("quiet", 0, 1), ("peak", 1, 4), ("quiet_2", 4, 4.5), ("peak_2", 4.5, 6)
    ]  # fmt: skip
    assert [p.name for p in (day + day + day).phases] == [
        "quiet", "quiet_2", "quiet_3", "peak", "peak_2", "peak_3"
    ]  # fmt: skip
    changed = day.scale(3).clip(2).noise(0.1, seed=1)
    assert changed.phases == day.phases


def test_a_storm_in_the_middle_of_an_ordinary_evening() -> None:
    evening, storm = CURVES["evening_commute"].curve(), CURVES["reconnect_storm"].curve()
    both = evening + storm
    assert both.total == pytest.approx(evening.total + storm.total)
    assert {"peak", "peak_2", "blackout"} <= {phase.name for phase in both.phases}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.scale(0), "factor must be above 0, got 0"),
        (lambda c: c.scale(math.nan), "factor must be above 0, got nan"),
        (lambda c: c.scale(1e308), "finite"),
        (lambda c: c.compress(-1), "factor must be above 0, got -1"),
        (lambda c: c.compress(math.inf), "factor must be above 0, got inf"),
        (lambda c: c.clip(0), "max_rps must be above 0, got 0"),
        (lambda c: c.noise(1.5, seed=1), "share must be between 0 and 1, got 1.5"),
        (lambda c: c.noise(0.5, seed=1, every_seconds=0), "every_seconds must be above 0, got 0"),
        (lambda c: c.noise(0.5, seed=1, every_seconds=1e-6), "every_seconds must be at least"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_by_name(
    change: Callable[[RateCurve], RateCurve], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        change(launch_day())
