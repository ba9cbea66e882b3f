"""What a record says happened, second by second and window by window: pure functions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from launchday.histogram import LogHistogram
from launchday.outcomes import ERRORS, REFUSED, Outcome
from launchday.record import Cell, Record, Schedule

_RECOVERED_SHARE = 0.95
_RECOVERED_FOR_SECONDS = 3


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


def window(record: Record, start_seconds: float, end_seconds: float) -> Window:
    """The requests meant to start in the whole seconds from start (included) to end (excluded)."""
    result = Window(max(0, int(end_seconds) - int(start_seconds)))
    for (second, _, _, outcome), cell in record.cells.items():
        if int(start_seconds) <= second < int(end_seconds):
            result.add(outcome, cell)
    return result


def by_second(record: Record) -> list[Window]:
    """One window for each second from the start to the last second that has a request."""
    last = max((key[0] for key in record.cells), default=-1)
    result = [Window(1) for _ in range(last + 1)]
    for (second, _, _, outcome), cell in record.cells.items():
        if second >= 0:
            result[second].add(outcome, cell)
    return result


def rate_at(schedule: Schedule, t: float) -> float:
    """Planned arrivals per second at `t` seconds."""
    for (t0, r0), (t1, r1) in zip(schedule.points, schedule.points[1:], strict=False):
        if t0 <= t <= t1:
            return r1 if t1 == t0 else r0 + (r1 - r0) * (t - t0) / (t1 - t0)
    return 0.0


def peak_span(schedule: Schedule) -> tuple[int, int]:
    """The whole seconds in which the plan is at 90 % of its highest rate or more."""
    threshold = 0.9 * max(rate for _, rate in schedule.points)
    seconds = [
        s
        for s in range(int(schedule.duration_seconds))
        if rate_at(schedule, s) >= threshold and rate_at(schedule, s + 1) >= threshold
    ]
    return (seconds[0], seconds[-1] + 1) if seconds else (0, int(schedule.duration_seconds))


def quiet_span(schedule: Schedule) -> tuple[int, int]:
    """The whole seconds before the plan first rises more than 10 % above its first rate.

    The first second is left out: connections are opened in it.
    """
    first = schedule.points[0][1]
    for second in range(int(schedule.duration_seconds)):
        if rate_at(schedule, second + 1) > 1.1 * first:
            return (min(1, second), second)
    return (1, int(schedule.duration_seconds))


def overload_end(record: Record, schedule: Schedule, capacity_rps: float | None) -> int:
    """The second from which the surge is over for the target.

    With a known capacity: after the last second that offered more than it; else the end of the
    peak of the plan.
    """
    if capacity_rps is None:
        return peak_span(schedule)[1]
    seconds = by_second(record)
    over = [s for s, w in enumerate(seconds) if w.offered > capacity_rps]
    return over[-1] + 1 if over else peak_span(schedule)[1]


def seconds_to_recover(record: Record, from_second: int) -> int | None:
    """Seconds from `from_second` until 95 % of what is offered is good for 3 s running, or None."""
    seconds = by_second(record)
    for start in range(from_second, len(seconds) - _RECOVERED_FOR_SECONDS + 1):
        stretch = seconds[start : start + _RECOVERED_FOR_SECONDS]
        if all(w.offered and w.goodput >= _RECOVERED_SHARE * w.offered for w in stretch):
            return start - from_second
    return None


def kept_share(record: Record) -> float | None:
    """Share of the expected arrivals that the generator started in time; None before any."""
    expected = sum(schedule.expected_arrivals for schedule in record.schedules)
    if not expected:
        return None
    in_time = sum(a.started - a.late for a in record.arrivals.values())
    return in_time / expected


def fault_spans(record: Record) -> list[tuple[str, float, float | None]]:
    """Faults as (sentence, start, end) in seconds of the schedule; end is None if not undone."""
    schedule = record.schedule
    if schedule is None:
        return []
    spans: dict[tuple[str, str], tuple[float, float | None]] = {}
    for event in record.faults:
        key = (str(event.get("link", "")), str(event.get("fault", "")))
        at = float(event["unix"]) - schedule.epoch_unix
        if event["event"] == "applied":
            spans[key] = (at, None)
        elif event["event"] == "undone" and key in spans:
            spans[key] = (spans[key][0], at)
    return [(f"{fault} on {link}", s, e) for (link, fault), (s, e) in spans.items()]
