"""The plot of a curve as one self-contained HTML file: an SVG and tables, nothing is fetched."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from launchday.load.curve_plot import CurveView, Drawn, facts, outline, phase_rows, short, ticks
from launchday.rate_curve import Points

_WIDTH, _HEIGHT = 960, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 944, 34, 344
_LETTER = 7.5  # width of a letter, about, to see whether a name fits into its band

Place = Callable[[float], float]


def render_html(view: CurveView) -> str:
    """The page: plot, phases, parameters, source; light or dark as the reader's system is."""
    curve, drawn = view.curve, view.drawn()
    levels = ticks(max(curve.peak_rps, *(drawn.rates if drawn else ()), 0.0), 5)
    seconds = ticks(curve.duration_seconds, 8)

    def x(at_seconds: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * at_seconds / curve.duration_seconds

    def y(rps: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * rps / levels[-1]

    points = outline(curve)
    end = curve.duration_seconds
    template = (files("launchday.load") / "assets" / "curve.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.from_string(template).render(
        view=view,
        facts=facts(curve),
        phases=phase_rows(curve),
        bands=_bands(view, x),
        levels=[{"y": round(y(level), 2), "text": short(level)} for level in levels],
        times=[{"x": round(x(at), 2), "text": short(at)} for at in seconds if at <= end],
        line=_line(points, x, y),
        area=_line(((0.0, 0.0), *points, (end, 0.0)), x, y),
        drawn=drawn,
        drawn_line=_line(_steps(drawn), x, y) if drawn else "",
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
        right=_RIGHT,
        top=_TOP,
        bottom=_BOTTOM,
    )


def _steps(drawn: Drawn) -> Points:
    length = drawn.bin_seconds
    return tuple((edge * length, rate) for k, rate in enumerate(drawn.rates) for edge in (k, k + 1))


def _line(points: Points, x: Place, y: Place) -> str:
    return " ".join(f"{x(at):.2f},{y(rps):.2f}" for at, rps in points)


def _bands(view: CurveView, x: Place) -> list[dict[str, Any]]:
    bands = []
    for phase in view.curve.phases:
        start, width = x(phase.start_seconds), x(phase.end_seconds) - x(phase.start_seconds)
        bands.append(
            {
                "name": phase.name,
                "span": f"{short(phase.start_seconds)} - {short(phase.end_seconds)}",
                "x": round(start, 2),
                "width": round(width, 2),
                "fits": width > _LETTER * len(phase.name),
            }
        )
    return bands
