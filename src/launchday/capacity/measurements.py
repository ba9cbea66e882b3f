"""From records to points: means over short windows; what is left out is said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from launchday import timeline
from launchday.record import Record, Schedule

WINDOW_SECONDS = 3
_WARM_UP_SECONDS = 2
_KEPT_SHARE = 0.98


@dataclass(frozen=True)
class Point:
    """One window of a run: rates in requests per second, p99 of admitted in seconds.

    `stretch` numbers the times in which nothing changed: the windows of one belong together.
    """

    run_id: str
    stretch: int
    offered_rps: float
    goodput_rps: float
    refused_rps: float
    p99_seconds: float

    @property
    def saturated(self) -> bool:
        """Whether the target refused some and answered the rest well: it was at its limit.

        Failures are no sign of it: a target that answers errors is broken, not full.
        """
        answered = self.offered_rps - self.refused_rps
        return self.refused_rps >= 0.02 * self.offered_rps and self.goodput_rps >= 0.98 * answered


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
    """Cut each record into windows of 3 s in which nothing changed.

    Left out: the first 2 s, seconds in which the planned rate changes by more than a tenth, seconds
    with an injected fault, and windows in which the generator did not keep 98 % of its schedule.

    Raises:
        ValueError: the records are of different targets or objectives.
    """
    records = list(records)
    if len({(r.info.target, r.info.rules.objective_seconds) for r in records}) > 1:
        raise ValueError("the records are of different targets or objectives: plan them apart")
    points: list[Point] = []
    left_out: list[LeftOut] = []
    for record in records:
        if record.schedule is None:
            left_out.append(LeftOut(record.info.run_id, "it made no request"))
            continue
        for found in _windows(record, record.schedule):
            if isinstance(found, Point):
                points.append(found)
            else:
                left_out.append(found)
    return Measurements(tuple(points), tuple(left_out), objective_seconds)


def _windows(record: Record, schedule: Schedule) -> Iterator[Point | LeftOut]:
    seconds = range(timeline.seen_seconds(record, schedule))
    for reason, group in groupby(seconds, key=lambda s: _why_not(record, schedule, s)):
        stretch = list(group)
        if reason is not None:
            yield LeftOut(record.info.run_id, f"seconds {stretch[0]}-{stretch[-1] + 1}: {reason}")
            continue
        last_start = stretch[-1] + 1 - WINDOW_SECONDS
        for start in range(stretch[0], last_start + 1, WINDOW_SECONDS):
            yield _point(record, stretch[0], start)


def _why_not(record: Record, schedule: Schedule, second: int) -> str | None:
    if second < _WARM_UP_SECONDS:
        return "warm-up"
    curve = schedule.curve
    rates = curve.rate(second), curve.rate(second + 1)
    if max(rates) > 1.1 * min(rates):
        return "the planned rate changed"
    for words, start, end in timeline.fault_spans(record):
        if start < second + 1 and (end is None or end > second):
            return f"fault active ({words})"
    return None


def _point(record: Record, stretch: int, start: int) -> Point | LeftOut:
    end = start + WINDOW_SECONDS
    window = timeline.window(record, range(start, end))
    p99 = window.admitted.quantile(0.99)
    arrivals = [a for s, a in record.arrivals.items() if start <= s < end]
    in_time = sum(a.started - a.late for a in arrivals)
    if in_time < _KEPT_SHARE * sum(a.scheduled for a in arrivals) or p99 is None:
        why = "nothing was admitted" if p99 is None else "the generator did not keep its schedule"
        return LeftOut(record.info.run_id, f"seconds {start}-{end}: {why}")
    return Point(
        run_id=record.info.run_id,
        stretch=stretch,
        offered_rps=window.rate(window.offered),
        goodput_rps=window.rate(window.goodput),
        refused_rps=window.rate(window.refused),
        p99_seconds=p99,
    )
