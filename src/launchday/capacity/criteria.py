"""What an objective asks of a level, each as how far it is missed: 0 is the limit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from launchday.capacity.blocks import (
    Bounds,
    error_share,
    mean_latency,
    share_over,
    shed_share,
)
from launchday.capacity.load_levels import Level
from launchday.capacity.steps import Batch, Objective

LATENCY, SHED, ERRORS = "latency", "shed", "errors"

BORROWED_WITHIN = 0.04
"""How far above a level others say something about it: what a rate's own noise is, and headroom."""

_LEAST_SHARE = 1e-9


@dataclass(frozen=True)
class Excess:
    """By how much one level misses one criterion: above 0 it does.

    Of a latency it is the logarithm of latency by objective, and for its bounds of the share over
    the objective by the share allowed; of a share it is the share less its limit.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """One criterion over all levels, rising."""

    criterion: str
    excesses: tuple[Excess, ...]


def latency_curve(levels: Sequence[Level], objective: Objective) -> Curve:
    """How far the latency of admitted requests misses the objective, level by level.

    Load only adds latency, so levels up to 4 % above a level give an upper bound of it too, and
    those below a lower one. Both bounds, its own and the borrowed, must hold: a queue near its
    limit is often quiet for a minute, and its own bound then is too good (M/M/20, p99, 60 s: 48 %
    of recommendations above the truth without what is borrowed, 7 % with it).
    """
    found = []
    for level in levels:
        own = _latency_excess(level, level.blocks, objective)
        above = [block for one in levels if _near(level, one) for block in one.blocks]
        below = [block for one in levels if _near(one, level) for block in one.blocks]
        found.append(
            Excess(
                own.value,
                min(own.low, _latency_excess(level, below, objective).low),
                max(own.high, _latency_excess(level, above, objective).high),
            )
        )
    return Curve(LATENCY, tuple(found))


def _near(level: Level, other: Level) -> bool:
    return level.axis <= other.axis <= level.axis * (1 + BORROWED_WITHIN)


def _latency_excess(level: Level, blocks: Sequence[Batch], objective: Objective) -> Excess:
    value = _log(latency_of(level, objective.quantile) / objective.seconds)
    if not level.blocks:
        low, high = _others_bounds(level, objective)
        return Excess(value, _log(low / objective.seconds), _log(high / objective.seconds))
    if objective.quantile is None:
        bounds, limit = mean_latency(blocks), objective.seconds
    else:
        bounds, limit = share_over(blocks, objective.seconds), 1 - objective.quantile
    return Excess(value, _log(bounds.low / limit), _log(bounds.high / limit))


def latency_of(level: Level, quantile: float | None) -> float:
    """The latency of a level in seconds; inf if nothing was admitted.

    Steps without batches count by the figure that they came with.
    """
    if quantile is not None and level.latency.total:
        return level.latency.quantile(quantile) or math.inf
    given = [s.mean_seconds if quantile is None else s.latency_seconds for s in level.steps]
    known = [seconds for seconds in given if seconds is not None]
    return fmean(known) if known else math.inf


def _others_bounds(level: Level, objective: Objective) -> tuple[float, float]:
    value = latency_of(level, objective.quantile)
    if objective.quantile is None:
        return value, value
    lows = [step.low_seconds for step in level.steps if step.low_seconds is not None]
    highs = [step.high_seconds for step in level.steps if step.high_seconds is not None]
    return min(lows, default=value), max(highs, default=value)


def objective_name(objective: Objective) -> str:
    """What of the latency is held to the objective: "p99", "mean"."""
    if objective.quantile is None:
        return "mean latency"
    return f"p{round(100 * objective.quantile, 6):g}"


def share_curve(levels: Sequence[Level], criterion: str, limit: float) -> Curve:
    """How far the share that is shed, or that fails, is above its limit, level by level.

    What is shed only grows with the load: an upper bound of a higher level holds for a lower one,
    a lower bound of a lower level for a higher one. At a limit of 0 what was seen decides, since
    no number of requests bounds a share by 0.
    """
    found = [_share_bounds(level, criterion, limit) for level in levels]
    highs = list(itertools.accumulate((one.high for one in reversed(found)), min))[::-1]
    lows = list(itertools.accumulate((one.low for one in found), max))
    return Curve(
        criterion,
        tuple(
            Excess(one.value - limit, low - limit, max(one.value, high) - limit)
            for one, low, high in zip(found, lows, highs, strict=True)
        ),
    )


def _share_bounds(level: Level, criterion: str, limit: float) -> Bounds:
    shed = criterion == SHED
    if not level.blocks:
        given = fmean(step.shed_share if shed else step.error_share for step in level.steps)
        return Bounds(given, given, given)
    bounds = shed_share(level.blocks) if shed else error_share(level.blocks)
    return bounds if limit > 0 else Bounds(bounds.value, bounds.low, bounds.value)


def _log(ratio: float) -> float:
    return math.log(max(ratio, _LEAST_SHARE))
