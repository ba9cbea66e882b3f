"""The checks of a verdict that are about the experiment: its hypothesis and how it ended."""

from __future__ import annotations

from launchday.record import Record
from launchday.runs.check import Check
from launchday.runs.hypotheses import Judged, JudgedHypothesis


def stopped_before(record: Record, *, judged: bool) -> Check:
    """Whether the conductor injected nothing, since the target was not steady (`judged`) or nobody
    could tell (not `judged`).
    """
    name = "steady enough to begin" if judged else "steadiness could be told"
    found = [
        f
        for f in record.faults
        if f["event"] == "not_steady" and bool(f.get("judged", True)) == judged
    ]
    if not found:
        return Check(name, None, "The faults were not held back.")
    reasons = " ".join(str(reason) for reason in found[-1].get("reasons", ()))
    return Check(name, False, f"No fault was injected. {reasons}")


def steady(outcome: JudgedHypothesis | None) -> list[Check]:
    """What had to hold before the faults."""
    return [_check(each) for each in outcome.of("before")] if outcome else []


def held(outcome: JudgedHypothesis | None) -> list[Check]:
    """What had to hold during and after the faults, and how fast it had to recover."""
    if outcome is None:
        return []
    judged = [*outcome.of("during"), *outcome.of("after")]
    recovery = Check("recovery from the faults", outcome.recovery_held, outcome.recovery_sentence)
    return [*(_check(each) for each in judged), recovery]


def could_be_judged(outcome: JudgedHypothesis | None) -> list[Check]:
    """What of the hypothesis could not be judged: such a run is inconclusive, never held."""
    if outcome is None:
        return []
    sentences = [each.sentence for each in outcome.judged if each.held is None]
    sentences += [outcome.recovery_sentence] if outcome.recovery_held is None else []
    return [Check("hypothesis could be judged", False, sentence) for sentence in sentences]


def not_aborted(record: Record) -> Check:
    """Whether the experiment was allowed to run to its end."""
    aborted = [f for f in record.faults if f["event"] == "aborted"]
    if not aborted:
        return Check("experiment not aborted", None, "The experiment was not aborted.")
    sentence = f"The experiment was aborted, its faults undone: {aborted[-1].get('reason')}."
    return Check("experiment not aborted", False, sentence)


def _check(judged: Judged) -> Check:
    return Check(f"hypothesis, {judged.window}", judged.held, judged.sentence)
