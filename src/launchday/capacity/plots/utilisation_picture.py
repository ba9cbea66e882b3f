"""How busy each resource of the target is, by rate, to 100 %."""

from __future__ import annotations

import math

from launchday.capacity.answer import Plan
from launchday.capacity.plots.picture import (
    Dash,
    Dots,
    Ink,
    Line,
    Mark,
    Picture,
    Rule,
    finite,
    nothing,
)
from launchday.capacity.plots.scale import linear
from launchday.capacity.results import Bottleneck, Demand
from launchday.capacity.steps import Step
from launchday.capacity.wording import number

LOOKS = (
    (Ink.BLUE, Dash.SOLID, Mark.DOT),
    (Ink.ORANGE, Dash.DASHED, Mark.DIAMOND),
    (Ink.GREEN, Dash.DOTTED, Mark.RING),
    (Ink.PURPLE, Dash.SOLID, Mark.CROSS),
    (Ink.SKY, Dash.DASHED, Mark.DOT),
    (Ink.RED, Dash.DOTTED, Mark.DIAMOND),
)
"""A colour, a line and a shape each: told apart without the colour."""


def utilisation_picture(plan: Plan) -> Picture:
    """U v rps: measured, and the line of each resource, background work too, up to 100 %."""
    title = "Utilisation by rate"
    steps = [step for step in plan.measured.steps if step.utilisation]
    names = sorted({name for step in steps for name in step.utilisation})
    if not names:
        return nothing("utilisation", title, "No resource of the target was measured.")
    demands = (
        {demand.resource: demand for demand in plan.bottleneck.demands} if plan.bottleneck else {}
    )
    names.sort(key=lambda name: (_saturates(demands.get(name)), name))
    shown = names[: len(LOOKS)]
    most = max(step.throughput_rps for step in steps)
    end = max([most, *(_end(demands.get(name), most) for name in shown)])
    return Picture(
        "utilisation",
        title,
        _facts(plan.bottleneck, len(names) - len(shown)),
        linear("answered per second", [end]),
        linear("utilisation of one unit", [0.0, 1.0], percent=True),
        rules=_limits(plan.limiting, end),
        lines=tuple(
            _law(demands[name], end, ink, dash)
            for name, (ink, dash, _) in zip(shown, LOOKS, strict=False)
            if name in demands
        ),
        dots=tuple(
            _dots(steps, name, ink, mark)
            for name, (ink, _, mark) in zip(shown, LOOKS, strict=False)
        ),
    )


def _saturates(demand: Demand | None) -> float:
    return demand.saturates_rps.value if demand else math.inf


def _end(demand: Demand | None, most: float) -> float:
    """A little beyond where a resource gives out, if that is near what was tested."""
    at = _saturates(demand) * 1.05
    return at if at <= most * 2 else most


def _law(demand: Demand, end: float, ink: Ink, dash: Dash) -> Line:
    full = min(end, demand.saturates_rps.value)
    name = f"{demand.resource}: {number(demand.seconds.value * 1000)} ms a request"
    ends = ((0.0, demand.utilisation_at(0.0)), (full, demand.utilisation_at(full)))
    return Line(ends, ink, name, dash)


def _dots(steps: list[Step], name: str, ink: Ink, mark: Mark) -> Dots:
    some = [step for step in steps if name in step.utilisation]
    places = finite(tuple((step.throughput_rps, step.utilisation[name]) for step in some))
    return Dots(
        tuple((x, min(max(u, 0.0), 1.0)) for x, u in places), ink, f"{name}, measured", mark
    )


def _limits(demand: Demand | None, end: float) -> tuple[Rule, ...]:
    at = _saturates(demand)
    if demand is None or not at <= end:
        return ()
    return (Rule(at, f"{demand.resource} full: {number(at)} rps", Ink.PURPLE, upright=True),)


def _facts(bottleneck: Bottleneck | None, hidden: int) -> str:
    words = bottleneck.sentence if bottleneck else "No bottleneck was named."
    more = f" {hidden} less busy resources are not drawn." if hidden > 0 else ""
    return f"{words}{more}"
