"""A plan against runs made after it: what it predicts for their loads, and what they measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from launchday.capacity.answer import Plan
from launchday.capacity.isotonic import rising
from launchday.capacity.results import Validation
from launchday.capacity.steps import Measured, Objective, Step
from launchday.capacity.windows import BETWEEN_STEPS
from launchday.capacity.wording import joined

WITHIN = 0.10
"""A goodput may be off by that much (reference, 5)."""

_DRIVEN_WITHIN = 0.05
_OTHER_SHARE = 0.75
_WITHIN_TESTED = 1.02  # arrivals are Poisson: a load at the edge of what was tested lies beside it


@dataclass(frozen=True)
class Checked:
    """What was compared, and why nothing may be said all the same (empty: it may).

    `not_compared` are the parts of the run that are no measurement.
    """

    validations: tuple[Validation, ...]
    doubts: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()


@dataclass(frozen=True)
class Predicted:
    """What the steps of a plan say of a load: good answers per second and latency in seconds."""

    goodput_rps: float
    latency_seconds: float | None


def recommended_rps(plan: Plan) -> float | None:
    """The proved rate, of the target as tested; None where nothing is recommended."""
    proved = plan.found.proved if plan.found and not plan.refused else None
    return proved.value if proved else None


def rates_to_drive(plan: Plan) -> tuple[float, float]:
    """The recommended rate and another load that the fits did not see, the lower one first.

    The other is the highest step that was held out and lies in the tested range; without one it
    is three quarters of what is recommended.

    Raises:
        ValueError: nothing is recommended.
    """
    recommended = recommended_rps(plan)
    if recommended is None:
        raise ValueError("nothing is recommended")
    steps, objective = plan.measured.steps, plan.request.objective
    kept_out = [
        step.offered_rps
        for step in steps
        if step.held_out
        and abs(step.offered_rps / recommended - 1) > _DRIVEN_WITHIN
        and predict(steps, objective, step.offered_rps)
    ]
    other = max(kept_out, default=_OTHER_SHARE * recommended)
    return min(recommended, other), max(recommended, other)


def predict(steps: Sequence[Step], objective: Objective, offered_rps: float) -> Predicted | None:
    """What is to be expected at a load: between the two steady steps around it.

    Goodput is a straight line between steps; of the logarithm of the latency the isotonic curve
    is. Steps that were held out are not looked at. None: the load is outside what was tested.
    """
    known = sorted(
        (step for step in steps if step.steady and not step.held_out),
        key=lambda step: step.offered_rps,
    )
    if not known or not _inside(offered_rps, [step.offered_rps for step in known]):
        return None
    loads = [step.offered_rps for step in known]
    goodput = float(np.interp(offered_rps, loads, [step.goodput_rps for step in known]))
    if offered_rps > loads[-1]:  # beside the highest step by chance: as good a share of it
        goodput *= offered_rps / loads[-1] if known[-1].shed_share == 0 else 1.0
    return Predicted(goodput, _latency(known, objective, offered_rps))


def _inside(rps: float, loads: Sequence[float]) -> bool:
    return loads[0] / _WITHIN_TESTED <= rps <= loads[-1] * _WITHIN_TESTED


def _latency(known: Sequence[Step], objective: Objective, rps: float) -> float | None:
    pairs = [(s.offered_rps, v) for s in known if (v := latency_of(s, objective))]
    if not pairs:
        return None
    curve = rising([math.log(seconds) for _, seconds in pairs])
    return math.exp(float(np.interp(rps, [load for load, _ in pairs], curve)))


def latency_of(step: Step, objective: Objective) -> float | None:
    """What the objective looks at: a quantile, or the mean."""
    return step.mean_seconds if objective.quantile is None else step.latency_seconds


def check(plan: Plan, measured: Measured) -> Checked:
    """Compare a plan with what was measured after it.

    Each step inside the tested range gives the good answers per second, predicted and measured
    (within 10 %); at or below the recommended rate also the latency, which must meet the
    objective. There are doubts, and the plan stays UNVALIDATED, if the measurement counts for
    nothing, if it is one that the plan was made from or of another target, if no step drove the
    recommended rate, or if a step was no steady state although its numbers are as predicted.
    """
    recommended = recommended_rps(plan)
    if recommended is None:
        return Checked((), ("the plan recommends no rate",))
    if why := measured.invalid or _no_comparison(plan.measured, measured):
        return Checked((), why)
    steps = _by_load(measured.steps)
    driven = [step for step in steps if abs(step.offered_rps / recommended - 1) <= _DRIVEN_WITHIN]
    if not driven:
        return Checked((), (_nobody_drove(recommended, measured),))
    rows: list[Validation] = []
    doubts: list[str] = []
    for step in steps:
        predicted = predict(plan.measured.steps, plan.request.objective, step.offered_rps)
        if predicted is None:
            continue
        of_step = _compare(step, predicted, plan.request.objective, recommended)
        if not step.steady and all(row.within for row in of_step):
            doubts.append(f"{step.source} was no steady state: {'; '.join(step.unsteady)}")
        rows += of_step
    left_out = [part for part in measured.left_out if part.reason != BETWEEN_STEPS]
    return Checked(
        tuple(rows), tuple(doubts), tuple(f"{part.source}: {part.reason}" for part in left_out)
    )


def _no_comparison(planned: Measured, measured: Measured) -> tuple[str, ...]:
    """What the plan knows, or another service does, neither validates nor refutes it."""
    known = {step.source for step in planned.steps}
    if any(step.source in known for step in measured.steps):
        return ("the plan was made from this record: it cannot validate it",)
    of, other = planned.target.rstrip("/"), measured.target.rstrip("/")
    if of != other:
        return (f"the plan is of {of or 'no known target'}, this run of {other}",)
    counts = [sorted({step.replicas for step in each.steps}) for each in (planned, measured)]
    if measured.steps and counts[0] != counts[1]:
        of, other = (joined([str(count) for count in each]) for each in counts)
        return (f"replicas: the plan was measured with {of}, this run with {other}",)
    return ()


def _by_load(steps: Sequence[Step]) -> list[Step]:
    return sorted(steps, key=lambda step: (step.offered_rps, step.source))


def _nobody_drove(recommended: float, measured: Measured) -> str:
    words = f"no step held the recommended {recommended:.4g} rps"
    if measured.steps:
        mean = fmean(step.offered_rps for step in measured.steps)
        return f"{words}: {mean:.4g} rps were offered on average"
    if measured.left_out:
        return f"{words}: {measured.left_out[0].reason}"
    return words


def _compare(
    step: Step, predicted: Predicted, objective: Objective, recommended: float
) -> list[Validation]:
    off = step.goodput_rps / predicted.goodput_rps - 1 if predicted.goodput_rps else math.inf
    rows = [
        Validation(
            "goodput",
            step.offered_rps,
            predicted.goodput_rps,
            step.goodput_rps,
            off,
            abs(off) <= WITHIN,
            step.source,
        )
    ]
    seconds = latency_of(step, objective)
    if step.offered_rps > recommended * (1 + _DRIVEN_WITHIN) or not predicted.latency_seconds:
        return rows
    if seconds is None:  # nobody was let in at a rate that was recommended
        return [_refuted(row) for row in rows]
    name = "mean" if objective.quantile is None else f"p{objective.quantile * 100:g}"
    error = seconds / predicted.latency_seconds - 1
    within = seconds <= objective.seconds
    return [
        *rows,
        Validation(
            name, step.offered_rps, predicted.latency_seconds, seconds, error, within, step.source
        ),
    ]


def _refuted(row: Validation) -> Validation:
    return Validation(
        row.what, row.rps, row.predicted, row.measured, row.error_share, False, row.source
    )
