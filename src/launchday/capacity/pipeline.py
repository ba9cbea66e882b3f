"""From what was measured to the plan: each step in order, pure, and every refusal in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from launchday.capacity.answer import Plan, Request, Validity
from launchday.capacity.bottleneck import name_bottleneck
from launchday.capacity.extrapolation import BANNER_TO, PLAIN_TO
from launchday.capacity.flags import flags
from launchday.capacity.needs import with_needs
from launchday.capacity.objective import find
from launchday.capacity.paragraph import paragraph, replicas_tested, shared
from launchday.capacity.queueing_words import queueing_words
from launchday.capacity.results import Estimate, Found, UslFit, Validation
from launchday.capacity.steps import Measured, Objective, Step
from launchday.capacity.usl import Usl
from launchday.capacity.usl_fit import fit_usl
from launchday.capacity.wording import joined, measure, plural
from launchday.errors import RecordError

FEWEST_LOADS = 6
"""A curve with three parameters through fewer loads fits anything (reference, 5.4)."""
_SAME_LOAD = 1.03  # replicates of one load differ by chance
_HELD_OUT_WITHIN = 0.10


def plan(measured: Measured, request: Request) -> Plan:
    """The whole pipeline. The same input and seed give the same plan.

    A measurement that counts for nothing, fewer than six loads, mixed replicas or an objective
    that was never met refuse the plan; the numbers that exist are still in it.

    Raises:
        SettingsError: the request cannot be planned for, such as a growth beyond all bounds.
    """
    fit, missing = _model(measured, request.seed)
    answer = Plan(request, measured, usl=fit, usl_missing=missing)
    if why := _unusable(measured):
        return finished(replace(answer, refused=why))
    found = _judged(measured.steps, request.objective)
    answer = replace(
        answer,
        found=found,
        bottleneck=name_bottleneck(measured.steps, found),
        validity=_validity(measured.steps, found),
        held_out=_held_out(measured.steps, fit),
    )
    if why := _nothing_found(found, fit, missing):
        return finished(replace(answer, refused=why))
    answer = replace(answer, per_replica=_per_replica(answer))
    return finished(with_needs(answer))


def with_validations(answer: Plan, validations: Sequence[Validation]) -> Plan:
    """The plan together with what runs made after it have shown."""
    return finished(replace(answer, validations=tuple(validations)))


def finished(answer: Plan) -> Plan:
    """The plan with everything that is said in words."""
    answer = replace(answer, queueing=queueing_words(answer), flags=flags(answer))
    return replace(answer, paragraph=paragraph(answer))


def _judged(steps: Sequence[Step], objective: Objective) -> Found:
    """What the objective allows; tables without a latency cannot be judged by one."""
    mean = objective.quantile is None
    if any((s.mean_seconds if mean else s.latency_seconds) is not None for s in steps):
        return find(steps, objective)
    rates = [s.throughput_rps for s in steps if not s.held_out] or [0.0]
    words = f"no {measure(objective)} was measured"
    return Found(None, None, "", "", (), min(rates), max(rates), words)


def _model(measured: Measured, seed: int) -> tuple[UslFit | None, str]:
    """The scalability law of the steady steps, or why there is none."""
    points = [
        (step.concurrency, step.throughput_rps)
        for step in measured.steps
        if step.steady and not step.held_out
    ]
    if not points:
        return None, "no step is steady" if measured.steps else "nothing was measured"
    try:
        return fit_usl(points, seed), ""
    except RecordError as error:
        return None, str(error)


def _unusable(measured: Measured) -> str:
    """Why the measurement as a whole allows no plan; empty if it does."""
    if measured.invalid:
        return "; ".join(measured.invalid)
    if not measured.steps:
        first = f", the first: {measured.left_out[0].reason}" if measured.left_out else ""
        return f"no load was held long enough to be measured{first}"
    if len(counts := sorted({step.replicas for step in measured.steps})) > 1:
        return (
            f"replicas are mixed: steps were measured with {joined([str(n) for n in counts])}; "
            "plan from one number of replicas"
        )
    if (loads := distinct_loads(measured.steps)) < FEWEST_LOADS:
        return f"only {plural(loads, 'distinct load')} measured: it takes at least {FEWEST_LOADS}"
    if not any(step.steady for step in measured.steps):
        return f"no step is steady, the first: {measured.steps[0].unsteady[0]}"
    return ""


def distinct_loads(steps: Sequence[Step]) -> int:
    """How many loads were held: replicates within 3 % of the least of them are one."""
    count, least = 0, 0.0
    for load in sorted(_load(step) for step in steps):
        if count == 0 or load > least * _SAME_LOAD:
            count, least = count + 1, load
    return count


def _load(step: Step) -> float:
    """What was set: the rate of our own runs, what was in flight in other tools' tables."""
    return step.offered_rps if step.run_id or step.concurrency <= 0 else step.concurrency


def _nothing_found(found: Found, fit: UslFit | None, missing: str) -> str:
    """Why neither the objective nor the model says anything; empty if one does."""
    if found.crossing is not None or found.proved is not None:
        return ""
    if found.refused and found.refused.startswith("never met"):
        return f"the objective was {found.refused}"
    if fit is None:
        return joined([words for words in (found.refused, missing) if words])
    return fit.refused or ""


def _validity(steps: Sequence[Step], found: Found) -> Validity:
    low, high = found.tested_low_rps, found.tested_high_rps
    if not high > 0:
        rates = [step.throughput_rps for step in steps]
        low, high = min(rates), max(rates)
    replicas = max(step.replicas for step in steps)
    fitted = [step.concurrency for step in steps if step.steady and not step.held_out]
    most = max(fitted, default=0.0)
    to = high * PLAIN_TO
    return Validity(low, high, to, high * BANNER_TO, replicas, most, most * PLAIN_TO)


def _per_replica(answer: Plan) -> Estimate | None:
    """What is recommended for one replica: the proved rate, no more than the crossing's low end."""
    found = answer.found
    if found is None or found.proved is None:
        return None
    proved, crossing = found.proved, found.crossing
    # Tables of other tools have one number a load: an interval without width is none.
    ends = [e for e in (proved, crossing) if e and e.low is not None and e.low != e.high]
    low = min([*(e.low for e in ends if e.low is not None), proved.value]) if ends else None
    high = None
    if low is not None and crossing and crossing.high is not None:
        high = max(crossing.high, proved.value)
    estimate = Estimate(proved.value, low, high, proved.n, proved.method)
    return shared(estimate, replicas_tested(answer))


def _held_out(steps: Sequence[Step], fit: UslFit | None) -> tuple[Validation, ...]:
    """The model against steady steps that it does not know, inside the range it may be used in."""
    if fit is None or fit.refused:
        return ()
    law = Usl(fit.alpha.value, fit.beta.value, fit.gamma.value)
    most = max(n for n, _ in fit.points)
    rows = []
    for step in steps:
        if step.held_out and step.steady and 0 < step.concurrency <= most * PLAIN_TO:
            says = law.throughput(step.concurrency)
            off = (step.throughput_rps - says) / says
            within = abs(off) <= _HELD_OUT_WITHIN
            measured = step.throughput_rps
            what = "throughput"
            rows.append(
                Validation(what, step.offered_rps, says, measured, off, within, step.source)
            )
    return tuple(rows)
