"""How many replicas a forecast needs, whatever it will be."""

from __future__ import annotations

import math

from launchday.capacity.answer import Plan
from launchday.capacity.extrapolation import BANNER_TO
from launchday.capacity.forecast import Forecast
from launchday.capacity.plots.picture import (
    Dash,
    Ink,
    Line,
    Picture,
    Points,
    Rule,
    Shade,
    nothing,
)
from launchday.capacity.plots.scale import linear
from launchday.capacity.replicas import replicas_for, usable_rps
from launchday.capacity.results import Replicas
from launchday.capacity.wording import number, plural

_MOST_STAIRS = 300


def replicas_picture(plan: Plan) -> Picture:
    """Replicas v forecast: those that carry it, one spare, and across zones."""
    title = "Replicas by forecast"
    if plan.refused or plan.per_replica is None:
        return nothing("replicas", title, "No rate was proved, so no replicas can be counted.")
    request = plan.request
    each = usable_rps(plan.per_replica) * request.utilisation / request.amplification
    asked = plan.replicas.forecast_rps if plan.replicas else each * 5
    end = max(asked * 1.3, each * 3)
    stairs = _stairs(each, end)
    answers = [(rps, _answer(plan, rps)) for rps in stairs]
    spare = tuple((rps, float(answer.with_spare)) for rps, answer in answers)
    lines = [
        Line(_steps(tuple((rps, float(a.replicas)) for rps, a in answers)), Ink.BLUE, "needed"),
        Line(_steps(spare), Ink.GREEN, "with one spare", Dash.DASHED),
    ]
    if request.zones > 1:
        across = tuple((rps, float(a.across_zones)) for rps, a in answers)
        name = f"to lose one of {request.zones} zones"
        lines.append(Line(_steps(across), Ink.ORANGE, name, Dash.DOTTED))
    now = request.replicas_now
    heights = [y for line in lines for _, y in line.points] + [float(now or 0)]
    return Picture(
        "replicas",
        title,
        _facts(plan.replicas),
        linear("forecast, requests per second", [end]),
        linear("replicas", heights),
        shades=_shades(plan, end),
        rules=_rules(plan),
        lines=tuple(lines),
    )


def _stairs(each: float, end: float) -> list[float]:
    """Rates at which one more replica is needed; of very many, some."""
    count = math.ceil(end / each)
    width = math.ceil(count / _MOST_STAIRS)
    return [min(each * k, end) for k in range(width, count + width, width)]


def _steps(points: Points) -> Points:
    """A staircase: each height holds up to its rate."""
    low = 0.0
    stairs = []
    for rps, replicas in points:
        stairs += [(low, replicas), (rps, replicas)]
        low = rps
    return tuple(stairs)


def _answer(plan: Plan, rps: float) -> Replicas:
    assert plan.per_replica is not None
    return replicas_for(
        Forecast(rps),
        plan.per_replica,
        zones=plan.request.zones,
        utilisation=plan.request.utilisation,
        attempts=plan.request.amplification,
    )


def _shades(plan: Plan, end: float) -> tuple[Shade, ...]:
    shades = []
    if 0 < (beyond := plan.carried_rps * BANNER_TO) < end:
        name = "beyond twice what was carried: not measured how replicas add up"
        shades.append(Shade(beyond, end, Ink.ORANGE, name))
    forecast = plan.request.forecast
    if forecast is not None and forecast.plus_minus_rps > 0:
        high = min(forecast.high_rps, end)
        shades.append(Shade(forecast.low_rps, high, Ink.PURPLE, "the forecast, 95 %"))
    return tuple(shades)


def _rules(plan: Plan) -> tuple[Rule, ...]:
    rules = []
    if (forecast := plan.request.forecast) is not None:
        words = f"forecast: {number(forecast.rps)}"
        rules.append(Rule(forecast.rps, words, Ink.PURPLE, upright=True))
    if (now := plan.request.replicas_now) is not None:
        rules.append(Rule(float(now), f"today: {now:,}", Ink.RED, dash=Dash.SOLID))
    return tuple(rules)


def _facts(replicas: Replicas | None) -> str:
    if replicas is None:
        return "No forecast was given: read off what any of them would need."
    words = f"{number(replicas.forecast_rps)} rps need {plural(replicas.replicas, 'replica')}"
    if replicas.zones > 1:
        return f"{words}, {replicas.across_zones:,} across {replicas.zones} zones to lose one."
    return f"{words}, {replicas.with_spare:,} with one spare."
