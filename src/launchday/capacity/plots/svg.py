"""A picture as inline SVG: small pure functions, colours by CSS class, no script."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

from launchday.capacity.plots.labels import LETTER, at_side, on_top
from launchday.capacity.plots.marks import mark
from launchday.capacity.plots.picture import Axis, Band, Dots, Line, Picture, Rule, Shade
from launchday.capacity.plots.scale import share, ticks, within, written

WIDTH, HEIGHT = 520, 350
_LEFT, _RIGHT, _BOTTOM = 64, 490, 300
_SIDE = 80  # room for the labels of the rules that lie across
_ROW = 15  # height of a row of labels
_BEFORE_TICKS = 34  # the name of the y axis, and room around the ticks


class Frame:
    """Where things are: from values to pixels of the drawing area."""

    def __init__(self, picture: Picture) -> None:
        self._x, self._y = picture.x, picture.y
        upright = [rule for rule in picture.rules if rule.upright and within(self._x, rule.at)]
        across = [rule for rule in picture.rules if not rule.upright and within(self._y, rule.at)]
        widest = max(len(written(self._y, tick)) for tick in ticks(self._y))
        self.left, self.bottom = max(_LEFT, _BEFORE_TICKS + LETTER * widest), _BOTTOM
        self.right = _RIGHT - (_SIDE if across else 0)
        self.labels_above = on_top([(self.x(r.at), r.label) for r in upright], self.left, WIDTH - 6)
        rows = 1 + max((label.row for label in self.labels_above), default=-1)
        self.top = 12 + _ROW * rows
        self.upright, self.across = upright, across
        places = [(self.y(rule.at), rule.label) for rule in across]
        self.labels_beside = at_side(places, self.top, self.bottom)

    def x(self, value: float) -> float:
        """The pixel of a value on the x axis."""
        return self.left + (self.right - self.left) * share(self._x, value)

    def y(self, value: float) -> float:
        """The pixel of a value on the y axis."""
        return self.bottom - (self.bottom - self.top) * share(self._y, value)


def render_svg(picture: Picture) -> str:
    """The plot as an `<svg>` element; empty where the picture has nothing to show."""
    if picture.missing:
        return ""
    frame = Frame(picture)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(picture.facts)}">',
        *(_shade(shade, frame) for shade in picture.shades),
        *_x_axis(picture.x, frame),
        *_y_axis(picture.y, frame),
        *(_band(band, frame) for band in picture.bands),
        *_rules(frame),
        *(_line(line, frame) for line in picture.lines),
        *(text for dots in picture.dots for text in _dots(dots, frame)),
        "</svg>",
    ]
    return "\n".join(part for part in parts if part)


def pixel(value: float) -> str:
    """A coordinate. A defect that makes one infinite must not reach a page.

    Raises:
        ValueError: it is not a finite number.
    """
    if not math.isfinite(value):
        raise ValueError(f"a coordinate must be finite, got {value!r}")
    return f"{value:.1f}"


def _text(x: float, y: float, words: str, anchor: str = "middle", style: str = "") -> str:
    style = f' class="{style}"' if style else ""
    return (
        f'<text{style} x="{pixel(x)}" y="{pixel(y)}" text-anchor="{anchor}">{escape(words)}</text>'
    )


def _stroke(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return (
        f'<line class="{style}" x1="{pixel(x1)}" y1="{pixel(y1)}" '
        f'x2="{pixel(x2)}" y2="{pixel(y2)}"/>'
    )


def _path(points: Iterable[tuple[float, float]], frame: Frame) -> str:
    return " ".join(f"{pixel(frame.x(x))},{pixel(frame.y(y))}" for x, y in points)


def _shade(shade: Shade, frame: Frame) -> str:
    start, width = frame.x(shade.start), frame.x(shade.end) - frame.x(shade.start)
    if width <= 0:
        return ""
    return (
        f'<rect class="shade {shade.ink}" x="{pixel(start)}" y="{pixel(frame.top)}" '
        f'width="{pixel(width)}" height="{pixel(frame.bottom - frame.top)}"/>'
    )


def _x_axis(axis: Axis, frame: Frame) -> list[str]:
    parts = [_stroke(frame.left, frame.bottom, frame.right, frame.bottom, "axis")]
    for tick in ticks(axis):
        x = frame.x(tick)
        parts.append(_stroke(x, frame.bottom, x, frame.bottom + 5, "axis"))
        parts.append(_text(x, frame.bottom + 19, written(axis, tick)))
    middle = (frame.left + frame.right) / 2
    return [*parts, _text(middle, HEIGHT - 8, axis.label, style="muted")]


def _y_axis(axis: Axis, frame: Frame) -> list[str]:
    parts = []
    for tick in ticks(axis):
        y = frame.y(tick)
        parts.append(_stroke(frame.left, y, frame.right, y, "grid"))
        parts.append(_text(frame.left - 8, y + 4, written(axis, tick), "end"))
    middle = (frame.top + frame.bottom) / 2
    turned = (
        f'<text class="muted" transform="translate(14 {pixel(middle)}) rotate(-90)" '
        f'text-anchor="middle">{escape(axis.label)}</text>'
    )
    return [*parts, turned]


def _band(band: Band, frame: Frame) -> str:
    upper = [(x, high) for x, _, high in band.edges]
    lower = [(x, low) for x, low, _ in reversed(band.edges)]
    return f'<polygon class="band {band.ink}" points="{_path([*upper, *lower], frame)}"/>'


def _line(line: Line, frame: Frame) -> str:
    return f'<polyline class="line {line.ink} {line.dash}" points="{_path(line.points, frame)}"/>'


def _rules(frame: Frame) -> list[str]:
    parts = []
    for rule, label in zip(frame.upright, frame.labels_above, strict=True):
        x, text_y = frame.x(rule.at), 20.0 + _ROW * label.row - 6
        parts.append(_stroke(x, text_y + 4, x, frame.bottom, _rule_style(rule)))
        parts.append(_text(label.x, text_y, label.text, label.anchor, f"ink {rule.ink}"))
    for rule, y in zip(frame.across, frame.labels_beside, strict=True):
        at = frame.y(rule.at)
        parts.append(_stroke(frame.left, at, frame.right, at, _rule_style(rule)))
        parts.append(_stroke(frame.right, at, frame.right + 6, y, f"line thin {rule.ink} solid"))
        parts.append(_text(frame.right + 9, y + 4, rule.label, "start", f"ink {rule.ink}"))
    return parts


def _rule_style(rule: Rule) -> str:
    return f"line thin {rule.ink} {rule.dash}"


def _dots(dots: Dots, frame: Frame) -> list[str]:
    parts = []
    for x, low, high in dots.bars:
        at = frame.x(x)
        parts.append(_stroke(at, frame.y(low), at, frame.y(high), f"line thin {dots.ink} solid"))
    titles = dots.titles or ("",) * len(dots.points)
    for (x, y), title in zip(dots.points, titles, strict=True):
        drawn = mark(dots.mark, dots.ink, pixel(frame.x(x)), pixel(frame.y(y)))
        parts.append(f"<g><title>{escape(title)}</title>{drawn}</g>" if title else drawn)
    return parts
