"""A discrete-event M/G/C service behind an admission gate: seeded, without a clock or I/O.

Requests arrive by themselves (open loop). Admitted ones take one of C slots of the service in
the order of their admission, or wait for one inside it, where no gate sees them. What a gate
refuses is gone: clients do not retry.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from launchday.admission.class_queue import Waiter
from launchday.admission.gate import Gate
from launchday.admission.limits import LimitChange, Outcome
from launchday.admission.refusal import Refusal

CRITICAL = 1
# As `Limiter` has them.
TICK_SECONDS = 0.1
EXPIRY_SECONDS = 0.005

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
    criticalities: list[int] | None = None


@dataclass
class Outcomes:
    """What became of the requests, by the second of their arrival (good ones: of their answer)."""

    trace: Trace
    offered: list[int]
    admitted: list[int]
    good: list[int]
    latencies: list[tuple[float, float]] = field(default_factory=list)
    changes: list[tuple[float, LimitChange]] = field(default_factory=list)
    admitted_by_class: tuple[list[float], ...] = field(
        default_factory=lambda: tuple([] for _ in range(4))
    )

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


def simulate(trace: Trace, gate: Gate) -> Outcomes:
    """Play the trace against the gate."""
    seconds = int(trace.ends_at) + 1
    outcomes = Outcomes(trace, [0] * seconds, [0] * seconds, [0] * seconds)
    _Play(trace, gate, outcomes).play()
    return outcomes


class _Waiting(Waiter):
    def __init__(
        self,
        criticality: int,
        arrived_at: float,
        work: float,
        start: Callable[[float, float, int], None],
    ) -> None:
        super().__init__(criticality)
        self._arrived_at = arrived_at
        self._work = work
        self._start = start

    def settle(self, refusal: Refusal | None) -> None:
        if refusal is None:
            self._start(self._arrived_at, self._work, self.criticality)


class _Play:
    def __init__(self, trace: Trace, gate: Gate, outcomes: Outcomes) -> None:
        self._trace = trace
        self._serve = trace.serve
        self._gate = gate
        self._outcomes = outcomes
        self._now = 0.0
        self._next_tick = TICK_SECONDS
        self._next_expiry = math.inf
        self._slots_free_at = [0.0] * trace.slots
        # (ends at, number, arrived at, admitted at, criticality)
        self._running: list[tuple[float, int, float, float, int]] = []
        self._started = 0

    def play(self) -> None:
        """Go through all arrivals; what happens between them happens first."""
        trace = self._trace
        classes = trace.criticalities or [CRITICAL] * len(trace.arrivals)
        for now, work, criticality in zip(trace.arrivals, trace.works, classes, strict=True):
            self._advance(now)
            self._outcomes.offered[int(now)] += 1
            self._arrive(now, work, criticality)
        self._advance(trace.ends_at)

    def _arrive(self, now: float, work: float, criticality: int) -> None:
        gate = self._gate
        if gate.offer(criticality, 1) is not None:
            return
        if gate.admit(criticality, 1, now):
            self._start(now, work, criticality)
            return
        waiter = _Waiting(criticality, now, work, self._start)
        if gate.join(waiter, now) is None and gate.queued == 1:
            self._next_expiry = now + EXPIRY_SECONDS

    def _advance(self, until: float) -> None:
        """Let everything happen that is due by then, in its order."""
        running = self._running
        while True:
            ends_at = running[0][0] if running else math.inf
            at = min(ends_at, self._next_tick, self._next_expiry)
            if at > until:
                break
            self._now = at
            if at == ends_at:
                self._finish()
            elif at == self._next_tick:
                self._next_tick += TICK_SECONDS
                self._gate.tick(at)
            else:
                self._gate.expire(at)
                self._next_expiry = at + EXPIRY_SECONDS if self._gate.queued else math.inf
        self._now = until

    def _start(self, arrived_at: float, work: float, criticality: int) -> None:
        free, now = self._slots_free_at, self._now
        start = free[0] if free[0] > now else now
        end = start + work if self._serve is None else self._serve(start, work)
        heapq.heapreplace(free, end)
        self._started += 1
        heapq.heappush(self._running, (end, self._started, arrived_at, now, criticality))
        self._outcomes.admitted[int(arrived_at)] += 1
        self._outcomes.admitted_by_class[criticality].append(arrived_at)

    def _finish(self) -> None:
        now, _, arrived_at, admitted_at, criticality = heapq.heappop(self._running)
        outcomes = self._outcomes
        latency = now - arrived_at
        outcomes.latencies.append((arrived_at, latency))
        if latency <= self._trace.objective_seconds:
            outcomes.good[int(now)] += 1
        change = self._gate.release(criticality, 1, now - admitted_at, Outcome.SUCCESS, now)
        if change is not None:
            outcomes.changes.append((now, change))
