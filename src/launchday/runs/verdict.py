"""Held, breached or could not tell: a pure function of a record."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from launchday import timeline
from launchday.outcomes import ERRORS, Outcome
from launchday.record import Record, Rules, Schedule
from launchday.runs.audit import Audit, sentence
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
class Check:
    """One rule; `held` is None where it could not be judged, `sentence` has the numbers."""

    name: str
    held: bool | None
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """The verdict, its exit code and every check; `reasons` are the decisive ones."""

    outcome: VerdictOutcome
    exit_code: int
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    capacity_rps: float | None = None


@dataclass(frozen=True)
class _Evidence:
    record: Record
    schedule: Schedule
    rules: Rules
    capacity_rps: float | None
    seen_seconds: int
    quiet: Window
    peak: Window
    whole: Window
    audit: Audit


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
    invented (1), which no weakness of the run excuses; a run that is not valid, because it did not
    end or the generator fell behind (2); a target that was not steady before anything happened
    (3); a fault without effect (4); then what must hold (1), else held (0).
    """
    whole, record = record, _without_what_must_fail(record)
    schedule = record.schedule
    if schedule is None:
        reason = "No request was made: the run ended before its schedule began."
        return Verdict(VerdictOutcome.INCONCLUSIVE, 2, (reason,), ())
    evidence = _evidence(record, schedule, audit)
    stages: tuple[tuple[VerdictOutcome, int, tuple[Callable[[_Evidence], Check], ...]], ...] = (
        (VerdictOutcome.INCONCLUSIVE, 5, (_faults_undone,)),
        (VerdictOutcome.BREACHED, 1, (_nothing_lost,)),
        (
            VerdictOutcome.INCONCLUSIVE,
            2,
            (_run_complete, _scenario_sound, _schedule_kept, _faults_applied),
        ),
        (VerdictOutcome.INCONCLUSIVE, 3, (_steady_before,)),
        (VerdictOutcome.INCONCLUSIVE, 4, (_faults_had_effect,)),
        (
            VerdictOutcome.BREACHED,
            1,
            (_goodput_kept, _latency, _retry_after, _connections, _errors, _recovered, _metrics),
        ),
    )
    decided: tuple[VerdictOutcome, int] = (VerdictOutcome.HELD, 0)
    checks = _what_was_left_out(whole, record)
    left_out = [check.sentence for check in checks]
    reasons: list[str] = []
    for outcome, exit_code, rules in stages:
        results = [rule(evidence) for rule in rules]
        checks += results
        failed = [check.sentence for check in results if check.held is False]
        if failed and not reasons:
            decided, reasons = (outcome, exit_code), failed
    if not reasons:
        required = [c for c in checks if c.name == _AUDIT] + results
        reasons = [check.sentence for check in required if check.held]
    return Verdict(*decided, (*left_out, *reasons), tuple(checks), evidence.capacity_rps)


def _without_what_must_fail(record: Record) -> Record:
    """Leave out what the experiment says it breaks, while it does and may still recover."""
    experiment = record.info.settings.get("experiment") or {}
    broken = tuple(experiment.get("breaks", ()))
    if not broken:
        return record
    patience = record.info.rules.recovery_seconds
    spans = [
        (math.floor(start), math.inf if end is None else end + patience)
        for _, start, end in timeline.fault_spans(record)
    ]
    cells = {
        key: cell
        for key, cell in record.cells.items()
        if not (key[1].startswith(broken) and any(a <= key[0] <= b for a, b in spans))
    }
    return replace(record, cells=cells)


def _what_was_left_out(whole: Record, judged: Record) -> list[Check]:
    """Say what was not judged, because the experiment broke it on purpose."""
    left_out = {key: cell for key, cell in whole.cells.items() if key not in judged.cells}
    if not left_out:
        return []
    names = ", ".join(sorted({key[1] for key in left_out}))
    total = sum(cell.count for cell in left_out.values())
    served = {Outcome.OK, Outcome.SLOW}
    failed = sum(cell.count for key, cell in left_out.items() if key[3] not in served)
    sentence = (
        f"Broken on purpose, and left out of all that follows while it was and might recover: "
        f"{names} ({failed} of {total} requests failed)."
    )
    return [Check("broken on purpose", None, sentence)]


def _evidence(record: Record, schedule: Schedule, audit: Audit) -> _Evidence:
    seen = timeline.seen_seconds(record, schedule)
    peak = [second for second in timeline.peak_seconds(schedule) if second < seen]
    return _Evidence(
        record,
        schedule,
        record.info.rules,
        known_capacity(record),
        seen,
        timeline.window(record, timeline.quiet_seconds(record, schedule)),
        timeline.window(record, peak),
        timeline.whole(record),
        audit,
    )


def _faults_undone(e: _Evidence) -> Check:
    left = [f for f in e.record.faults if f["event"] == "residual"]
    if left:
        reasons = sorted({str(reason) for f in left for reason in f.get("reasons", ())})
        return Check("faults undone", False, "Left behind: " + "; ".join(reasons) + ".")
    applied = sum(f["event"] == "applied" for f in e.record.faults)
    undone = sum(f["event"] == "undone" for f in e.record.faults)
    if applied == 0:
        return Check("faults undone", None, "No fault was injected.")
    if applied > undone:
        sentence = f"{applied - undone} fault(s) have no record of being undone."
        return Check("faults undone", False, sentence)
    return Check("faults undone", True, f"All {applied} fault(s) were undone and verified.")


def _nothing_lost(e: _Evidence) -> Check:
    return Check(_AUDIT, e.audit.clean, sentence(e.audit))


def _run_complete(e: _Evidence) -> Check:
    ended = e.record.info.ended
    if e.record.complete and ended == "completed":
        return Check("run complete", True, "The run reached the end of its schedule.")
    how = {"running": "goes on still, or was killed", "interrupted": "was interrupted"}
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


def _schedule_kept(e: _Evidence) -> Check:
    share = timeline.kept_share(e.record) or 0.0
    dropped = sum(a.dropped for a in e.record.arrivals.values())
    late = sum(a.late for a in e.record.arrivals.values())
    sentence = (
        f"The generator started {share:.1%} of the arrivals in time (at least "
        f"{e.rules.kept_share:.0%} needed; {late} late, {dropped} dropped)."
    )
    return Check("schedule kept", share >= e.rules.kept_share, sentence)


def _faults_applied(e: _Evidence) -> Check:
    planned = sum(f["event"] == "planned" for f in e.record.faults)
    applied = sum(f["event"] == "applied" for f in e.record.faults)
    if planned == 0:
        return Check("faults applied", None, "No fault was planned.")
    sentence = f"{applied} of {planned} planned fault(s) were applied."
    return Check("faults applied", applied >= planned, sentence)


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


def _faults_had_effect(e: _Evidence) -> Check:
    verified = [f for f in e.record.faults if f["event"] == "verified"]
    without = [f for f in verified if f.get("effect") is False]
    if not verified:
        return Check("faults had effect", None, "No fault was injected.")
    if without:
        names = ", ".join(f"{f.get('fault')} on {f.get('link')}" for f in without)
        return Check(
            "faults had effect", False, f"A probe through the link saw no effect of {names}."
        )
    return Check(
        "faults had effect", True, "A probe through the link saw the effect of every fault."
    )


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
    if e.whole.answers_503 == 0:
        return Check("retry-after", None, "No 503 was answered.")
    sentence = (
        f"{e.whole.with_retry_after} of {e.whole.answers_503} answers 503 carried Retry-After."
    )
    return Check("retry-after", e.whole.with_retry_after == e.whole.answers_503, sentence)


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
