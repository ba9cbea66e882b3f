"""Throughput over what is in flight, with the fitted model; and how far the model is off."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from launchday.capacity.answer import Plan
from launchday.capacity.extrapolation import BANNER_TO, PLAIN_TO
from launchday.capacity.plots.picture import (
    Band,
    Dash,
    Dots,
    Ink,
    Line,
    Mark,
    Picture,
    Points,
    Rule,
    Shade,
    finite,
    nothing,
)
from launchday.capacity.plots.scale import linear
from launchday.capacity.results import UslFit
from launchday.capacity.steps import Step
from launchday.capacity.usl import Usl
from launchday.capacity.wording import number, percent, plural

Place = Callable[[Step], tuple[float, float]]

_CURVE_POINTS = 120


def scalability_picture(plan: Plan) -> Picture:
    """X v N: measured, fitted, its 95 % band, and where the model ends."""
    title = "Throughput by requests in flight"
    steps = [step for step in plan.measured.steps if step.concurrency > 0]
    if not steps:
        return nothing("scalability", title, "No step says how much was in flight.")
    fit = plan.usl
    most = max(n for n, _ in fit.points) if fit else max(step.concurrency for step in steps)
    end = most * BANNER_TO if fit else most
    curve = tuple((n, predicted(fit, n)) for n in _spread(end)) if fit else ()
    bands = _bands(fit, end) if fit else ()
    heights = [step.throughput_rps for step in steps] + [x for _, x in curve]
    heights += [high for band in bands for _, _, high in band.edges]
    return Picture(
        "scalability",
        title,
        _facts(plan, len(steps), most),
        linear("requests in flight", [end, *(step.concurrency for step in steps)]),
        linear("answered per second", heights),
        shades=_shades(most) if fit else (),
        bands=bands,
        rules=_peak(fit, end) if fit else (),
        lines=_parts(curve, most),
        dots=step_dots(steps, lambda step: (step.concurrency, step.throughput_rps)),
    )


def residuals_picture(plan: Plan) -> Picture:
    """What the model is off by, as a share of what it says, over what was in flight."""
    title = "Residuals of the model"
    fit = plan.usl
    if fit is None:
        why = plan.usl_missing or "no model was fitted"
        return nothing("residuals", title, f"No residuals: {why}.")
    fitted, held_out = (
        finite(tuple((n, _off(fit, n, x)) for n, x in points))
        for points in (fit.points, _held_out(plan))
    )
    shares = [share for _, share in (*fitted, *held_out)]
    if not fitted:
        return nothing("residuals", title, "The model says nothing at any of the points.")
    ends = [n for n, _ in (*fitted, *held_out)]
    dots = [Dots(fitted, Ink.BLUE, "fitted to this step")]
    if held_out:
        dots.append(Dots(held_out, Ink.ORANGE, "kept out of the fit", Mark.DIAMOND))
    worst = max(abs(share) for _, share in fitted)
    return Picture(
        "residuals",
        title,
        f"The model is off by at most {percent(worst)} at the steps that it was fitted to.",
        linear("requests in flight", ends),
        linear("measured, above or below the model", [*shares, 0.01, -0.01], percent=True),
        lines=(Line(((0.0, 0.0), (max(ends), 0.0)), Ink.MUTED),),
        dots=tuple(dots),
    )


def predicted(fit: UslFit, in_flight: float) -> float:
    """What the model says is answered per second with so much in flight."""
    return Usl(fit.alpha.value, fit.beta.value, fit.gamma.value).throughput(in_flight)


def step_dots(steps: Sequence[Step], place: Place) -> tuple[Dots, ...]:
    """Steps as points: steady, unsteady and kept out of the fit, each with its own shape."""
    kinds = (
        ("steady step", Ink.BLUE, Mark.DOT, [s for s in steps if s.steady and not s.held_out]),
        ("not steady: shown, not used", Ink.MUTED, Mark.RING, [s for s in steps if not s.steady]),
        (
            "kept out of the fit",
            Ink.ORANGE,
            Mark.DIAMOND,
            [s for s in steps if s.steady and s.held_out],
        ),
    )
    return tuple(
        Dots(tuple(place(s) for s in kept), ink, name, mark, titles=tuple(map(title_of, kept)))
        for name, ink, mark, some in kinds
        if (kept := [s for s in some if all(map(math.isfinite, place(s)))])
    )


def title_of(step: Step) -> str:
    """What a reader sees who points at a step."""
    words = f"{number(step.offered_rps)} rps offered, {number(step.throughput_rps)} answered"
    reasons = f"; not steady: {'; '.join(step.unsteady)}" if step.unsteady else ""
    return f"{step.source}: {words}{reasons}"


def _off(fit: UslFit, in_flight: float, measured: float) -> float:
    model = predicted(fit, in_flight)
    return (measured - model) / model if model > 0 else math.nan


def _held_out(plan: Plan) -> Points:
    steps = [step for step in plan.measured.steps if step.held_out and step.steady]
    return tuple((step.concurrency, step.throughput_rps) for step in steps if step.concurrency > 0)


def _spread(end: float) -> list[float]:
    return [end * k / _CURVE_POINTS for k in range(_CURVE_POINTS + 1)]


def _parts(curve: Points, most: float) -> tuple[Line, ...]:
    """The curve where it was tested, where it is believed, and where it is only shown."""
    if not curve:
        return ()
    ends = (0.0, most, most * PLAIN_TO, most * BANNER_TO)
    styles = (
        ("fitted (USL)", Dash.SOLID),
        ("beyond the tested loads", Dash.DASHED),
        ("", Dash.DOTTED),
    )
    step = curve[1][0]
    return tuple(
        Line(tuple(p for p in curve if low - step <= p[0] <= high + 1e-9), Ink.BLUE, name, dash)
        for (name, dash), low, high in zip(styles, ends, ends[1:], strict=False)
    )


def _bands(fit: UslFit, end: float) -> tuple[Band, ...]:
    edges = tuple(
        (n, max(low, 0.0), high)
        for n, low, high in fit.band
        if n <= end and math.isfinite(low) and math.isfinite(high)
    )
    return (Band(edges, Ink.BLUE, "95 % band of the fit"),) if len(edges) > 1 else ()


def _shades(most: float) -> tuple[Shade, ...]:
    return (
        Shade(most, most * PLAIN_TO, Ink.MUTED, f"not tested, up to {PLAIN_TO:g} times"),
        Shade(most * PLAIN_TO, most * BANNER_TO, Ink.ORANGE, "not valid: shown as a warning only"),
    )


def _peak(fit: UslFit, end: float) -> tuple[Rule, ...]:
    peak = fit.peak_concurrency.value
    if not (math.isfinite(peak) and peak <= end) or fit.refused:
        return ()
    return (Rule(peak, f"peak of the fit: {number(peak)}", Ink.PURPLE, upright=True),)


def _facts(plan: Plan, steps: int, most: float) -> str:
    words = f"{plural(steps, 'step')}, used up to {number(most)} requests in flight"
    if plan.usl is None:
        return f"{words}; no model: {plan.usl_missing or 'none was fitted'}."
    if plan.usl.refused:
        return f"{words}; the model is not to be used: {plan.usl.refused}."
    return f"{words}; the model explains {percent(plan.usl.r_squared)} of the differences."
