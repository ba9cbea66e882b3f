"""The rate that an objective allows: where it is crossed, and the highest load that is proved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from launchday.capacity.criteria import (
    ERRORS,
    LATENCY,
    SHED,
    Curve,
    latency_curve,
    latency_of,
    objective_name,
    share_curve,
)
from launchday.capacity.crossings import Crossed, crossed
from launchday.capacity.load_levels import Level, distinct_loads, levels_of
from launchday.capacity.proof import Proof, prove
from launchday.capacity.results import Estimate, Found
from launchday.capacity.rungs import estimate_of, ladder
from launchday.capacity.steps import Objective, Step
from launchday.capacity.wording import milliseconds

FEWEST_LOADS = 6


def find(steps: Sequence[Step], objective: Objective) -> Found:
    """The rate that `objective` allows, and the highest load that is proved to meet it.

    The point estimate is where the isotonic curve of a criterion (log latency, share shed, share
    failed) crosses its limit; the first criterion to be missed binds. The interval is where the
    isotonic curves of its bounds cross it. What is recommended is the highest steady level of which
    the upper bound of every criterion is within its limit, below every level that surely misses.

    Held-out steps and unsteady ones are left out, but for unsteady ones that miss the objective
    above all that meet it: an overloaded step is never steady, and says where the edge is. Fewer
    than six distinct loads are refused, as are objectives never met and always met (the capacity is
    then "at least").
    """
    levels = levels_of(_usable(steps, objective))
    loads = distinct_loads(levels)
    if loads < FEWEST_LOADS:
        return _too_few(levels, loads)
    curves = curves_of(levels, objective)
    missed = [found for curve in curves if (found := crossed(levels, curve))]
    proof = prove(levels, curves, objective)
    if not missed:
        return _found(levels, objective, None, proof, "", _always_met(levels, proof))
    first = min(missed, key=lambda one: one.rps)
    if first.rps == -math.inf:
        reason = f"never met: {_missed_at(levels[0], first.criterion, objective)} already"
        none = Proof(None, "", reason)
        return _found(levels, objective, None, none, first.criterion, reason)
    edge = _first_of(missed, first, len(levels), objective)
    return _found(levels, objective, edge, proof, first.criterion, None)


def curves_of(levels: Sequence[Level], objective: Objective) -> tuple[Curve, ...]:
    """Every criterion of the objective over all levels; latency first."""
    return (
        latency_curve(levels, objective),
        share_curve(levels, SHED, objective.most_shed_share),
        share_curve(levels, ERRORS, objective.most_error_share),
    )


def _found(
    levels: Sequence[Level],
    objective: Objective,
    edge: Estimate | None,
    proof: Proof,
    binding: str,
    refused: str | None,
) -> Found:
    return Found(
        crossing=edge,
        proved=proof.rate,
        proved_source=proof.source,
        binding=binding,
        ladder=ladder(levels, objective),
        tested_low_rps=min(level.rps for level in levels),
        tested_high_rps=max(level.rps for level in levels),
        refused=refused,
        why_not_proved=proof.why_not,
    )


def _too_few(levels: Sequence[Level], loads: int) -> Found:
    reason = (
        f"{loads} distinct loads can be used (within 3 % counts as one), "
        f"at least {FEWEST_LOADS} are needed"
    )
    low = min((level.rps for level in levels), default=0.0)
    high = max((level.rps for level in levels), default=0.0)
    return Found(None, None, "", "", (), low, high, reason, reason)


def _usable(steps: Sequence[Step], objective: Objective) -> list[Step]:
    """A step whose latency is unknown says nothing, unless it let nobody in."""
    known = [
        step
        for step in steps
        if not step.held_out and (_seconds(step, objective) is not None or step.shed_share >= 1)
    ]
    met = [step.offered_rps for step in known if step.steady and _meets(step, objective)]
    highest = max(met, default=0.0)
    return [
        step
        for step in known
        if step.steady or (step.offered_rps > highest and not _meets(step, objective))
    ]


def _meets(step: Step, objective: Objective) -> bool:
    """By its figures, without any allowance for chance."""
    seconds = _seconds(step, objective)
    return (
        seconds is not None
        and seconds <= objective.seconds
        and step.shed_share <= objective.most_shed_share
        and step.error_share <= objective.most_error_share
    )


def _seconds(step: Step, objective: Objective) -> float | None:
    return step.mean_seconds if objective.quantile is None else step.latency_seconds


def _first_of(
    missed: Sequence[Crossed], first: Crossed, loads: int, objective: Objective
) -> Estimate:
    """The binding crossing; its interval is that of whichever criterion is missed first."""
    latency = first.criterion == LATENCY
    what = f"log {objective_name(objective)}" if latency else f"the share of {first.criterion}"
    method = (
        f"crossing of an isotonic regression of {what} over {loads} loads; interval: crossings "
        "of its one-sided 95 % bounds over blocks of the steps"
    )
    low = min(one.low_rps for one in missed)
    high = min(one.high_rps for one in missed)
    return estimate_of(Crossed(first.criterion, first.rps, low, high), loads, method)


def _always_met(levels: Sequence[Level], proof: Proof) -> str:
    highest = max(level.rps for level in levels)
    words = f"always met: nothing was missed up to {highest:.1f} rps, the highest load used"
    if proof.rate is None:
        return f"{words}, but {proof.why_not}"
    return f"{words}; the capacity is at least {proof.rate.value:.1f} rps"


def _missed_at(level: Level, criterion: str, objective: Objective) -> str:
    at = f"at {level.rps:.1f} rps"
    if criterion == LATENCY:
        seconds = latency_of(level, objective.quantile)
        limit = f"at most {milliseconds(objective.seconds)}"
        return f"{objective_name(objective)} is {milliseconds(seconds)} {at} ({limit})"
    if criterion == SHED:
        share = fmean(step.shed_share for step in level.steps)
        return f"{share:.2%} were shed {at} (at most {objective.most_shed_share:.2%})"
    share = fmean(step.error_share for step in level.steps)
    return f"{share:.2%} failed {at} (at most {objective.most_error_share:.2%})"
