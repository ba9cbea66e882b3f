"""What a reader has to know before he believes a number: one sentence each."""

from __future__ import annotations

import math

from launchday.capacity.answer import Plan
from launchday.capacity.extrapolation import BANNER_TO
from launchday.capacity.windows import BETWEEN_STEPS
from launchday.capacity.wording import number, percent, plural, with_interval

_ABOVE = 1.02
"""A peak less than 2 % below what was measured is that within what a rate varies."""

_MOST_LOST = 0.05
"""Failures are often quick: with more of them than this the model is one of failing, too."""

_RIVALS = {
    "linear": "A straight line, without any limit,",
    "amdahl": "Amdahl's law, which has no peak,",
    "log_usl": "The logarithmic law, nearer to a plateau,",
}


def flags(plan: Plan) -> tuple[str, ...]:
    """The doubts about a plan, the gravest first; none is ever left out."""
    parts = (_forecast(plan), _model(plan), _objective(plan), _held_out(plan), _steps(plan))
    return tuple(flag for part in parts for flag in part)


def _forecast(plan: Plan) -> list[str]:
    """Replicas beyond those that were measured are an assumption, and said to be one."""
    needed, valid = plan.replicas, plan.validity
    if needed is None or valid is None:
        return []
    tested = valid.scaled_to_replicas
    if needed.replicas <= tested:
        return []
    carried = plan.carried_rps
    ratio = needed.forecast_rps / carried if carried > 0 else math.inf
    only = f"only {plural(tested, 'replica')} {'was' if tested == 1 else 'were'} measured"
    if ratio > BANNER_TO:
        return [
            f"UNPROVED: {number(needed.forecast_rps)} rps is {number(ratio)} times the "
            f"{number(carried)} rps that were carried and needs "
            f"{plural(needed.replicas, 'replica')}; {only}, and what they share "
            "(database, gateway) may give out first."
        ]
    return [f"The forecast needs {plural(needed.replicas, 'replica')}; {only}."]


def _model(plan: Plan) -> list[str]:
    if plan.usl is None:
        return [f"No scalability model: {plan.usl_missing}."] if plan.usl_missing else []
    found = []
    if plan.usl.refused:
        found.append(f"The scalability model is not used: {plan.usl.refused}.")
    if words := list(plan.usl.flags):
        found.append(f"The scalability model: {'; '.join(words)}.")
    if plan.usl.best != "usl":
        other = _RIVALS.get(plan.usl.best, plan.usl.best)
        found.append(f"{other} explains the steps better than the scalability law (AICc).")
    return [*found, *_lost(plan), *_above(plan)]


def _lost(plan: Plan) -> list[str]:
    """Our own runs do not count as answered what was refused; tables of other tools do."""
    fitted = [step for step in plan.measured.steps if step.steady and not step.held_out]
    shares = [step.error_share + (0.0 if step.run_id else step.shed_share) for step in fitted]
    many = sum(share > _MOST_LOST for share in shares)
    if plan.usl is None or plan.usl.refused or not many:
        return []
    return [
        f"In {plural(many, 'step')} up to {percent(max(shares))} of the answers were failures or "
        "refusals: the scalability model counts them as throughput."
    ]


def _above(plan: Plan) -> list[str]:
    """Measured rates that the model says are impossible; those that it did not see by name."""
    fit = plan.usl
    if fit is None or fit.refused or fit.peak_rps.high is None:
        return []
    highest = fit.peak_rps.high
    most = max(x for _, x in fit.points)
    above = [
        f"{number(most)} rps was measured, above the fitted peak of {with_interval(fit.peak_rps)}: "
        "do not rely on that peak."
    ]
    beyond = above if most > fit.peak_rps.value * _ABOVE else []
    return [
        *beyond,
        *(
            f"{step.source} answered {number(step.throughput_rps)} rps, above the fitted peak of "
            f"at most {number(highest)}: the model does not hold there."
            for step in plan.measured.steps
            if step.held_out and step.steady and step.throughput_rps > highest
        ),
    ]


def _objective(plan: Plan) -> list[str]:
    found = plan.found
    if found is None:
        return []
    words = [f"The objective: {found.refused}."] if found.refused else []
    if found.crossing is not None and found.proved is None:
        words.append("No step proved a rate: hold the steps longer, or repeat them.")
    crossing = found.crossing
    if crossing is not None and (crossing.low is None or crossing.low == crossing.high):
        words.append("The rate has no interval: too little was measured for one.")
    return words


def _held_out(plan: Plan) -> list[str]:
    return [
        f"The model misses a step kept out of it by {percent(abs(row.error_share))}: "
        f"{number(row.predicted)} v {number(row.measured)} at {number(row.rps)} rps."
        for row in plan.held_out
        if not row.within
    ]


def _steps(plan: Plan) -> list[str]:
    steps = plan.measured.steps
    left_out = [part for part in plan.measured.left_out if part.reason != BETWEEN_STEPS]
    unsteady = [step for step in steps if not step.steady]
    words = []
    if unsteady:
        many = f"{len(unsteady)} of {plural(len(steps), 'step')} not steady"
        words.append(f"{many}: shown, not used; the first: {unsteady[0].unsteady[0]}.")
    if left_out:
        words.append(f"{plural(len(left_out), 'part')} left out; the first: {left_out[0].reason}.")
    return words
