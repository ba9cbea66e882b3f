"""A record second by second: what was asked, what became of it, how much was under way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from launchday.capacity.steps import Objective
from launchday.counts import Cell
from launchday.histogram import LogHistogram, middle_of
from launchday.outcomes import ERRORS, REFUSED, Outcome
from launchday.record import Record

_Real: TypeAlias = npt.NDArray[np.float64]
_Whole: TypeAlias = npt.NDArray[np.int64]
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
    answered, served = _Latencies(), _Latencies()
    own_seconds = record.info.rules.objective_seconds
    for (at, _, _, outcome), cell in record.cells.items():
        if at < 0:
            continue
        second = result.get(at)
        if second is None:
            second = result[at] = Second()
        _count(second, outcome, cell)
        if outcome in _DONE:
            second.good += _good(outcome, cell, objective, own_seconds)
        if outcome not in _UNANSWERED:
            answered.add(at, cell.service)
            if outcome not in REFUSED:
                served.add(at, cell.service)
    _add_latencies(result, answered, served)
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
        second.answered += cell.count
        second.served += 0 if refused else cell.count


def mean_of(latencies: LogHistogram) -> float | None:
    """The mean in seconds (at most 1 % off), or None of nothing."""
    counts = latencies.counts
    took = sum(count * middle_of(bucket) for bucket, count in counts.items())
    return took / latencies.total if latencies.total else None


def _good(outcome: str, cell: Cell, objective: Objective, own_seconds: float) -> int:
    if objective.quantile is None:
        return cell.count
    # A bucket may lie on both sides of the run's own objective: of that the outcomes are exact.
    if math.isclose(objective.seconds, own_seconds):
        return cell.count if outcome == Outcome.OK else 0
    counts = cell.corrected.counts
    return sum(count for b, count in counts.items() if middle_of(b) <= objective.seconds)


class _Latencies:
    """Many histograms as three columns: an hour of them is a million buckets."""

    def __init__(self) -> None:
        self._at: list[int] = []
        self._lengths: list[int] = []
        self._buckets: list[int] = []
        self._counts: list[int] = []

    def add(self, at: int, latencies: LogHistogram) -> None:
        """Add those of requests that were meant to start in second `at`."""
        self._at.append(at)
        self._lengths.append(len(latencies.counts))
        self._buckets.extend(latencies.counts)
        self._counts.extend(latencies.counts.values())

    def columns(self) -> tuple[_Whole, _Real, _Real]:
        """Second, latency in seconds, and how many."""
        at = np.repeat(np.array(self._at, dtype=np.int64), self._lengths)
        buckets, where = np.unique(np.array(self._buckets, dtype=np.int64), return_inverse=True)
        middles = np.array([middle_of(int(bucket)) for bucket in buckets], dtype=float)
        return at, middles[where], np.array(self._counts, dtype=float)


def _add_latencies(seconds: dict[int, Second], answered: _Latencies, served: _Latencies) -> None:
    at, took, count = answered.columns()
    if not len(at):
        return
    finished, in_flight = spread(at, took, count)
    answered_seconds = _sums(at, count * took, len(finished))
    at, took, count = served.columns()
    served_seconds = _sums(at, count * took, len(finished))
    for k in np.flatnonzero(in_flight):
        second = seconds.setdefault(int(k), Second())
        second.finished, second.in_flight = float(finished[k]), float(in_flight[k])
        second.answered_seconds = float(answered_seconds[k])
        second.served_seconds = float(served_seconds[k])


def spread(at: _Whole, took: _Real, count: _Real) -> tuple[_Real, _Real]:
    """How many answers come in each second, and how many requests are open in it on average.

    A request that starts at u, uniform in second `at`, and takes l: by the end of t seconds more
    it is answered with probability clip(t - l, 0, 1), and was open for the mean of min(l, t - u).
    """
    whole = took.astype(np.int64)
    part = took - whole
    length = int((at + whole).max()) + 2
    finished = _sums(at + whole, count * (1 - part), length)
    finished += _sums(at + whole + 1, count * part, length)
    in_flight = np.zeros(length)
    before = np.zeros(len(at))
    t = 0
    while len(at):
        t += 1
        opened = _open_by(t, took)
        in_flight += _sums(at + t - 1, count * (opened - before), length)
        left = took > t - 1
        at, took, count, before = at[left], took[left], count[left], opened[left]
    return finished, in_flight


def _sums(at: _Whole, weights: _Real, length: int) -> _Real:
    """The sum of the weights of each second."""
    return np.bincount(at, weights=weights, minlength=length).astype(np.float64)


def _open_by(t: int, took: _Real) -> _Real:
    within = (took * took - (t - 1) ** 2) / 2 + took * (t - took)
    result: _Real = np.where(took <= t - 1, took, np.where(took >= t, t - 0.5, within))
    return result
