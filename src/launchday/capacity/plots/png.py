"""The six pictures as PNG files; the one module here that needs matplotlib (`launchday[plots]`)."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from launchday.capacity.answer import Plan
from launchday.capacity.plots.labels import at_side
from launchday.capacity.plots.picture import Axis, Dash, Dots, Ink, Mark, Picture, Rule
from launchday.capacity.plots.pictures import pictures
from launchday.capacity.plots.scale import share, ticks, within, written

_COLOURS = {
    Ink.BLUE: "#0072b2",
    Ink.ORANGE: "#b35c00",
    Ink.GREEN: "#007a5a",
    Ink.PURPLE: "#8e4a8a",
    Ink.SKY: "#2b7fb8",
    Ink.RED: "#b3261e",
    Ink.MUTED: "#5c6670",
}
_STYLES = {Dash.SOLID: "-", Dash.DASHED: "--", Dash.DOTTED: ":"}
_SHAPES = {Mark.DOT: "o", Mark.RING: "o", Mark.DIAMOND: "D", Mark.CROSS: "x"}
_ROW_POINTS = 12  # height of a row of labels above the plot
_PLOT_ROWS = 400.0  # of the height of a plot, if a row of labels beside it is 15


def write_pngs(plan: Plan, directory: Path) -> list[Path]:
    """Write capacity-<picture>.png for each of the six; a picture without data says why.

    Raises:
        OSError: the directory cannot be made or written to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for picture in pictures(plan):
        path = directory / f"capacity-{picture.name}.png"
        path.write_bytes(render_png(picture, plan.status.value))
        paths.append(path)
    return paths


def render_png(picture: Picture, status: str) -> bytes:
    """One picture, 1280 x 880, on white; drawn without a display and without global state."""
    figure = Figure(figsize=(8, 5.5), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if picture.missing:
        axes.axis("off")
        axes.text(0.5, 0.5, picture.missing, ha="center", color=_COLOURS[Ink.MUTED], wrap=True)
        axes.set_title(f"{picture.title} · {status}", loc="left", fontsize=11)
    else:
        _draw(axes, picture)
        rows = _name_rules(axes, picture)
        axes.set_title(
            f"{picture.title} · {status}", loc="left", fontsize=11, pad=8 + _ROW_POINTS * rows
        )
        if axes.get_legend_handles_labels()[1]:
            figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    written_to = BytesIO()
    # Without the version of matplotlib in it the same plan gives the same bytes.
    figure.savefig(written_to, format="png", metadata={"Software": None})
    return written_to.getvalue()


def _draw(axes: Axes, picture: Picture) -> None:
    for shade in picture.shades:
        colour = _COLOURS[shade.ink]
        axes.axvspan(shade.start, shade.end, color=colour, alpha=0.1, lw=0, label=shade.name)
    for band in picture.bands:
        x, low, high = (list(column) for column in zip(*band.edges, strict=True))
        colour = _COLOURS[band.ink]
        axes.fill_between(x, low, high, color=colour, alpha=0.2, lw=0, label=band.name)
    for line in picture.lines:
        x, y = (list(column) for column in zip(*line.points, strict=True))
        style, colour = _STYLES[line.dash], _COLOURS[line.ink]
        axes.plot(x, y, color=colour, linestyle=style, linewidth=1.8, label=line.name or None)
    for dots in picture.dots:
        _draw_dots(axes, dots)
    _scale(axes, picture.x, picture.y)
    axes.grid(axis="y", color="#d8dde3", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_dots(axes: Axes, dots: Dots) -> None:
    colour = _COLOURS[dots.ink]
    for at, low, high in dots.bars:
        axes.plot([at, at], [low, high], color=colour, linewidth=1)
    if not dots.points:
        return
    x, y = (list(column) for column in zip(*dots.points, strict=True))
    face = "none" if dots.mark is Mark.RING else colour
    axes.plot(
        x,
        y,
        linestyle="none",
        marker=_SHAPES[dots.mark],
        markersize=5.5,
        color=colour,
        markerfacecolor=face,
        label=dots.name or None,
    )


def _scale(axes: Axes, x: Axis, y: Axis) -> None:
    axes.set_xlabel(x.label)
    axes.set_ylabel(y.label)
    if y.logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(x.low, x.high)
    axes.set_ylim(y.low, y.high)
    for axis, drawn in ((x, axes.xaxis), (y, axes.yaxis)):
        drawn.set_major_locator(FixedLocator(ticks(axis)))
        drawn.set_major_formatter(_formatter(axis))


def _formatter(axis: Axis) -> FuncFormatter:
    return FuncFormatter(lambda tick, _: written(axis, tick))


def _name_rules(axes: Axes, picture: Picture) -> int:
    """Draw the rules with their labels outside the plot; how many rows there are above it."""
    upright = [rule for rule in picture.rules if rule.upright and within(picture.x, rule.at)]
    across = [rule for rule in picture.rules if not rule.upright and within(picture.y, rule.at)]
    for row, rule in enumerate(upright):
        axes.axvline(rule.at, **_rule_style(rule))
        beyond_middle = (rule.at - picture.x.low) / (picture.x.high - picture.x.low) > 0.5
        axes.annotate(
            rule.label,
            (rule.at, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4 + _ROW_POINTS * row),
            textcoords="offset points",
            ha="right" if beyond_middle else "left",
            color=_COLOURS[rule.ink],
            fontsize=8,
        )
    heights = [_PLOT_ROWS * (1 - share(picture.y, rule.at)) for rule in across]
    beside = at_side(
        [(y, rule.label) for y, rule in zip(heights, across, strict=True)], 0, _PLOT_ROWS
    )
    for rule, y in zip(across, beside, strict=True):
        axes.axhline(rule.at, **_rule_style(rule))
        axes.annotate(
            rule.label,
            (1.0, 1 - y / _PLOT_ROWS),
            xycoords="axes fraction",
            xytext=(4, -3),
            textcoords="offset points",
            color=_COLOURS[rule.ink],
            fontsize=8,
        )
    return len(upright)


def _rule_style(rule: Rule) -> dict[str, Any]:
    return {
        "color": _COLOURS[rule.ink],
        "linestyle": _STYLES[rule.dash],
        "linewidth": 1.2,
    }
