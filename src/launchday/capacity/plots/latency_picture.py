"""Latency over rate, with the ladder of objectives and what is missed first."""

from __future__ import annotations

import math
from dataclasses import replace

from launchday.capacity.answer import Plan
from launchday.capacity.plots.model_pictures import step_dots, title_of
from launchday.capacity.plots.picture import (
    Dash,
    Dots,
    Ink,
    Line,
    Mark,
    Picture,
    Points,
    Rule,
    nothing,
)
from launchday.capacity.plots.scale import linear, logarithmic
from launchday.capacity.results import Found
from launchday.capacity.steps import Objective, Step
from launchday.capacity.wording import limit, measure, milliseconds, number, percent

_MILLI = 1000.0


def latency_picture(plan: Plan) -> Picture:
    """The objective's quantile v rps: every step, the objective, its ladder, what binds."""
    objective = plan.request.objective
    title = f"{measure(objective)} by rate"
    title = _sentence(title) if objective.quantile is None else title
    steps = [_judged(step, objective) for step in plan.measured.steps]
    steps = [step for step in steps if step.latency_seconds]
    if not steps:
        return nothing("latency", title, "No latency was measured.")
    heights = [height for step in steps for height in _heights(step)]
    rungs = [rung.seconds for rung in plan.found.ladder if rung.rps] if plan.found else []
    heights += [seconds * _MILLI for seconds in (objective.seconds, *rungs)]
    return Picture(
        "latency",
        title,
        _sentence(_facts(plan.found, objective)),
        linear("offered requests per second", [step.offered_rps for step in steps]),
        logarithmic(f"{measure(objective)} in ms", heights),
        rules=_rules(plan.found, objective),
        lines=_through(steps),
        dots=(*_dots(steps, objective), *_crossings(plan.found, objective)),
    )


def missed(step: Step, objective: Objective) -> str:
    """Which criterion a step misses besides latency: shed, errors, or none."""
    if step.shed_share > objective.most_shed_share:
        return "shed"
    return "errors" if step.error_share > objective.most_error_share else ""


def _judged(step: Step, objective: Objective) -> Step:
    """The step with the latency that the objective looks at."""
    if objective.quantile is not None:
        return step
    return replace(step, latency_seconds=step.mean_seconds, low_seconds=None, high_seconds=None)


def _heights(step: Step) -> list[float]:
    ends = (step.latency_seconds, step.low_seconds, step.high_seconds)
    return [end * _MILLI for end in ends if end and math.isfinite(end)]


def _place(step: Step) -> tuple[float, float]:
    return step.offered_rps, (step.latency_seconds or math.nan) * _MILLI


def _through(steps: list[Step]) -> tuple[Line, ...]:
    """A thin line through the steady steps, the mean of those at one rate."""
    by_rate: dict[float, list[float]] = {}
    for step in steps:
        if step.steady and step.latency_seconds:
            by_rate.setdefault(step.offered_rps, []).append(math.log(step.latency_seconds))
    points = tuple(
        (rps, math.exp(math.fsum(logs) / len(logs)) * _MILLI)
        for rps, logs in sorted(by_rate.items())
    )
    return (Line(points, Ink.BLUE),) if len(points) > 1 else ()


def _dots(steps: list[Step], objective: Objective) -> tuple[Dots, ...]:
    within = [step for step in steps if not missed(step, objective)]
    dots = list(step_dots(within, _place))
    for criterion, most in (
        ("shed", objective.most_shed_share),
        ("errors", objective.most_error_share),
    ):
        some = [step for step in steps if missed(step, objective) == criterion]
        if some:
            name = f"{criterion} above {percent(most)}"
            places = tuple(_place(step) for step in some)
            titles = tuple(title_of(step) for step in some)
            dots.append(Dots(places, Ink.RED, name, Mark.CROSS, titles=titles))
    return (*dots, *_bars(steps))


def _bars(steps: list[Step]) -> tuple[Dots, ...]:
    bars = tuple(
        (step.offered_rps, step.low_seconds * _MILLI, step.high_seconds * _MILLI)
        for step in steps
        if step.steady and step.low_seconds and step.high_seconds
    )
    return (Dots((), Ink.BLUE, "", bars=bars),) if bars else ()


def _rules(found: Found | None, objective: Objective) -> tuple[Rule, ...]:
    at = objective.seconds * _MILLI
    rules = [Rule(at, milliseconds(objective.seconds), Ink.PURPLE, dash=Dash.SOLID)]
    for rung in found.ladder if found else ():
        if rung.rps and not math.isclose(rung.seconds, objective.seconds):
            words = milliseconds(rung.seconds)
            rules.append(Rule(rung.seconds * _MILLI, words, Ink.MUTED, dash=Dash.DOTTED))
    if found and found.crossing:
        words = f"{number(found.crossing.value)} rps: {binding_words(found.binding)}"
        rules.append(Rule(found.crossing.value, words, Ink.PURPLE, upright=True))
    if found and found.proved:
        words = f"proved: {number(found.proved.value)}"
        rules.append(Rule(found.proved.value, words, Ink.GREEN, upright=True, dash=Dash.SOLID))
    return tuple(rules)


def binding_words(binding: str) -> str:
    """What is missed first, in words."""
    words = {
        "latency": "latency is missed",
        "shed": "shed is missed",
        "errors": "errors are missed",
    }
    return words.get(binding, "nothing is missed")


def _crossings(found: Found | None, objective: Objective) -> tuple[Dots, ...]:
    rungs = [rung for rung in found.ladder if rung.rps] if found else []
    places: Points = tuple(
        (rung.rps.value, rung.seconds * _MILLI) for rung in rungs if rung.rps is not None
    )
    words = tuple(rung.words for rung in rungs)
    if not places:
        return ()
    return (Dots(places, Ink.PURPLE, "ladder of objectives", Mark.DIAMOND, titles=words),)


def _sentence(words: str) -> str:
    """With a capital at its head; p99 stays p99."""
    return words if words.startswith("p9") else words[0].upper() + words[1:]


def _facts(found: Found | None, objective: Objective) -> str:
    if found is None:
        return "The objective was not judged."
    if found.crossing is None:
        return f"{limit(objective)}: {found.refused or 'not crossed'}."
    where = f"{number(found.crossing.value)} rps"
    if found.binding in {"shed", "errors"}:
        return f"Above {where} {binding_words(found.binding)} before {limit(objective)} is."
    return f"{limit(objective)} is crossed at {where}."
