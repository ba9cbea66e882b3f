"""What a plot shows, before anybody draws it: the same facts for the page and for the PNG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

Points = tuple[tuple[float, float], ...]


class Ink(StrEnum):
    """A colour by its role; the page has two shades of each (light, dark), the PNG one."""

    BLUE = "blue"
    ORANGE = "orange"
    GREEN = "green"
    PURPLE = "purple"
    SKY = "sky"
    RED = "red"
    MUTED = "muted"


class Dash(StrEnum):
    """How a line is broken, so that lines differ without their colours too."""

    SOLID = "solid"
    DASHED = "dashed"
    DOTTED = "dotted"


class Mark(StrEnum):
    """The shape of a point."""

    DOT = "dot"
    RING = "ring"
    DIAMOND = "diamond"
    CROSS = "cross"


@dataclass(frozen=True)
class Axis:
    """An axis from `low` to `high`; `percent` writes its ticks as shares of one."""

    label: str
    low: float
    high: float
    logarithmic: bool = False
    percent: bool = False


@dataclass(frozen=True)
class Line:
    """A line through points; without a `name` it is not in the legend."""

    points: Points
    ink: Ink
    name: str = ""
    dash: Dash = Dash.SOLID


@dataclass(frozen=True)
class Dots:
    """Points with optional intervals (x, low, high) and a title for each."""

    points: Points
    ink: Ink
    name: str
    mark: Mark = Mark.DOT
    bars: tuple[tuple[float, float, float], ...] = ()
    titles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Band:
    """The area between a lower and an upper line: (x, low, high) by rising x."""

    edges: tuple[tuple[float, float, float], ...]
    ink: Ink
    name: str


@dataclass(frozen=True)
class Shade:
    """A stretch of the x axis that means something, over the whole height."""

    start: float
    end: float
    ink: Ink
    name: str


@dataclass(frozen=True)
class Rule:
    """A straight line across at `at`, with a label beside it; `upright` stands on the x axis."""

    at: float
    label: str
    ink: Ink
    upright: bool = False
    dash: Dash = Dash.DASHED


@dataclass(frozen=True)
class Picture:
    """A plot: axes and layers, drawn in the order shades, bands, rules, lines, dots.

    `missing` says why there is nothing to draw; the picture has no layers then. `facts` is the
    plot in one sentence, for people who do not see it.
    """

    name: str
    title: str
    facts: str
    x: Axis
    y: Axis
    shades: tuple[Shade, ...] = ()
    bands: tuple[Band, ...] = ()
    rules: tuple[Rule, ...] = ()
    lines: tuple[Line, ...] = ()
    dots: tuple[Dots, ...] = ()
    missing: str = ""


_NOWHERE = Axis("", 0.0, 1.0)


def nothing(name: str, title: str, why: str) -> Picture:
    """A picture that cannot be drawn, and why."""
    return Picture(name, title, why, _NOWHERE, _NOWHERE, missing=why)


def finite(points: Points) -> Points:
    """The points that can be drawn: no NaN, no infinity."""
    return tuple((x, y) for x, y in points if math.isfinite(x) and math.isfinite(y))
