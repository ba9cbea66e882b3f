from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.load.curves import (
    CURVES,
    CurveDefinition,
    RateCurve,
    add_curve_options,
    curve_from_options,
    launch_day,
)
from launchday.load.curves.course import Leg, decay, growth, smooth
from launchday.load.generator import check_parameters

STORIES = {
    "launch_day", "regional_incident", "reconnect_storm", "maintenance_return", "shared_deadline",
    "app_release", "evening_commute", "midnight_charging", "breakpoint",
}  # fmt: skip
EVERY = pytest.mark.parametrize("definition", CURVES.values(), ids=CURVES)


def spans(curve: RateCurve) -> list[tuple[str, float, float]]:
    return [(p.name, p.start_seconds, p.end_seconds) for p in curve.phases]


def mean(curve: RateCurve, phase: str) -> float:
    ((start, end),) = [(s, e) for name, s, e in spans(curve) if name == phase]
    return (curve.cumulative(end) - curve.cumulative(start)) / (end - start)


def test_every_surge_of_the_stories_has_a_curve() -> None:
    assert set(CURVES) >= STORIES
    assert len(CURVES) > 15


@EVERY
def test_it_runs_on_a_laptop_in_one_to_four_minutes(definition: CurveDefinition) -> None:
    curve = definition.curve()
    assert 60 <= curve.duration_seconds <= 240
    assert curve.peak_rps <= 1000


@EVERY
def test_its_phases_cover_it_without_a_gap_and_the_highest_rate_is_in_the_peak(
    definition: CurveDefinition,
) -> None:
    curve = definition.curve()
    parts = spans(curve)
    assert parts[0][1] == 0
    assert parts[-1][2] == curve.duration_seconds
    assert all(end == start for (_, _, end), (_, start, _) in pairwise(parts))
    assert all(end > start for _, start, end in parts)
    assert len({name for name, _, _ in parts}) == len(parts)
    ((start, end),) = [(s, e) for name, s, e in parts if name == "peak"]
    highest = max(
        max(curve.rate(t), curve.rate(t - 1e-9)) for t, _ in curve.points if start <= t <= end
    )
    assert highest == pytest.approx(curve.peak_rps)


@EVERY
def test_it_says_what_its_parameters_mean_and_where_it_comes_from(
    definition: CurveDefinition,
) -> None:
    assert len(definition.summary) <= 40
    assert definition.source.startswith("assumption") or "." in definition.source
    for parameter in definition.parameters:
        assert parameter.meaning
        # argparse takes it for a format, the web UI shows it as it is.
        assert "%" not in parameter.meaning
        assert parameter.check(parameter.default) == parameter.default
    check_parameters([parameter.name for parameter in definition.parameters])


@EVERY
@settings(max_examples=15, deadline=None)
@given(st.data())
def test_any_parameters_make_a_curve_or_a_sentence(
    definition: CurveDefinition, data: st.DataObject
) -> None:
    numbers = st.one_of(st.floats(), st.floats(0.0, 100.0), st.integers(-2, 200))
    values = data.draw(
        st.fixed_dictionaries(
            {},
            optional={
                p.name: st.sampled_from([*p.choices, "x"]) if p.choices else numbers
                for p in definition.parameters
            },
        )
    )
    words, total = "", 0.0
    try:
        total = definition.curve(values).total
    except ValueError as error:
        words = str(error)
    assert " must " in words or "too large" in words or 0 < total < math.inf


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("launch_day", {"multiple": 0.5}, "multiple must be at least 1, got 0.5"),
        ("launch_day", {"multiple": "0.5"}, "multiple must be at least 1, got 0.5"),
        ("launch_day", {"baseline_rps": 0}, "baseline_rps must be above 0, got 0"),
        ("launch_day", {"baseline_rps": math.nan}, "baseline_rps must be a finite number, got nan"),
        ("launch_day", {"peak_seconds": "long"}, "peak_seconds must be a number, got 'long'"),
        ("launch_day", {"peak_seconds": None}, "peak_seconds must be a number, got None"),
        ("launch_day", {"height": 1}, "launch_day has no parameter 'height'; it has baseline_rps,"),
        ("app_release", {"steps": 2.5}, "steps must be a finite whole number, got 2.5"),
        ("app_release", {"steps": 0}, "steps must be between 1 and 100, got 0"),
        ("reconnect_storm", {"failed_share": 2}, "failed_share must be between 0 and 1, got 2"),
        (
            "reconnect_storm",
            {"jitter_seconds": 1e-30},
            "jitter_seconds must be between 0.001 and 1,000,000, got 1e-30",
        ),
        ("viral", {"multiple": 1e308, "plan_rps": 1e308}, "together are too large"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(
    name: str, values: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        CURVES[name].curve(values)


def test_launch_day_is_what_it_always_was() -> None:
    assert launch_day(baseline_rps=50, multiple=4).points == (
        (0.0, 50.0), (10.0, 50.0), (13.0, 200.0), (41.0, 200.0), (45.0, 60.0), (65.0, 50.0)
    )  # fmt: skip


def test_a_reconnect_storm_is_silent_and_then_brings_everybody_and_the_backlog() -> None:
    curve = CURVES["reconnect_storm"].curve({"clients": 1200, "jitter_seconds": 10})
    assert mean(curve, "blackout") == 0
    assert curve.rate(25.0) == pytest.approx(1200 / 10 + 12 * 40)
    without = CURVES["reconnect_storm"].curve({"clients": 0, "jitter_seconds": 10})
    assert curve.total - without.total == pytest.approx(1200)


def test_echoes_of_a_storm_come_1_and_3_and_7_seconds_later_and_add_up_to_the_series() -> None:
    values = {"clients": 1200, "jitter_seconds": 0.5, "failed_share": 0.5, "retries": 3}
    curve = CURVES["reconnect_storm"].curve(values)
    calm = CURVES["reconnect_storm"].curve({"clients": 0, "jitter_seconds": 0.5})
    for at, share in ((0, 1), (1, 0.5), (3, 0.25), (7, 0.125)):
        middle = 25 + at + 0.25
        assert curve.rate(middle) - calm.rate(middle) == pytest.approx(2400 * share)
    assert curve.total - calm.total == pytest.approx(1200 * (1 + 0.5 + 0.25 + 0.125))


def test_a_maintenance_window_ends_in_ten_times_the_load() -> None:
    curve = CURVES["maintenance_return"].curve({"baseline_rps": 50})
    assert mean(curve, "maintenance") == 25
    assert mean(curve, "peak") == 500


def test_a_shared_deadline_brings_the_crowd_at_once_and_half_of_it_at_the_next() -> None:
    curve = CURVES["shared_deadline"].curve({"baseline_rps": 10, "clients": 100})
    crowds = [mean(curve, name) for name in ("peak", "peak_2", "peak_3")]
    assert crowds == pytest.approx([60, 35, 22.5])


def test_a_chatty_release_grows_with_its_share_of_clients() -> None:
    curve = CURVES["app_release"].curve({"baseline_rps": 100})
    names = ("quiet", "rollout_25", "rollout_50", "rollout_75", "peak")
    assert [mean(curve, name) for name in names] == pytest.approx([100, 150, 200, 250, 300])


def test_all_cars_start_within_the_spread_of_their_clocks() -> None:
    curve = CURVES["midnight_charging"].curve({"cars": 600, "spread_seconds": 3})
    assert mean(curve, "peak") - mean(curve, "charging") == pytest.approx(200)


def test_published_numbers_are_in_their_curves() -> None:
    front = CURVES["front_page"].curve({"baseline_rps": 1, "quiet_seconds": 1, "hour_seconds": 1})
    assert [front.rate(1 + hour) for hour in (0.5, 4.5, 9, 10, 16, 22, 36)] == pytest.approx(
        [66, 98, 98, 40, 45, 60, 5]
    )
    timed = CURVES["timed_sale"].curve()
    assert timed.rate(15 + 26) == timed.peak_rps > timed.rate(15 + 25)
    viral = CURVES["viral"].curve({"plan_rps": 2})
    assert viral.rate(15) == pytest.approx(2)
    assert viral.peak_rps == pytest.approx(100)
    assert CURVES["ticket_sale"].curve({"planned_rps": 10}).peak_rps == 90
    kickoff = CURVES["kickoff"].curve({"baseline_rps": 5})
    assert kickoff.peak_rps == pytest.approx(12)
    assert kickoff.rate(10 + 8 * 8) == pytest.approx(11.2)
    flash = CURVES["flash_sale"].curve({"baseline_rps": 75})
    assert flash.peak_rps == pytest.approx(100)


def off_by(leg: Leg, exact: Callable[[float], float]) -> list[float]:
    """How far the drawn rate is above the exact one, at 2000 times."""
    curve = RateCurve(leg.points)
    times = [curve.duration_seconds * k / 2000 for k in range(2000)]
    return [curve.rate(t) - exact(t) for t in times]


def test_what_is_no_straight_line_is_drawn_within_the_stated_error() -> None:
    seconds = 10.0

    def falling(t: float) -> float:
        return 20 + 80 * math.exp(-5 * t / seconds)

    def rising(t: float) -> float:
        return float(2 * 50 ** (t / seconds))

    relative = [
        off / (falling(t) - 20)
        for off, t in zip(
            off_by(decay("", 100, 20, seconds), falling),
            (seconds * k / 2000 for k in range(2000)),
            strict=True,
        )
    ]
    assert min(relative) >= -1e-9
    assert 0.007 < max(relative) < 0.008
    area = RateCurve(decay("", 100, 0, seconds).points).total
    assert area == pytest.approx(100 * seconds / 5 * (1 - math.exp(-5)) * 1.0053, rel=1e-4)
    grown = off_by(growth("", 2, 100, seconds), rising)
    assert max(off / rising(seconds * k / 2000) for k, off in enumerate(grown)) < 0.008
    waved = off_by(
        smooth("", 10, 110, seconds), lambda t: 60 - 50 * math.cos(math.pi * t / seconds)
    )
    assert 0.0009 < max(abs(off) for off in waved) / 100 < 0.0011


def test_options_of_a_curve_come_back_as_the_curve() -> None:
    parser = argparse.ArgumentParser()
    group = add_curve_options(parser, CURVES["reconnect_storm"])
    group.add_argument("--region", default="us")
    options = parser.parse_args(["--clients", "500", "--retries", "2", "--region", "eu"])
    made = curve_from_options(options, CURVES["reconnect_storm"])
    assert made == CURVES["reconnect_storm"].curve({"clients": 500, "retries": 2})
    assert options.region == "eu"
    assert "that reconnect (default 3600)" in parser.format_help()


def test_a_wrong_option_is_refused_by_name_when_the_curve_is_made() -> None:
    parser = argparse.ArgumentParser()
    add_curve_options(parser, CURVES["launch_day"])
    with pytest.raises(ValueError, match=r"multiple must be at least 1, got 0\.5"):
        curve_from_options(parser.parse_args(["--multiple", "0.5"]), CURVES["launch_day"])


def test_no_parameter_takes_an_option_of_locust() -> None:
    code = (
        "from locust.argument_parser import get_parser\n"
        "from launchday.load.curves import CURVES, add_curve_options\n"
        "for definition in CURVES.values():\n"
        "    parser = get_parser()\n"
        "    add_curve_options(parser, definition)\n"
        "    known = vars(parser.parse_args(['--' + definition.parameters[0].name"
        ".replace('_', '-'), '1']))\n"
        "    assert all(p.name in known for p in definition.parameters)\n"
        "print(len(CURVES))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == str(len(CURVES)), done.stderr
