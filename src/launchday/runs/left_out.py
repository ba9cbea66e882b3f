"""What the rules of every run do not judge, because an experiment says what must hold instead."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from launchday import timeline
from launchday.errors import RecordError
from launchday.outcomes import Outcome
from launchday.record import Record
from launchday.runs.check import Check
from launchday.runs.hypotheses import hypothesis_of

_SERVED = frozenset({Outcome.OK, Outcome.SLOW})


@dataclass(frozen=True)
class LeftOut:
    """The rest of a record, and what to say about what was left out of it.

    `seconds` are those of which nothing is left, as the hypothesis of the experiment judges them.
    """

    rest: Record
    checks: tuple[Check, ...] = ()
    seconds: frozenset[int] = frozenset()


def leave_out(record: Record) -> LeftOut:
    """Leave out what the experiment says it breaks, while it does and may still recover.

    With a hypothesis that is everything from the first fault (and what was under way then) until it
    must have recovered: the hypothesis says what must hold then.

    Raises:
        RecordError: the experiment in run.json is damaged.
    """
    experiment = record.info.settings.get("experiment") or {}
    hypothesis, schedule = hypothesis_of(record), record.schedule
    found = timeline.fault_spans(record)
    spans = [
        (timeline.first_touched_second(schedule, start), end)
        for _, start, end in found
        if schedule is not None
    ]
    if hypothesis and spans:
        first = min(start for start, _ in spans)
        last = max(_until(end, hypothesis.recovery_seconds) for _, end in spans)
        return _without_seconds(record, first, last)
    broken = tuple(experiment.get("breaks", ()))
    if not all(isinstance(name, str) and name.strip() for name in broken):
        raise RecordError(f"the experiment in run.json is damaged: it breaks {broken!r}")
    if not broken:
        return LeftOut(record)
    patience = record.info.rules.recovery_seconds
    return _without_endpoints(record, broken, [(a, _until(b, patience)) for a, b in spans])


def _until(end: float | None, patience_seconds: float) -> float:
    return math.inf if end is None else end + patience_seconds


def _without_seconds(record: Record, first: int, last: float) -> LeftOut:
    cells = {key: cell for key, cell in record.cells.items() if not first <= key[0] <= last}
    until = max((key[0] for key in record.cells), default=first)
    seconds = frozenset(range(first, min(until, math.floor(min(last, until))) + 1))
    sentence = (
        f"From {first} s to {max(seconds, default=first) + 1} s the hypothesis of the experiment "
        "says what must hold; the rules of every run judge the rest."
    )
    check = Check("judged by the hypothesis", None, sentence)
    return LeftOut(replace(record, cells=cells), (check,), seconds)


def _without_endpoints(
    record: Record, broken: tuple[str, ...], spans: list[tuple[int, float]]
) -> LeftOut:
    left_out = {
        key: cell
        for key, cell in record.cells.items()
        if key[1].startswith(broken) and any(a <= key[0] <= b for a, b in spans)
    }
    if not left_out:
        return LeftOut(record)
    cells = {key: cell for key, cell in record.cells.items() if key not in left_out}
    names = ", ".join(sorted({key[1] for key in left_out}))
    total = sum(cell.count for cell in left_out.values())
    failed = sum(cell.count for key, cell in left_out.items() if key[3] not in _SERVED)
    sentence = (
        f"Broken on purpose, and left out of all that follows while it was and might recover: "
        f"{names} ({failed} of {total} requests failed)."
    )
    return LeftOut(replace(record, cells=cells), (Check("broken on purpose", None, sentence),))
