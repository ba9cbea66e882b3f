"""A discrete-event M/G/C service behind an admission gate: seeded, without a clock or I/O.

Requests arrive by themselves (open loop). Admitted ones take one of C slots of the service in
the order of their admission, or wait for one inside it, where no gate sees them. What a gate
refuses is gone: clients do not retry.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from launchday.admission.limits import Limit, LimitChange, Outcome

Serve = Callable[[float, float], float]


@dataclass(frozen=True)
class Trace:
    """What comes: arrival times and the work of each in seconds, in order, for `slots` slots.

    `serve` turns (start, work) into the end of the service; None: start + work.
    """

    slots: int
    arrivals: list[float]
    works: list[float]
    ends_at: float
    objective_seconds: float = 0.5
    serve: Serve | None = None


class Queue(Protocol):
    """Where requests wait for the gate; tuples are (joined at, work)."""

    def join(self, now: float, work: float, limit: int) -> bool: ...
    def next(self, now: float) -> tuple[float, float] | None: ...


class ShortQueue:
    """The queue of `Limiter`: first in, first out, a fixed length, one timeout for all.

    `Limiter` itself needs an event loop for its timers. This leaves the timers out: whoever waited
    longer is dropped when the queue is next looked at, which no other request can notice.
    """

    def __init__(self, length: int, timeout_seconds: float = 0.1) -> None:
        self._length = length
        self._timeout_seconds = timeout_seconds
        self._waiting: deque[tuple[float, float]] = deque()

    def join(self, now: float, work: float, limit: int) -> bool:
        waiting = self._waiting
        while waiting and waiting[0][0] + self._timeout_seconds <= now:
            waiting.popleft()
        if len(waiting) >= self._length:
            return False
        waiting.append((now, work))
        return True

    def next(self, now: float) -> tuple[float, float] | None:
        waiting = self._waiting
        while waiting:
            first = waiting.popleft()
            if first[0] + self._timeout_seconds > now:
                return first
        return None


class CoDelQueue:
    """The queue of the reference design: CoDel with adaptive LIFO.

    Source: Maurer, "Fail at Scale" (2015), as in folly: overloaded when the queue was not empty
    during the last interval; then the newest is served first and none waits longer than twice
    the target. Three times the limit may wait; the oldest gives way to a newcomer.
    """

    def __init__(self, target_seconds: float = 0.005, interval_seconds: float = 0.1) -> None:
        self._target_seconds = target_seconds
        self._interval_seconds = interval_seconds
        self._waiting: deque[tuple[float, float]] = deque()
        self._empty_at = 0.0

    def join(self, now: float, work: float, limit: int) -> bool:
        waiting = self._waiting
        self._expire(now)
        waiting.append((now, work))
        if len(waiting) <= 3 * limit:
            return True
        waiting.popleft()
        return False

    def next(self, now: float) -> tuple[float, float] | None:
        overloaded = self._expire(now)
        if not self._waiting:
            return None
        return self._waiting.pop() if overloaded else self._waiting.popleft()

    def _expire(self, now: float) -> bool:
        waiting = self._waiting
        if not waiting:
            self._empty_at = now
            return False
        overloaded = now - self._empty_at > self._interval_seconds
        longest = 2 * self._target_seconds if overloaded else self._interval_seconds
        while waiting and waiting[0][0] + longest <= now:
            waiting.popleft()
        return overloaded


@dataclass
class Outcomes:
    """What became of the requests, by the second of their arrival (good ones: of their answer)."""

    trace: Trace
    offered: list[int]
    admitted: list[int]
    good: list[int]
    latencies: list[tuple[float, float]] = field(default_factory=list)
    changes: list[tuple[float, LimitChange]] = field(default_factory=list)

    def shed_share(self, spans: tuple[tuple[int, int], ...]) -> float:
        """The share of the requests that came in these spans of seconds and was refused."""
        offered = sum(sum(self.offered[begin:end]) for begin, end in spans)
        admitted = sum(sum(self.admitted[begin:end]) for begin, end in spans)
        return 1 - admitted / offered if offered else 0.0

    def percentile_seconds(self, share: float, begin: float, end: float) -> float:
        """Latency from arrival to answer of admitted requests that came between the two times.

        When none of them was answered: how long they have waited at the end, at least.
        """
        ordered = sorted(seconds for at, seconds in self.latencies if begin <= at < end)
        return ordered[int(share * (len(ordered) - 1))] if ordered else self.trace.ends_at - end

    def limits(self, begin: float, end: float, before: int) -> list[int]:
        """Every limit in force between the two times; `before` was the first of all."""
        for at, change in self.changes:
            if at < begin:
                before = change.new
        return [before] + [change.new for at, change in self.changes if begin <= at < end]


def simulate(trace: Trace, limit: Limit, queue: Queue) -> Outcomes:
    """Play the trace against a gate with this limit and queue."""
    seconds = int(trace.ends_at) + 1
    outcomes = Outcomes(trace, [0] * seconds, [0] * seconds, [0] * seconds)
    _Gate(trace, limit, queue, outcomes).play()
    return outcomes


class _Gate:
    def __init__(self, trace: Trace, limit: Limit, queue: Queue, outcomes: Outcomes) -> None:
        self._trace = trace
        self._serve = trace.serve
        self._limit = limit
        self._queue = queue
        self._outcomes = outcomes
        self._inflight = 0
        self._slots_free_at = [0.0] * trace.slots
        # (ends at, arrived at, admitted at)
        self._running: list[tuple[float, float, float]] = []

    def play(self) -> None:
        """Go through all arrivals; what ends between them ends first."""
        offered, running = self._outcomes.offered, self._running
        queue, limit = self._queue, self._limit
        for now, work in zip(self._trace.arrivals, self._trace.works, strict=True):
            while running and running[0][0] <= now:
                self._finish()
            offered[int(now)] += 1
            # The limit may have grown since the last answer: whoever waits goes first.
            if self._inflight < limit.limit and not self._grant(now):
                self._admit(now, now, work)
            else:
                queue.join(now, work, limit.limit)
        while running and running[0][0] <= self._trace.ends_at:
            self._finish()

    def _grant(self, now: float) -> bool:
        while self._inflight < self._limit.limit:
            waiting = self._queue.next(now)
            if waiting is None:
                return False
            self._admit(now, *waiting)
        return True

    def _admit(self, now: float, arrived_at: float, work: float) -> None:
        free = self._slots_free_at
        start = free[0] if free[0] > now else now
        end = start + work if self._serve is None else self._serve(start, work)
        heapq.heapreplace(free, end)
        heapq.heappush(self._running, (end, arrived_at, now))
        self._inflight += 1
        self._outcomes.admitted[int(arrived_at)] += 1

    def _finish(self) -> None:
        now, arrived_at, admitted_at = heapq.heappop(self._running)
        outcomes, inflight = self._outcomes, self._inflight
        latency = now - arrived_at
        outcomes.latencies.append((arrived_at, latency))
        if latency <= self._trace.objective_seconds:
            outcomes.good[int(now)] += 1
        self._inflight = inflight - 1
        change = self._limit.on_sample(now - admitted_at, inflight, Outcome.SUCCESS, now)
        if change is not None:
            outcomes.changes.append((now, change))
        self._grant(now)
