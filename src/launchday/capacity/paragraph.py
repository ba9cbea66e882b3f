"""The plan in one paragraph that a manager can read; every variant is plain English."""

from __future__ import annotations

import math

from launchday.capacity.answer import Plan, Status
from launchday.capacity.results import Demand, Estimate, Found, UslFit, Validation
from launchday.capacity.steps import Objective
from launchday.capacity.usl_flags import NO_PEAK
from launchday.capacity.wording import (
    interval,
    joined,
    limit,
    milliseconds,
    number,
    percent,
    plural,
    plus_minus,
    signed_percent,
)

UNVALIDATED = "UNVALIDATED: no run at the recommended rate has confirmed this yet."
NOTHING_RECOMMENDED = "UNVALIDATED: no rate is recommended that a run could confirm."
NOTHING_TO_CONFIRM = "UNVALIDATED: there is no number that a run could confirm."
_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_MOST_CARRIED = 0.95
_GIVES_OUT = {
    "shed": "what gives out first is not latency but the share of requests shed",
    "errors": "what gives out first is not latency but the share of errors",
}


def paragraph(plan: Plan) -> str:
    """Capacity, bottleneck, replicas, validity and how far it was checked, in this order."""
    if plan.refused:
        return f"No plan: {plan.refused.rstrip('.')}. {NOTHING_TO_CONFIRM}"
    parts = [_capacity(plan), _bottleneck(plan), _replicas(plan), _valid(plan)]
    first = "; ".join(part for part in parts if part)
    sentences = [f"{first[0].upper()}{first[1:]}.", _unproved(plan), plan.run_out, _cost(plan)]
    return " ".join([*(sentence for sentence in sentences if sentence), checked(plan)])


def checked(plan: Plan) -> str:
    """How far the plan was checked against runs that it did not know."""
    if plan.status is Status.UNVALIDATED:
        return UNVALIDATED if plan.per_replica else NOTHING_RECOMMENDED
    all_of_them = "; ".join(_validation(validation) for validation in plan.validations)
    if plan.status is Status.VALIDATED:
        return f"VALIDATED: validation {all_of_them}."
    return f"REFUTED, do not use these numbers: validation {all_of_them}."


def objective_words(objective: Objective) -> str:
    """The whole objective: p99 <= 600 ms, at most 0.1 % shed and 0.1 % errors."""
    shed, errors = percent(objective.most_shed_share), percent(objective.most_error_share)
    return f"{limit(objective)}, at most {shed} shed and {errors} errors"


def _capacity(plan: Plan) -> str:
    found, objective = plan.found, plan.request.objective
    if found is None or (found.crossing is None and found.proved is None):
        return _model_only(plan, found)
    if found.crossing is None:
        return _at_least(plan, found)
    crossing = shared(found.crossing, replicas_tested(plan))
    words = f"sustains {number(crossing.value)} rps {interval(crossing)}".rstrip()
    words += f" {_per_replica(plan)} at {limit(objective)}"
    if plan.per_replica is None:
        words += ", but no step was long enough to prove any rate, so none is recommended"
    elif found.proved is not None:
        proved = shared(found.proved, replicas_tested(plan)).value
        words += f" ({number(proved)} rps proved)"
    return "; ".join(part for part in (words, _GIVES_OUT.get(found.binding, "")) if part)


def _at_least(plan: Plan, found: Found) -> str:
    if plan.per_replica is None:
        objective = limit(plan.request.objective)
        return f"the objective {objective} was not judged: {found.refused or 'not crossed'}"
    return (
        f"sustains at least {number(plan.per_replica.value)} rps {_per_replica(plan)} at "
        f"{limit(plan.request.objective)}: it was met at every load tested, so the limit was not "
        "found"
    )


def _model_only(plan: Plan, found: Found | None) -> str:
    """Without latency there is no objective; the model of throughput is all that can be said."""
    why = (found.refused if found else "") or "no latency was measured"
    judged = "was met" if why.startswith("always met") else "was not judged"
    words = f"the objective {limit(plan.request.objective)} {judged} ({why.rstrip('.')})"
    if plan.usl is None or plan.usl.refused:
        return words
    return f"{words}; {_peak(plan.usl)}"


def _peak(fit: UslFit) -> str:
    peak, highest = fit.peak_concurrency, max(x for _, x in fit.points)
    most = max(n for n, _ in fit.points)
    # A peak that the model itself does not vouch for is no headline, nor one that was surpassed.
    unknown = peak.high is None or math.isinf(peak.high) or math.isinf(peak.value)
    if unknown or NO_PEAK in fit.flags:
        return f"the most that was measured is {number(highest)} rps, no peak was identified"
    if peak.value > most * 1.5:
        return (
            f"the most that was measured is {number(highest)} rps; the model's peak lies too far "
            "beyond the tested loads to be believed"
        )
    beyond = f", beyond the {number(most)} that were tested" if peak.value > most else ""
    return (
        f"throughput peaks at {number(fit.peak_rps.value)} rps {interval(fit.peak_rps)}".rstrip()
        + f" with {number(peak.value)} requests in flight {interval(peak)}".rstrip()
        + beyond
    )


def _bottleneck(plan: Plan) -> str:
    bottleneck, demand = plan.bottleneck, plan.limiting
    if bottleneck is None or not (bottleneck.demands or bottleneck.resource):
        return "no resource was measured, so no bottleneck is named"
    if not bottleneck.resource:
        return (
            "none of the measured resources is the bottleneck: a lock, a queue, a pool or "
            "something downstream may be"
        )
    if demand is None:
        return f"the bottleneck is {bottleneck.resource.replace('downstream: ', 'downstream, ')}"
    verb = "are" if _name(demand).endswith("s") else "is"
    crossed = plan.found and plan.found.crossing
    is_it = f"{verb} the bottleneck" if crossed else "would give out first"
    return f"{_name(demand)} {is_it} ({_demand(demand)})"


def _name(demand: Demand) -> str:
    return "CPU" if demand.resource == "cpu" else demand.resource.replace("_", " ")


def _demand(demand: Demand) -> str:
    return (
        f"{milliseconds(demand.seconds.value)}/req, saturates at {plus_minus(demand.saturates_rps)}"
    )


def _replicas(plan: Plan) -> str:
    forecast, replicas = plan.request.forecast, plan.replicas
    if forecast is None:
        return "no forecast was given, so no replicas are counted"
    half = f" ± {number(forecast.plus_minus_rps)}" if forecast.plus_minus_rps else ""
    words = f"forecast {number(forecast.rps)}{half} rps"
    if replicas is None:
        return f"{words} cannot be planned for, because no rate was proved"
    bound = (
        "lower bound" if plan.per_replica and plan.per_replica.low is not None else "proved rate"
    )
    of = [f"{percent(plan.request.utilisation)} of the {bound}"]
    of += ["upper forecast"] if forecast.plus_minus_rps else []
    words += f" needs {plural(replicas.replicas, 'replica')} ({', '.join(of)})"
    words += f", {replicas.with_spare:,} with one spare"
    if replicas.zones > 1:
        zones = _SMALL[replicas.zones] if replicas.zones < len(_SMALL) else str(replicas.zones)
        words += f", {replicas.across_zones:,} across {zones} zones to survive the loss of one"
    return words


def _valid(plan: Plan) -> str:
    valid = plan.validity
    if valid is None:
        return ""
    if not plan.by_rate and valid.tested_concurrency > 0:
        most, to = number(valid.tested_concurrency), number(valid.valid_to_concurrency)
        rates = f"{number(valid.low_rps)} to {number(valid.tested_rps)} rps"
        return f"tested with up to {most} requests in flight ({rates}), valid to {to}"
    together = replicas_tested(plan)
    of = f" of {plural(together, 'replica')} together" if together > 1 else ""
    few = plan.carried_rps < _MOST_CARRIED * valid.tested_rps
    carried = f" offered, of which {number(plan.carried_rps)} were answered at most" if few else ""
    return (
        f"tested from {number(valid.low_rps)} to {number(valid.tested_rps)} rps{of}{carried}, "
        f"valid to {number(valid.valid_to_rps)} rps{' offered' if few else ''}"
    )


def _unproved(plan: Plan) -> str:
    return joined([flag for flag in plan.flags if flag.startswith("UNPROVED")])


def _cost(plan: Plan) -> str:
    return plan.cost.sentence if plan.cost else ""


def _validation(validation: Validation) -> str:
    predicted, measured = compared(validation)
    numbers = f"{predicted} v {measured}"
    off = signed_percent(validation.error_share)
    return f"at {number(validation.rps)} rps: {validation.what} {numbers} ({off})"


def compared(validation: Validation) -> tuple[str, str]:
    """What was predicted and what was measured, with their unit where it is a time."""
    words = milliseconds if validation.what.startswith(("p", "mean")) else number
    return words(validation.predicted), words(validation.measured)


def replicas_tested(plan: Plan) -> int:
    """How many replicas the measured target had."""
    return max((step.replicas for step in plan.measured.steps), default=1)


def shared(estimate: Estimate, replicas: int) -> Estimate:
    """The part of one replica in what all of them did together."""
    low = None if estimate.low is None else estimate.low / replicas
    high = None if estimate.high is None else estimate.high / replicas
    return Estimate(estimate.value / replicas, low, high, estimate.n, estimate.method)


def _per_replica(plan: Plan) -> str:
    together = replicas_tested(plan)
    return "per replica" if together == 1 else f"per replica ({together} tested together)"
