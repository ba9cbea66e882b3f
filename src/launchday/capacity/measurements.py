"""From records to points: means over short windows; what is left out is said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from launchday import timeline
from launchday.record import Record, Schedule

WINDOW_SECONDS = 5
_WARM_UP_SECONDS = 2
_KEPT_SHARE = 0.98


@dataclass(frozen=True)
class Point:
    """One window of a run: rates in requests per second, p99 of admitted in seconds."""

    run_id: str
    start_seconds: int
    offered_rps: float
    goodput_rps: float
    p99_seconds: float

    @property
    def saturated(self) -> bool:
        """Whether more was offered than was answered well."""
        return self.goodput_rps < 0.98 * self.offered_rps


@dataclass(frozen=True)
class LeftOut:
    """A window or a run that is no measurement of capacity, and why."""

    run_id: str
    reason: str


@dataclass(frozen=True)
class Measurements:
    """Points of one or more runs of the same target, and what was left out."""

    points: tuple[Point, ...]
    left_out: tuple[LeftOut, ...]
    objective_seconds: float


def measure(records: Iterable[Record], objective_seconds: float) -> Measurements:
    """Cut each record into windows of 5 s.

    Left out: the first 2 s, seconds in which the planned rate changes by more than a tenth within
    the window, windows with an injected fault, and windows in which the generator did not keep
    98 % of its schedule.
    """
    points: list[Point] = []
    left_out: list[LeftOut] = []
    for record in records:
        if record.schedule is None:
            left_out.append(LeftOut(record.info.run_id, "it made no request"))
            continue
        for start in range(
            _WARM_UP_SECONDS,
            int(record.schedule.duration_seconds) - WINDOW_SECONDS + 1,
            WINDOW_SECONDS,
        ):
            found = _point(record, record.schedule, start)
            if isinstance(found, Point):
                points.append(found)
            else:
                left_out.append(found)
    return Measurements(tuple(points), tuple(left_out), objective_seconds)


def _point(record: Record, schedule: Schedule, start: int) -> Point | LeftOut:
    end = start + WINDOW_SECONDS
    window = timeline.window(record, start, end)
    p99 = window.admitted.quantile(0.99)
    reason = _why_not(record, schedule, start, end)
    if reason is None and p99 is None:
        reason = "nothing was admitted"
    if reason is not None or p99 is None:
        return LeftOut(record.info.run_id, f"seconds {start}-{end}: {reason}")
    return Point(
        record.info.run_id, start, window.rate(window.offered), window.rate(window.goodput), p99
    )


def _why_not(record: Record, schedule: Schedule, start: int, end: int) -> str | None:
    rates = [timeline.rate_at(schedule, t) for t in range(start, end + 1)]
    if max(rates) > 1.1 * min(rates):
        return "the planned rate changed"
    for words, fault_start, fault_end in timeline.fault_spans(record):
        if fault_start < end and (fault_end is None or fault_end > start):
            return f"fault active ({words})"
    arrivals = [a for s, a in record.arrivals.items() if start <= s < end]
    scheduled = sum(a.scheduled for a in arrivals)
    in_time = sum(a.started - a.late for a in arrivals)
    if in_time < _KEPT_SHARE * scheduled or not scheduled:
        return "the generator did not keep its schedule"
    return None
