"""What a record says happened, second by second and window by window: pure functions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from launchday.counts import Arrivals, Cell
from launchday.histogram import LogHistogram
from launchday.outcomes import ERRORS, REFUSED, Outcome
from launchday.rate_curve import Phase
from launchday.record import Record, Schedule

_RECOVERED_SHARE = 0.95
RECOVERED_FOR_SECONDS = 3
FLUSH_SECONDS = 1.0
"""How long after a second what was counted in it is written."""


@dataclass
class Window:
    """Requests that were meant to start in some seconds.

    `admitted` holds the corrected latency of every request that was let in, timeouts at the time
    when the client gave up; refusals are not in it. `answers_503` counts every answer 503,
    `with_retry_after` those of them that said when to come back.
    """

    seconds: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    admitted: LogHistogram = field(default_factory=LogHistogram)
    answers_503: int = 0
    with_retry_after: int = 0

    @property
    def offered(self) -> int:
        """Requests that clients meant to make."""
        return sum(self.outcomes.values())

    @property
    def goodput(self) -> int:
        """Requests answered 2xx within the objective."""
        return self.outcomes[Outcome.OK]

    @property
    def shed(self) -> int:
        """Requests refused by the shedder."""
        return self.outcomes[Outcome.SHED]

    @property
    def refused(self) -> int:
        """Requests turned away at the door, for whatever reason."""
        return sum(self.outcomes[outcome] for outcome in REFUSED)

    @property
    def admitted_count(self) -> int:
        """Requests that were let in: offered, not refused, and with a connection."""
        return self.offered - self.refused - self.outcomes[Outcome.CONNECTION]

    @property
    def errors(self) -> int:
        """Requests that failed for their client, refusals excluded."""
        return sum(self.outcomes[outcome] for outcome in ERRORS)

    def rate(self, count: int) -> float:
        """`count` per second of this window."""
        return count / self.seconds if self.seconds else 0.0

    def add(self, outcome: str, cell: Cell) -> None:
        """Count one cell."""
        self.outcomes[outcome] += cell.count
        if outcome not in REFUSED and outcome != Outcome.CONNECTION:
            self.admitted.merge(cell.corrected)
        self.answers_503 += cell.answers_503
        self.with_retry_after += cell.retry_after


def window(record: Record, seconds: Iterable[int]) -> Window:
    """The requests that were meant to start in these seconds of the schedule."""
    wanted = frozenset(seconds)
    result = Window(len(wanted))
    for (second, _, _, outcome), cell in record.cells.items():
        if second in wanted:
            result.add(outcome, cell)
    return result


def whole(record: Record) -> Window:
    """Every request of the run, also those that journeys made after the schedule's end."""
    return window(record, range(max((key[0] for key in record.cells), default=-1) + 1))


def p99_of_admitted(run: Window, peak: Window) -> float | None:
    """The p99 in seconds of the whole run or of its peak, whichever is worse.

    A long quiet time must not hide a bad peak. None if nothing was admitted.
    """
    found = (run.admitted.quantile(0.99), peak.admitted.quantile(0.99))
    return max((p99 for p99 in found if p99 is not None), default=None)


def by_second(record: Record) -> list[Window]:
    """One window for each second from the start to the last second that has a request."""
    last = max((key[0] for key in record.cells), default=-1)
    result = [Window(1) for _ in range(last + 1)]
    for (second, _, _, outcome), cell in record.cells.items():
        if second >= 0:
            result[second].add(outcome, cell)
    return result


def seen_to_end(record: Record) -> bool:
    """Whether the generator came to the end of its schedule.

    One that was stopped writes its last line, too: that line says only that nothing is missing of
    what was done until then.
    """
    if not record.complete or record.info.ended == "completed":
        return record.complete
    return arrivals_of(record).scheduled >= expected_arrivals(record)


def seen_seconds(record: Record, schedule: Schedule) -> int:
    """How many whole seconds of the schedule the record covers: fewer if the run was stopped."""
    planned = math.ceil(schedule.duration_seconds)
    if seen_to_end(record):
        return planned
    return min(planned, max((key[0] for key in record.cells), default=0))


def last_complete_second(record: Record, elapsed_seconds: float) -> int:
    """The first second of which not all is known yet: a request may still time out, or be written.

    0 until one is complete.
    """
    schedule = record.schedule
    patience = schedule.request_timeout_seconds if schedule else 0.0
    return max(0, int(elapsed_seconds - patience - FLUSH_SECONDS))


def phase_seconds(phase: Phase, seen: int) -> range:
    """The whole seconds of a phase, at least one, as far as they were seen."""
    start = int(phase.start_seconds)
    return range(start, min(seen, max(start + 1, int(phase.end_seconds))))


def peak_seconds(schedule: Schedule) -> list[int]:
    """The whole seconds in which the plan stays at 90 % of its highest rate or more."""
    curve = schedule.curve
    needed = 0.9 * curve.peak_rps
    seconds = range(int(schedule.duration_seconds))
    # The arrivals of the second, not the rates at its borders: a step falls between two seconds.
    return [s for s in seconds if curve.cumulative(s + 1) - curve.cumulative(s) >= needed]


def quiet_seconds(record: Record, schedule: Schedule) -> range:
    """The whole seconds before anything happens.

    That is before the plan rises more than 10 % above its first rate and before the first fault;
    without the first second, in which connections are opened.
    """
    curve = schedule.curve
    until = int(schedule.duration_seconds)
    for second in range(until):
        if curve.rate(second + 1) > 1.1 * schedule.points[0][1]:
            until = second
            break
    faults = [start for _, start, _ in fault_spans(record)]
    until = min([until, *(int(start) for start in faults)])
    return range(min(1, max(0, until - 1)), until)


def overload_end(record: Record, schedule: Schedule, capacity_rps: float | None) -> int:
    """The second from which the surge is over for the target.

    With a known capacity: when the plan, times the requests that an arrival made on average, falls
    below it for good; else the end of the peak of the plan. The plan, since what was offered in
    one second is random.
    """
    peak = peak_seconds(schedule)
    end_of_peak = peak[-1] + 1 if peak else 0
    if capacity_rps is None:
        return end_of_peak
    started = sum(a.started for a in record.arrivals.values())
    per_arrival = whole(record).offered / started if started else 1.0
    curve = schedule.curve
    over = [
        second
        for second in range(int(schedule.duration_seconds))
        if curve.rate(second) * per_arrival > capacity_rps
    ]
    return over[-1] + 1 if over else end_of_peak


def seconds_to_recover(record: Record, from_second: int, seen: int) -> int | None:
    """Seconds from `from_second` until 95 % of what is offered is good for 3 s running, or None."""
    seconds = by_second(record)[:seen]
    for start in range(from_second, len(seconds) - RECOVERED_FOR_SECONDS + 1):
        stretch = seconds[start : start + RECOVERED_FOR_SECONDS]
        if all(w.offered and w.goodput >= _RECOVERED_SHARE * w.offered for w in stretch):
            return start - from_second
    return None


def arrivals_of(record: Record) -> Arrivals:
    """The arrivals of the whole run, of all workers."""
    result = Arrivals()
    for arrivals in record.arrivals.values():
        result.merge(arrivals)
    return result


def expected_arrivals(record: Record) -> int:
    """How many arrivals the schedule has: counted by whoever wrote it, never by what was done."""
    counted = [s.arrivals_of_all for s in record.schedules if s.arrivals_of_all is not None]
    return max(counted) if counted else sum(s.expected_arrivals for s in record.schedules)


def kept_share(record: Record) -> float | None:
    """Share of the arrivals that were due which the generator started in time; None before any.

    Of a run that was stopped only what was due until then: stopping is not being late.
    """
    found = arrivals_of(record)
    due = expected_arrivals(record) if seen_to_end(record) else found.scheduled
    return (found.started - found.late) / due if due else None


def first_touched_second(schedule: Schedule, fault_start_seconds: float) -> int:
    """The first second of which a request may still have been under way when a fault began.

    Requests count in the second in which they were meant to start, and take as long as the client
    waits at most: a fault at 13.0 s cuts short what was asked at 12.9 s.
    """
    return max(0, math.floor(fault_start_seconds - schedule.request_timeout_seconds))


def fault_spans(record: Record) -> list[tuple[str, float, float | None]]:
    """Faults as (sentence, start, end) in seconds of the schedule; end is None if not undone.

    One that comes and goes (flapping) has a span for each time that it was in.
    """
    schedule = record.schedule
    if schedule is None:
        return []
    spans: list[tuple[str, float, float | None]] = []
    open_since: dict[str, int] = {}
    for event in record.faults:
        words = f"{event.get('fault', '')} on {event.get('link', '')}"
        at = float(event["unix"]) - schedule.epoch_unix
        if event["event"] == "applied":
            open_since[words] = len(spans)
            spans.append((words, at, None))
        elif event["event"] == "undone" and words in open_since:
            index = open_since.pop(words)
            spans[index] = (words, spans[index][1], at)
    return spans
