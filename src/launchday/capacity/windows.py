"""Cuts a record into stretches of one planned rate, without faults."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

from launchday import timeline
from launchday.record import Record, Schedule

LEAST_SECONDS = 5
RAMP_WINDOW_SECONDS = 10
SAME_WITHIN = 0.10
"""A ramp that changes by less than this inside a window is as good as a step."""
BETWEEN_STEPS = "the way from one step to the next"


@dataclass(frozen=True)
class Stretch:
    """Whole seconds of the schedule, from `start` to before `end`.

    `name` is the phase, or "ramp". `reason` says why it is nothing to measure, empty if it may be;
    `rising` in what way the planned rate changes inside, empty if it does not.
    """

    start: int
    end: int
    name: str = ""
    reason: str = ""
    rising: str = ""

    @property
    def seconds(self) -> range:
        """The seconds."""
        return range(self.start, self.end)

    def words(self, run_id: str) -> str:
        """Where this is from, for people."""
        name = f" {self.name}" if self.name else ""
        return f"{run_id}{name}, {self.start}-{self.end} s"


def stretches(record: Record, schedule: Schedule) -> list[Stretch]:
    """The stretches in order of time, with those that are left out.

    A stretch has one planned rate. A ramp (and a rate that changes more often than every 5 s) is
    cut into windows of 10 s. Seconds that a fault may have touched are left out, and so is what
    remains shorter than 5 s.
    """
    seen = timeline.seen_seconds(record, schedule)
    plan = _plan(schedule, seen)
    faults = _faults(record, schedule)
    result: list[Stretch] = []

    def what(second: int) -> tuple[int | None, str]:
        fault = _in(faults, second)
        return (None, fault) if fault else (plan.get(second), "")

    for (of_plan, fault), group in groupby(range(seen), what):
        found = list(group)
        start, end = found[0], found[-1] + 1
        if fault:
            result.append(Stretch(start, end, reason=f"a fault was in: {fault}"))
        elif of_plan is None:
            result += _ramp(schedule, start, end)
        else:
            result.append(_held(schedule, start, end))
    return result


def _plan(schedule: Schedule, seen: int) -> dict[int, int]:
    """The seconds with one rate, each with the number of its stretch."""
    result: dict[int, int] = {}
    for number, (start, end) in enumerate(_level(schedule)):
        first, last = math.ceil(start - 1e-9), math.floor(end + 1e-9)
        if last - first >= LEAST_SECONDS:
            result.update(dict.fromkeys(range(first, min(last, seen)), number))
    return result


def _level(schedule: Schedule) -> Iterator[tuple[float, float]]:
    """From when to when the planned rate is the same."""
    start = end = 0.0
    rate = -1.0
    for (t0, r0), (t1, r1) in pairwise(schedule.points):
        level = math.isclose(r0, r1, rel_tol=1e-6, abs_tol=1e-9)
        if level and math.isclose(r0, rate, rel_tol=1e-6, abs_tol=1e-9) and t0 == end:
            end = t1
            continue
        # Between two points at the same time there is a step, and no time.
        if t1 > t0:
            if end > start and rate > 0:
                yield start, end
            start, end, rate = (t0, t1, r0) if level else (t1, t1, -1.0)
    if end > start and rate > 0:
        yield start, end


def _faults(record: Record, schedule: Schedule) -> list[tuple[str, int, float]]:
    """Faults as (words, first second, end), with what they may have touched."""
    patience = schedule.request_timeout_seconds
    return [
        (
            words,
            timeline.first_touched_second(schedule, start),
            math.inf if end is None else end + min(patience, 1.0),
        )
        for words, start, end in timeline.fault_spans(record)
    ]


def _in(faults: list[tuple[str, int, float]], second: int) -> str:
    return next((words for words, start, end in faults if start <= second < end), "")


def _held(schedule: Schedule, start: int, end: int) -> Stretch:
    name = _phase(schedule, start, end)
    if end - start < LEAST_SECONDS:
        return Stretch(start, end, name, f"only {end - start} s (at least {LEAST_SECONDS} needed)")
    return Stretch(start, end, name)


def _phase(schedule: Schedule, start: int, end: int) -> str:
    middle = (start + end) / 2
    names = [p.name for p in schedule.phases if p.start_seconds <= middle < p.end_seconds]
    return names[0] if names else ""


def _ramp(schedule: Schedule, start: int, end: int) -> Iterator[Stretch]:
    """Windows of 10 s; a shorter rest belongs to the last one, or is left out."""
    windows = max(1, (end - start) // RAMP_WINDOW_SECONDS)
    for k in range(windows):
        first = start + k * RAMP_WINDOW_SECONDS
        last = end if k == windows - 1 else first + RAMP_WINDOW_SECONDS
        yield _ramp_window(schedule, first, last)


def _ramp_window(schedule: Schedule, start: int, end: int) -> Stretch:
    curve = schedule.curve
    rates = [curve.cumulative(s + 1) - curve.cumulative(s) for s in range(start, end)]
    if max(rates) <= 0:
        return Stretch(start, end, "pause", "no arrivals were planned")
    words = f"the planned rate changes from {rates[0]:.4g} to {rates[-1]:.4g} arrivals/s"
    if end - start < LEAST_SECONDS:
        return Stretch(start, end, "ramp", BETWEEN_STEPS)
    changes = max(rates) - min(rates) > SAME_WITHIN * max(rates)
    return Stretch(start, end, "ramp", rising=words if changes else "")
