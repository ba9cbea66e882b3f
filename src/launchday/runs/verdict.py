"""Held, breached or could not tell: a pure function of a record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from launchday import timeline
from launchday.outcomes import ERRORS, Outcome
from launchday.record import Record, Rules, Schedule
from launchday.runs import experiment_checks, fault_checks, hypotheses, validity
from launchday.runs.audit import Audit, sentence
from launchday.runs.check import Check
from launchday.runs.experiment_checks import stopped_before
from launchday.runs.left_out import LeftOut, leave_out
from launchday.runs.validity import Honesty
from launchday.timeline import Window

_AUDIT = "nothing lost, nothing doubled"
_ERROR_SHARE = 0.01
_MINIMUM_QUIET_REQUESTS = 20
_NOT_AUDITED = Audit(cannot_tell="the ledger was not read")


class VerdictOutcome(StrEnum):
    """The three verdicts."""

    HELD = "held"
    BREACHED = "breached"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Verdict:
    """The verdict, its exit code and every check; `reasons` are the decisive ones.

    `generator` has the numbers of the checks on the generator, None if it made no request.
    `hypothesis` has those of the experiment's hypothesis, None if it has none or nothing was
    injected.
    """

    outcome: VerdictOutcome
    exit_code: int
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    capacity_rps: float | None = None
    generator: Honesty | None = None
    hypothesis: hypotheses.JudgedHypothesis | None = None


@dataclass(frozen=True)
class _Evidence:
    record: Record
    everything: Window
    left_out: frozenset[int]
    schedule: Schedule
    rules: Rules
    capacity_rps: float | None
    seen_seconds: int
    quiet: Window
    peak: Window
    whole: Window
    audit: Audit
    generator: Honesty
    hypothesis: hypotheses.JudgedHypothesis | None


_Rule = Callable[[_Evidence], Check | list[Check]]


def known_capacity(record: Record) -> float | None:
    """Requests per second that the target is known to serve: from the rules, else its metrics."""
    if record.info.rules.capacity_rps is not None:
        return record.info.rules.capacity_rps
    for line in record.metrics:
        value = line["values"].get("car_capacity_rps")
        if value:
            return float(value)
    return None


def judge(record: Record, audit: Audit = _NOT_AUDITED) -> Verdict:
    """Judge a record, also one whose run was interrupted or killed.

    In this order: a fault that could not be undone (exit 5); something that was lost, doubled or
    invented (1), which no weakness of the run excuses; faults that were held back, because the
    target was not steady (3) or nobody could tell (2); a run that is not valid, because it did not
    end or the generator was not honest (2); a target that was not steady before anything happened
    (3); a fault without effect (4); then what must hold (1), of which a part could not be judged
    (2), else held (0).

    Raises RecordError: the experiment in run.json is damaged.
    """
    left_out = leave_out(record)
    schedule = record.schedule
    if schedule is None:
        reason = "No request was made: the run ended before its schedule began."
        return Verdict(VerdictOutcome.INCONCLUSIVE, 2, (reason,), ())
    evidence = _evidence(record, left_out, schedule, audit)
    decided: tuple[VerdictOutcome, int] = (VerdictOutcome.HELD, 0)
    checks = list(left_out.checks)
    reasons: list[str] = []
    held: list[str] = []
    for outcome, exit_code, rules in _STAGES:
        results = [check for rule in rules for check in _listed(rule(evidence))]
        checks += results
        failed = [check.sentence for check in results if check.held is False]
        if outcome is VerdictOutcome.BREACHED:
            held += [check.sentence for check in results if check.held]
        if failed and not reasons:
            decided, reasons = (outcome, exit_code), failed
    return Verdict(
        *decided,
        (*(check.sentence for check in left_out.checks), *(reasons or held)),
        tuple(checks),
        evidence.capacity_rps,
        evidence.generator,
        evidence.hypothesis,
    )


def _listed(found: Check | list[Check]) -> list[Check]:
    return found if isinstance(found, list) else [found]


def _evidence(whole: Record, left_out: LeftOut, schedule: Schedule, audit: Audit) -> _Evidence:
    record = left_out.rest
    seen = timeline.seen_seconds(whole, schedule)
    peak = [s for s in timeline.peak_seconds(schedule) if s < seen and s not in left_out.seconds]
    return _Evidence(
        record,
        timeline.whole(whole),
        left_out.seconds,
        schedule,
        record.info.rules,
        known_capacity(record),
        seen,
        timeline.window(record, timeline.quiet_seconds(record, schedule)),
        timeline.window(record, peak),
        timeline.whole(record),
        audit,
        validity.honesty(whole),
        hypotheses.evaluate(whole),
    )


def _nothing_lost(e: _Evidence) -> Check:
    return Check(_AUDIT, e.audit.clean, sentence(e.audit))


def _run_complete(e: _Evidence) -> Check:
    ended = e.record.info.ended
    if e.record.complete and ended == "completed":
        return Check("run complete", True, "The run reached the end of its schedule.")
    how = {
        "running": "goes on still, or was killed",
        "interrupted": "was interrupted",
        "completed": "lost a generator process",
    }
    sentence = (
        f"The run {how.get(ended, 'failed')}: {e.seen_seconds} of "
        f"{e.schedule.duration_seconds:.0f} s were seen, and what follows is about those only."
    )
    return Check("run complete", False, sentence)


def _scenario_sound(e: _Evidence) -> Check:
    if not e.record.crash_words:
        return Check("scenario sound", True, "No journey raised an exception.")
    count = e.record.crashes or "Some"
    sentence = f"{count} journeys raised an exception, the first: {e.record.crash_words[0]}."
    return Check("scenario sound", False, sentence)


def _generator_honest(e: _Evidence) -> list[Check]:
    return validity.checks(e.record, e.generator)


def _steady_before(e: _Evidence) -> Check:
    if e.quiet.offered < _MINIMUM_QUIET_REQUESTS:
        sentence = f"Only {e.quiet.offered} requests before the surge: too few to call it steady."
        return Check("steady before", False, sentence)
    share = e.quiet.goodput / e.quiet.offered
    sentence = f"Before the surge {share:.1%} of requests were good."
    if share >= e.rules.steady_share:
        return Check("steady before", True, sentence)
    others = ", ".join(
        f"{count} {outcome}"
        for outcome, count in sorted(e.quiet.outcomes.items())
        if outcome != "ok"
    )
    sentence += f" At least {e.rules.steady_share:.0%} are needed; the others were {others}."
    return Check("steady before", False, sentence)


def _goodput_kept(e: _Evidence) -> Check:
    if not e.peak.offered:
        return Check("goodput kept", None, "Not judged: the peak was not seen.")
    offered, goodput = e.peak.rate(e.peak.offered), e.peak.rate(e.peak.goodput)
    needed = e.rules.goodput_share
    said = f"At the peak {offered:.0f} requests/s were offered and {goodput:.0f}/s were good"
    if e.capacity_rps is None:
        before = e.quiet.rate(e.quiet.goodput)
        held = goodput >= needed * min(offered, before)
        sentence = f"{said}, {before:.0f}/s before the surge; the target's capacity is not known."
        return Check("goodput kept", held, sentence)
    share = goodput / min(offered, e.capacity_rps)
    sentence = f"{said}: {share:.0%} of what was reachable ({needed:.0%} needed)."
    return Check("goodput kept", share >= needed, sentence)


def _latency(e: _Evidence) -> Check:
    p99 = timeline.p99_of_admitted(e.whole, e.peak)
    if p99 is None:
        return Check("latency of admitted", False, "No request was admitted.")
    gave_up = p99 >= 0.98 * e.schedule.request_timeout_seconds
    more = " or more, since clients gave up" if gave_up else ""
    sentence = (
        f"p99 of admitted requests was {p99 * 1000:.0f} ms{more} "
        f"(objective {e.rules.objective_seconds * 1000:.0f} ms)."
    )
    return Check("latency of admitted", p99 <= e.rules.objective_seconds and not gave_up, sentence)


def _retry_after(e: _Evidence) -> Check:
    # Also during faults: no hypothesis excuses a refusal that does not say when to come back.
    answers, with_it = e.everything.answers_503, e.everything.with_retry_after
    if answers == 0:
        return Check("retry-after", None, "No 503 was answered.")
    sentence = f"{with_it} of {answers} answers 503 carried Retry-After."
    return Check("retry-after", with_it == answers, sentence)


def _connections(e: _Evidence) -> Check:
    failed = e.whole.outcomes[Outcome.CONNECTION]
    return Check("connections", failed == 0, f"{failed} connections were refused or reset.")


def _errors(e: _Evidence) -> Check:
    # Of those that were let in: refusals must not dilute failures.
    attempts = e.whole.offered - e.whole.refused
    share = e.whole.errors / attempts if attempts else 0.0
    parts = ", ".join(
        f"{e.whole.outcomes[outcome]} {outcome.value}"
        for outcome in sorted(ERRORS)
        if e.whole.outcomes[outcome]
    )
    sentence = (
        f"{share:.1%} of requests that were not refused failed "
        f"({parts or 'none'}; at most {_ERROR_SHARE:.0%})."
    )
    return Check("errors", share <= _ERROR_SHARE, sentence)


def _recovered(e: _Evidence) -> Check:
    end = timeline.overload_end(e.record, e.schedule, e.capacity_rps)
    watched = range(end, end + int(e.rules.recovery_seconds) + timeline.RECOVERED_FOR_SECONDS)
    if e.left_out.intersection(watched):
        return Check("recovery", None, "Not judged: the surge ended while the hypothesis judged.")
    observed = e.seen_seconds - end
    took = timeline.seconds_to_recover(e.record, end, e.seen_seconds)
    if took is not None:
        sentence = (
            f"Goodput was back {took} s after the surge (allowed {e.rules.recovery_seconds:g} s)."
        )
        return Check("recovery", took <= e.rules.recovery_seconds, sentence)
    if observed < timeline.RECOVERED_FOR_SECONDS:
        return Check("recovery", None, "Not judged: too little was seen after the surge.")
    sentence = f"Goodput did not come back within the {observed} s after the surge."
    return Check("recovery", False, sentence)


def _metrics(e: _Evidence) -> Check:
    failed = [line for line in e.record.metrics if "error" in line]
    if not failed:
        return Check("metrics", None, f"{len(e.record.metrics)} scrapes of the target's metrics.")
    sentence = (
        f"{len(failed)} of {len(e.record.metrics)} scrapes of the target's metrics failed "
        f"(the last: {failed[-1]['error']})."
    )
    return Check("metrics", None, sentence)


_STAGES: tuple[tuple[VerdictOutcome, int, tuple[_Rule, ...]], ...] = (
    (VerdictOutcome.INCONCLUSIVE, 5, (lambda e: fault_checks.undone(e.record),)),
    (VerdictOutcome.BREACHED, 1, (_nothing_lost,)),
    (VerdictOutcome.INCONCLUSIVE, 3, (lambda e: stopped_before(e.record, judged=True),)),
    (
        VerdictOutcome.INCONCLUSIVE,
        2,
        (
            lambda e: stopped_before(e.record, judged=False),
            _run_complete,
            _scenario_sound,
            _generator_honest,
            lambda e: fault_checks.applied(e.record),
        ),
    ),
    (
        VerdictOutcome.INCONCLUSIVE,
        3,
        (_steady_before, lambda e: experiment_checks.steady(e.hypothesis)),
    ),
    (
        VerdictOutcome.INCONCLUSIVE,
        4,
        (
            lambda e: fault_checks.had_effect(e.record),
            lambda e: fault_checks.met_traffic(e.record),
        ),
    ),
    (
        VerdictOutcome.BREACHED,
        1,
        (
            lambda e: experiment_checks.not_aborted(e.record),
            lambda e: experiment_checks.held(e.hypothesis),
            _goodput_kept,
            _latency,
            _retry_after,
            _connections,
            _errors,
            _recovered,
            _metrics,
        ),
    ),
    (
        VerdictOutcome.INCONCLUSIVE,
        2,
        (lambda e: experiment_checks.could_be_judged(e.hypothesis),),
    ),
)
