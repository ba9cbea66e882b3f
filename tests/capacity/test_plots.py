"""The six plots: always six, never a NaN, nothing outside the frame, no label over another."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from functools import lru_cache
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.capacity.answer import Plan, Request
from launchday.capacity.forecast import Forecast
from launchday.capacity.plots.labels import LETTER, at_side, on_top
from launchday.capacity.plots.picture import Axis
from launchday.capacity.plots.pictures import pictures
from launchday.capacity.plots.scale import linear, logarithmic, share, ticks, within
from launchday.capacity.plots.svg import HEIGHT, WIDTH, pixel, render_svg
from launchday.capacity.steps import Measured, Objective
from tests.capacity.plans import (
    OBJECTIVE,
    REQUEST,
    bottleneck,
    demand,
    estimate,
    found,
    measured,
    plan,
)

NAMES = ["scalability", "latency", "utilisation", "residuals", "retries", "replicas"]
FINITE = st.floats(-1e9, 1e9, allow_nan=False)


@lru_cache
def variants() -> dict[str, Plan]:
    hostile = measured()
    steps = tuple(
        replace(s, latency_seconds=None, utilisation={}, source='<script>"&') for s in hostile.steps
    )
    return {
        "whole": plan(),
        "refused": plan(
            refused="mixed", usl=None, found=None, per_replica=None, measured=Measured(())
        ),
        "no forecast": plan(Request(objective=OBJECTIVE)),
        "one rate": plan(measured=replace(hostile, steps=hostile.steps[:7])),
        "nothing known": plan(measured=replace(hostile, steps=steps), bottleneck=None),
        "shed": plan(found=found(binding="shed")),
        "mean": plan(replace(REQUEST, objective=Objective(None, 0.2))),
        "large": plan(replace(REQUEST, forecast=Forecast(2e6, 3e5), replicas_now=150_000)),
        "close": plan(found=found(crossing=estimate(180.4, 178, 190))),
        "tight": plan(replace(REQUEST, objective=Objective(seconds=0.505))),
    }


@pytest.mark.parametrize("name", variants())
def test_there_are_always_six_and_each_shows_something_or_says_why_not(name: str) -> None:
    made = pictures(variants()[name])
    assert [picture.name for picture in made] == NAMES
    for picture in made:
        assert bool(render_svg(picture)) != bool(picture.missing)
        assert picture.facts.endswith(".")


@pytest.mark.parametrize("name", variants())
def test_every_plot_is_xml_with_finite_coordinates_inside_the_frame(name: str) -> None:
    for picture in pictures(variants()[name]):
        text = render_svg(picture)
        assert not re.search(r"\b(nan|inf)\b", text, re.IGNORECASE)
        if not text:
            continue
        for element in ElementTree.fromstring(text).iter():
            for key, most in (("x", WIDTH), ("x1", WIDTH), ("x2", WIDTH), ("y", HEIGHT)):
                assert 0 <= float(element.get(key, 0)) <= most, (picture.name, element.attrib)


@pytest.mark.parametrize("name", variants())
def test_no_label_covers_another_or_is_cut(name: str) -> None:
    for picture in pictures(variants()[name]):
        if picture.missing:
            continue
        boxes = [_box(text) for text in ElementTree.fromstring(render_svg(picture)).iter("text")]
        for left, top, right, bottom, words in boxes:
            assert left >= 0, (picture.name, words)
            assert right <= WIDTH, (picture.name, words)
            assert top >= 0, (picture.name, words)
            assert bottom <= HEIGHT, (picture.name, words)
        for a, b in combinations(boxes, 2):
            apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
            assert apart, (picture.name, a, b)


def _box(text: ElementTree.Element) -> tuple[float, float, float, float, str]:
    """What a text covers, about: letters of 6.4 pixels, ten high."""
    if turned := text.get("transform"):
        at, middle = (float(part) for part in turned[10 : turned.index(")")].split())
        half = 6.4 * len(text.text or "") / 2
        return at - 10, middle - half, at, middle + half, text.text or ""
    words = text.text or ""
    wide, x, y = 6.4 * len(words), float(text.get("x", 0)), float(text.get("y", 0))
    left = {"start": x, "middle": x - wide / 2, "end": x - wide}[text.get("text-anchor", "start")]
    return left, y - 10, left + wide, y, words


def test_what_binds_is_named_in_the_plot_of_latency() -> None:
    assert "shed is missed" in render_svg(pictures(variants()["shed"])[1])
    assert "shed above 0.1 %" in [dots.name for dots in pictures(plan())[1].dots]


def test_a_refused_model_shows_no_peak() -> None:
    whole = plan()
    assert whole.usl is not None
    assert "peak of the fit" in render_svg(pictures(whole)[0])
    refused = plan(usl=replace(whole.usl, refused="observed above the peak"))
    assert "peak of the fit" not in render_svg(pictures(refused)[0])
    assert "not to be used" in pictures(refused)[0].facts


def test_nothing_is_drawn_beyond_twice_the_tested_load() -> None:
    whole = plan()
    assert whole.usl is not None
    most = max(n for n, _ in whole.usl.points)
    drawn = [x for line in pictures(whole)[0].lines for x, _ in line.points]
    assert max(drawn) <= 2 * most * (1 + 1e-9)


def test_the_staircase_says_what_the_plan_says() -> None:
    whole = plan()
    assert whole.replicas is not None
    needed = next(line for line in pictures(whole)[5].lines if line.name == "needed")
    at = min(y for x, y in needed.points if x >= whole.replicas.forecast_rps)
    assert at == whole.replicas.replicas


@given(st.lists(FINITE, min_size=1))
def test_an_axis_holds_all_values_and_has_few_ticks(values: list[float]) -> None:
    axis = linear("x", values)
    slack = 1e-6 * (axis.high - axis.low)
    assert all(axis.low - slack <= value <= axis.high + slack for value in values)
    assert 2 <= len(ticks(axis)) <= 8
    assert all(0 <= share(axis, value) <= 1 for value in values)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1))
def test_a_logarithmic_axis_holds_all_values(values: list[float]) -> None:
    axis = logarithmic("ms", values)
    assert all(within(axis, value) for value in values)
    assert all(axis.low <= tick <= axis.high for tick in ticks(axis))


def test_shares_are_clipped_to_the_axis() -> None:
    axis = Axis("x", 0.0, 10.0)
    assert (share(axis, -5), share(axis, 5), share(axis, 50)) == (0.0, 0.5, 1.0)
    assert share(Axis("x", 1.0, 100.0, logarithmic=True), 10) == pytest.approx(0.5)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.floats(64, 508), st.text("abc ", min_size=1, max_size=20)), max_size=5)
)
def test_labels_above_the_plot_never_overlap(places: list[tuple[float, str]]) -> None:
    spans: dict[int, list[tuple[float, float]]] = {}
    for label in on_top(places, 64, 508):
        wide = LETTER * len(label.text)
        start = label.x if label.anchor == "start" else label.x - wide
        assert start + wide <= 508 + 1e-9
        for low, high in spans.get(label.row, []):
            assert start + wide <= low or high <= start
        spans.setdefault(label.row, []).append((start, start + wide))


@given(st.lists(st.floats(12, 300), max_size=6))
def test_labels_beside_the_plot_are_a_line_apart(heights: list[float]) -> None:
    placed = at_side([(height, "x") for height in heights], 12, 300)
    assert all(b - a >= 15 - 1e-6 for a, b in zip(sorted(placed), sorted(placed)[1:], strict=False))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_coordinate_that_is_no_number_is_a_defect(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        pixel(bad)


def test_the_line_of_a_resource_starts_at_its_background_work() -> None:
    """Half of a core busy when idle, 2.5 ms a request: full at 200 rps."""
    busy = replace(demand("CPU", 0.0025, 1.0, 200), highest_utilisation=0.97)
    picture = pictures(plan(bottleneck=replace(bottleneck(), demands=(busy,))))[2]
    (line,) = picture.lines
    assert [x for x, _ in line.points] == pytest.approx([0.0, 200.0])
    assert [u for _, u in line.points] == pytest.approx([0.5, 1.0])
