from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.load.arrivals import schedule
from launchday.load.curve_html import render_html
from launchday.load.curve_plot import CurveView, draw, outline, terminal_lines, ticks
from launchday.load.curve_png import render_png
from launchday.load.curves import CURVES, Phase, RateCurve, launch_day

EVERY = pytest.mark.parametrize("name", CURVES)


def view(curve: RateCurve, title: str = "day", seed: int | None = None) -> CurveView:
    return CurveView(title, "what happens", curve, arrivals=("poisson", seed) if seed else None)


def chart(lines: list[str]) -> list[str]:
    """The rows of the plot itself, without what is left of the axis, from the top."""
    return [re.split(r"[│┤|+]", line, maxsplit=1)[1] for line in lines[1:13]]


@settings(deadline=None)
@given(st.floats(1e-6, 1e9), st.integers(2, 10))
def test_ticks_are_round_and_reach_the_highest(highest: float, about: int) -> None:
    levels = ticks(highest, about)
    assert levels[0] == 0
    assert levels[-2] < highest * (1 + 1e-6)
    assert levels[-1] >= highest * (1 - 1e-6)
    assert len(levels) <= about + 2
    digits = levels[1] / 10 ** math.floor(math.log10(levels[1]) + 1e-9)
    assert any(math.isclose(digits, round_one) for round_one in (1, 2, 5, 10))


@EVERY
@pytest.mark.parametrize("plain", [False, True])
def test_a_plot_keeps_to_its_columns(name: str, plain: bool) -> None:
    lines = terminal_lines(view(CURVES[name].curve().scale(0.05), seed=1), width=80, plain=plain)
    assert max(map(len, lines)) <= 80
    assert lines[0] == "arrivals per second"
    assert any(line.endswith(" s") for line in lines[13:])
    assert all(line.isascii() for line in lines) is plain


def test_columns_are_as_high_as_their_rates() -> None:
    curve = RateCurve(((0, 0), (10, 0), (10, 50), (20, 50), (20, 100), (30, 100)))
    rows = chart(terminal_lines(view(curve), width=79, plain=False))
    columns = ["".join(row[k : k + 1] or " " for row in rows) for k in range(69)]
    assert columns[5].count("█") == 0
    assert columns[5].strip() == ""
    assert columns[34].count("█") == 6
    assert columns[60].count("█") == 12


def test_a_rate_above_zero_is_always_to_be_seen() -> None:
    curve = RateCurve(((0, 1), (30, 1), (30, 10_000), (31, 10_000)))
    for plain, sign in ((False, "▁"), (True, "#")):
        assert chart(terminal_lines(view(curve), plain=plain))[-1].startswith(sign * 30)


def test_a_drawn_schedule_is_counted_whole() -> None:
    curve = launch_day()
    drawn = draw(curve, "poisson", 7, 70)
    assert sum(drawn.counts) == sum(1 for _ in schedule(curve, seed=7, mode="poisson"))
    assert sum(drawn.rates) * drawn.bin_seconds == pytest.approx(sum(drawn.counts))
    lines = terminal_lines(view(curve, seed=7))
    assert any("poisson, seed 7" in line for line in lines)
    assert "".join(chart(lines)).count("●") == len(chart(lines)[-1])
    even = draw(curve, "even", 7, 13)
    expected = [curve.cumulative(5.0 * (k + 1)) - curve.cumulative(5.0 * k) for k in range(13)]
    assert all(abs(a - b) <= 1 for a, b in zip(even.counts, expected, strict=True))


def test_more_arrivals_than_anybody_wants_to_wait_for_are_not_drawn() -> None:
    with pytest.raises(ValueError, match="more than the 5,000,000 that are drawn: compress"):
        draw(launch_day(baseline_rps=1e6), "even", 1, 10)


def test_an_outline_of_very_many_points_keeps_the_arrivals() -> None:
    day = launch_day().noise(0.3, seed=1, every_seconds=0.01)
    assert len(day.points) > 6000
    thin = RateCurve(outline(day))
    assert len(thin.points) == 2000
    assert thin.total == pytest.approx(day.total)
    assert outline(launch_day()) == launch_day().points


class Page(HTMLParser):
    """What is in a page: tags with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@EVERY
def test_a_page_is_whole_and_fetches_nothing(name: str) -> None:
    definition = CURVES[name]
    rows = tuple((p.name, str(p.default), p.meaning) for p in definition.parameters)
    made = CurveView(
        name, "what", definition.curve().scale(0.05), definition.source, rows, ("even", 1)
    )
    text = render_html(made)
    page = Page(text)
    assert page.open == []
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
    assert "http" not in text.replace(definition.source, "")
    assert "prefers-color-scheme: dark" in text
    assert {p.name for p in definition.parameters} <= set(page.words)
    for tag, attributes in page.tags:
        if tag in ("polyline", "polygon"):
            for point in (attributes["points"] or "").split():
                x, y = map(float, point.split(","))
                assert 76 <= x <= 944
                assert 34 <= y <= 344


def test_a_page_escapes_what_comes_from_outside() -> None:
    named = RateCurve(((0, 1), (9, 1)), (Phase("<script>peak", 0, 9),))
    page = Page(render_html(view(named, title="<script>alert(1)</script>.csv")))
    assert "script" not in {tag for tag, _ in page.tags}
    assert "<script>alert(1)</script>.csv" in page.words


@pytest.mark.parametrize("name", ["viral", "breakpoint", "kickoff"])
def test_a_picture_is_a_png_of_1600_by_800(name: str) -> None:
    picture = render_png(view(CURVES[name].curve()))
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert (int.from_bytes(picture[16:20]), int.from_bytes(picture[20:24])) == (1600, 800)


def test_a_picture_shows_the_drawn_schedule() -> None:
    assert render_png(view(launch_day(), seed=1)) != render_png(view(launch_day()))
    assert render_png(view(launch_day(), seed=1)) == render_png(view(launch_day(), seed=1))
