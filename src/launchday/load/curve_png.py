"""The plot of a curve as a PNG; the one module that needs matplotlib (`launchday[plots]`)."""

from __future__ import annotations

from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from launchday.load.curve_plot import CurveView, facts, outline, ticks

_CURVE, _DRAWN, _MUTED = "#0072b2", "#b35c00", "#5c6670"
_LETTER_SHARE = 0.0105  # of the axis that a letter takes, about


def render_png(view: CurveView) -> bytes:
    """The picture, 1600 x 800, on white; drawn without a display and without global state."""
    figure = Figure(figsize=(10, 5), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    curve, drawn = view.curve, view.drawn()
    at, rps = zip(*outline(curve), strict=True)
    axes.fill_between(at, rps, color=_CURVE, alpha=0.18, linewidth=0)
    axes.plot(at, rps, color=_CURVE, linewidth=2, label="the curve")
    highest = curve.peak_rps
    if drawn:
        edges = [k * drawn.bin_seconds for k in range(len(drawn.counts) + 1)]
        words = f"one schedule drawn from it ({drawn.mode}, seed {drawn.seed})"
        axes.stairs(drawn.rates, edges, baseline=None, color=_DRAWN, linewidth=0.9, label=words)
        highest = max(highest, *drawn.rates)
        figure.legend(frameon=False, loc="outside lower center", ncols=2, fontsize=9)
    axes.set_xlim(0, curve.duration_seconds)
    axes.set_ylim(0, ticks(highest, 5)[-1])
    axes.set_xlabel("seconds from the start")
    axes.set_ylabel("arrivals per second")
    axes.set_title(f"{view.title}: {facts(curve)}", loc="left", fontsize=11, pad=24)
    axes.grid(axis="y", color="#d8dde3", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    _name_phases(axes, view)
    picture = BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _name_phases(axes: Axes, view: CurveView) -> None:
    duration = view.curve.duration_seconds
    for number, phase in enumerate(view.curve.phases):
        if number % 2:
            axes.axvspan(phase.start_seconds, phase.end_seconds, color=_MUTED, alpha=0.09, lw=0)
        share = (phase.end_seconds - phase.start_seconds) / duration
        if share > _LETTER_SHARE * len(phase.name):
            middle = (phase.start_seconds + phase.end_seconds) / 2
            axes.annotate(
                phase.name,
                (middle / duration, 1.0),
                xycoords="axes fraction",
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                color=_MUTED,
                fontsize=9,
            )
