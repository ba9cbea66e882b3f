"""Loads that grow until something gives: what a capacity is measured with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random
from typing import Annotated

from launchday.load.curves.course import Leg, course, hold, ramp
from launchday.load.curves.definition import (
    CurveDefinition,
    above,
    at_least,
    choice_of,
    count_of,
    lasting,
    named_curve,
    perhaps,
)
from launchday.rate_curve import RateCurve

BREAKPOINTS: dict[str, CurveDefinition] = {}


@named_curve(
    BREAKPOINTS,
    "breakpoint",
    "steps until something gives",
    "assumption: each step lasts long enough to settle; the highest is the phase `peak`",
)
def breakpoint_steps(
    *,
    from_rps: Annotated[float, above(0, "arrivals in the lowest step")] = 120.0,
    to_rps: Annotated[float, above(0, "arrivals in the highest: 1.3 times where it gives")] = 500.0,
    steps: Annotated[int, count_of(2, 100, "with the lowest and the highest")] = 8,
    step_seconds: Annotated[float, lasting("of each step; 25 s or more prove a rate")] = 28.0,
    rise_seconds: Annotated[float, perhaps("from one step to the next")] = 1.0,
    form: Annotated[str, choice_of("steps", "ramp", meaning="or one line, as long as they")] = (
        "steps"
    ),
    spacing: Annotated[str, choice_of("log", "equal", meaning="equal factors or distances")] = (
        "log"
    ),
    order: Annotated[
        str, choice_of("up", "random", "up_and_down", meaning="in which the steps come")
    ] = "up",
    order_seed: Annotated[
        int, count_of(0, 2**31 - 1, "of order=random; 0: in a scenario, that of the run")
    ] = 0,
    edge_rps: Annotated[float, at_least(0, "arrivals in steps that are repeated; 0: none")] = 0.0,
    replicates: Annotated[int, count_of(1, 100, "at edge_rps, each after a rest")] = 5,
    rest_seconds: Annotated[float, lasting("at the lowest rate before each of them")] = 5.0,
) -> RateCurve:
    """A staircase to find the capacity: phases `step_1`, `step_2` ... and `peak`, the highest.

    Rates go up by equal factors (`log`: as many steps below the knee as it takes to see it) or by
    equal distances. `random` shuffles all but the lowest, which comes first and warms the target
    up; `up_and_down` comes back by the same steps, which shows whether it recovers. The phases
    `edge_1`, `edge_2` ... are `replicates` of one rate, apart from each other: what an interval
    is made of. They come last, or anywhere if the order is random.

    Raises:
        ValueError: a parameter is outside its limits; `to_rps` is not above `from_rps`, `edge_rps`
            not between them; or `form=ramp` with what belongs to steps.
    """
    if to_rps <= from_rps:
        raise ValueError(f"to_rps must be above from_rps ({from_rps:g}), got {to_rps:g}")
    if edge_rps and not from_rps <= edge_rps <= to_rps:
        raise ValueError(
            f"edge_rps must be between from_rps and to_rps ({from_rps:g} and {to_rps:g}), "
            f"got {edge_rps:g}"
        )
    if form == "ramp":
        if order != "up" or edge_rps:
            raise ValueError("form must be steps with another order than up, or with edge_rps")
        line = ramp("ramp", from_rps, to_rps, steps * step_seconds)
        return course(line, hold("peak", to_rps, step_seconds))
    rates = _rates(from_rps, to_rps, steps, spacing)
    edges = [edge_rps] * (replicates if edge_rps else 0)
    plan = _ordered(rates, edges, order, order_seed)
    return course(*_legs(plan, to_rps, from_rps, (step_seconds, rise_seconds, rest_seconds)))


def _rates(from_rps: float, to_rps: float, steps: int, spacing: str) -> list[float]:
    shares = [k / (steps - 1) for k in range(steps)]
    if spacing == "equal":
        return [from_rps + (to_rps - from_rps) * share for share in shares]
    inner = [from_rps * (to_rps / from_rps) ** share for share in shares[1:-1]]
    return [from_rps, *inner, to_rps]


def _ordered(
    rates: list[float], edges: list[float], order: str, seed: int
) -> list[tuple[float, bool]]:
    """Rates in the order in which they come, and whether each is one of the replicates."""
    climb = [(rate, False) for rate in rates]
    again = [(rate, True) for rate in edges]
    if order == "up_and_down":
        return [*climb, *climb[-2::-1], *again]
    if order == "random":
        rest = [*climb[1:], *again]
        Random(seed).shuffle(rest)
        return [climb[0], *rest]
    return [*climb, *again]


def _legs(
    plan: list[tuple[float, bool]],
    peak_rps: float,
    rest_rps: float,
    lengths: tuple[float, float, float],
) -> Iterator[Leg]:
    step_seconds, rise_seconds, rest_seconds = lengths
    before, numbers, peaks = math.nan, {"step": 0, "edge": 0}, 0
    for place, (rate, repeated) in enumerate(plan, 1):
        if repeated:
            yield ramp(f"fall_{place}", before, rest_rps, rise_seconds)
            yield hold(f"rest_{place}", rest_rps, rest_seconds)
            before = rest_rps
        if place > 1:
            yield ramp(f"rise_{place}", before, rate, rise_seconds)
        kind = "edge" if repeated else "step"
        numbers[kind] += 1
        is_peak = not repeated and rate == peak_rps and not peaks
        peaks += is_peak
        yield hold("peak" if is_peak else f"{kind}_{numbers[kind]}", rate, step_seconds)
        before = rate


@named_curve(
    BREAKPOINTS,
    "breakpoint_ramp",
    "a slow ramp until something gives",
    "assumption: slow enough that a queue shows: 120 s from a tenth to all",
)
def breakpoint_ramp(
    *,
    from_rps: Annotated[float, above(0, "arrivals at the start")] = 80.0,
    to_rps: Annotated[float, above(0, "arrivals at the end")] = 800.0,
    quiet_seconds: Annotated[float, perhaps("before the ramp")] = 10.0,
    ramp_seconds: Annotated[float, lasting("of the ramp")] = 120.0,
    peak_seconds: Annotated[float, perhaps("at the end rate")] = 10.0,
) -> RateCurve:
    """A straight line, held at its end."""
    return course(
        hold("quiet", from_rps, quiet_seconds),
        ramp("ramp", from_rps, to_rps, ramp_seconds),
        hold("peak", to_rps, peak_seconds),
    )
