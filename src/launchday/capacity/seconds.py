"""A record second by second: what was asked, what became of it, how much was under way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from launchday.capacity.steps import Objective
from launchday.counts import Cell
from launchday.histogram import LogHistogram, middle_of
from launchday.outcomes import ERRORS, REFUSED, Outcome
from launchday.record import Record

_UNANSWERED = frozenset({Outcome.TIMEOUT, Outcome.CONNECTION})
_DONE = frozenset({Outcome.OK, Outcome.SLOW})


@dataclass
class Second:
    """Requests that were meant to start in some seconds (one, or several added up).

    `admitted` holds the corrected latency of those that were let in, timeouts at the time when
    their client gave up. `served` were let in and answered, well or not; `served_seconds` is how
    long they took from when they were sent. `answered` and `answered_seconds` count the refused
    too. `finished` answers came and `in_flight` answered requests were open in this very second,
    whenever they were meant to start.
    """

    offered: int = 0
    good: int = 0
    shed: int = 0
    errors: int = 0
    timeouts: int = 0
    served: int = 0
    served_seconds: float = 0.0
    answered: int = 0
    answered_seconds: float = 0.0
    finished: float = 0.0
    in_flight: float = 0.0
    admitted: LogHistogram = field(default_factory=LogHistogram)

    def add(self, other: Second) -> None:
        """Count what `other` counted."""
        for name, value in vars(other).items():
            if name != "admitted":
                setattr(self, name, getattr(self, name) + value)
        self.admitted.merge(other.admitted)


def total(seconds: Iterable[Second]) -> Second:
    """All of them as one; its `in_flight` is a sum too: divide by the seconds."""
    result = Second()
    for each in seconds:
        result.add(each)
    return result


def by_second(record: Record, objective: Objective) -> Mapping[int, Second]:
    """Every second of the record that has requests, or answers to earlier ones.

    Good is a 2xx answer within `objective`, whatever the objective of the run was; of an objective
    for the mean, any 2xx.
    """
    result: dict[int, Second] = {}
    own_seconds = record.info.rules.objective_seconds
    for (at, _, _, outcome), cell in record.cells.items():
        if at >= 0:
            second = result.setdefault(at, Second())
            _count(second, outcome, cell)
            if outcome in _DONE:
                second.good += _good(outcome, cell, objective, own_seconds)
            if outcome not in _UNANSWERED:
                _spread_over(result, at, cell.service)
    return result


def _count(second: Second, outcome: str, cell: Cell) -> None:
    second.offered += cell.count
    refused = outcome in REFUSED
    if refused:
        second.shed += cell.count
    elif outcome in ERRORS:
        second.errors += cell.count
    if outcome == Outcome.TIMEOUT:
        second.timeouts += cell.count
    if not refused and outcome != Outcome.CONNECTION:
        second.admitted.merge(cell.corrected)
    if outcome not in _UNANSWERED:
        took = _sum_of(cell.service)
        second.answered += cell.count
        second.answered_seconds += took
        if not refused:
            second.served += cell.count
            second.served_seconds += took


def _sum_of(latencies: LogHistogram) -> float:
    return sum(count * middle_of(bucket) for bucket, count in latencies.counts.items())


def mean_of(latencies: LogHistogram) -> float | None:
    """The mean in seconds (at most 1 % off), or None of nothing."""
    return _sum_of(latencies) / latencies.total if latencies.total else None


def _good(outcome: str, cell: Cell, objective: Objective, own_seconds: float) -> int:
    if objective.quantile is None:
        return cell.count
    # A bucket may lie on both sides of the run's own objective: of that the outcomes are exact.
    if math.isclose(objective.seconds, own_seconds):
        return cell.count if outcome == Outcome.OK else 0
    counts = cell.corrected.counts
    return sum(count for b, count in counts.items() if middle_of(b) <= objective.seconds)


def _spread_over(seconds: dict[int, Second], at: int, service: LogHistogram) -> None:
    for bucket, count in service.counts.items():
        for later, (finished, in_flight) in enumerate(_spread(bucket)):
            second = seconds.setdefault(at + later, Second())
            second.finished += count * finished
            second.in_flight += count * in_flight


@lru_cache(maxsize=8192)
def _spread(bucket: int) -> tuple[tuple[float, float], ...]:
    """Where the answer comes and how long the request is open, for each second from its start.

    A request that starts at u, uniform in 0..1, and takes l: by t it is answered with probability
    clip(t - l, 0, 1), and was open for the mean of min(l, t - u) seconds.
    """
    took = middle_of(bucket)
    edges = range(int(took) + 3)
    answered = [min(1.0, max(0.0, t - took)) for t in edges]
    opened = [_open_by(t, took) for t in edges]
    return tuple(
        (answered[t + 1] - answered[t], opened[t + 1] - opened[t]) for t in range(len(edges) - 1)
    )


def _open_by(t: int, took: float) -> float:
    if t == 0:
        return 0.0
    if took <= t - 1:
        return took
    if took >= t:
        return t - 0.5
    return (took * took - (t - 1) ** 2) / 2 + took * (t - took)
