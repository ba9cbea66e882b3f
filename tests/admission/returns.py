"""A discrete-event service with clients that come back when told: seeded, no clock, no I/O.

C slots, lognormal 50 ms (coefficient of variation 0.5), a fixed limit of 1.2 C and a short CoDel
queue before them. What is refused asks a pacer when to return, and its client obeys or does not.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import accumulate, chain
from random import Random
from typing import Protocol

from launchday.admission.limits import FixedLimit

MEAN_SECONDS = 0.05
SIGMA = math.sqrt(math.log(1 + 0.5**2))
MU = math.log(MEAN_SECONDS) - SIGMA**2 / 2
TICK_SECONDS = 0.1
RATE_SECONDS = 2.0
INTERVAL_SECONDS = 0.1
TARGET_SECONDS = 0.005
IGNORED_RETRIES = 3
CRITICAL = 1


class Pacer(Protocol):
    """What the service tells its rates to, and asks when a refused client should return."""

    def rates(
        self, now: float, *, drain_rps: float, offered_rps: float, overloaded: bool
    ) -> None: ...
    def draw(self, now: float, criticality: int, queued: int) -> int: ...


class Clients(Enum):
    """What a refused client does: returns when told, once or until admitted; retries at once."""

    OBEY_ONCE = "obey_once"
    OBEY = "obey"
    IGNORE = "ignore"


@dataclass(frozen=True)
class Load:
    """Fresh clients: (seconds, offered as a multiple of the capacity), one stage after another."""

    slots: int
    stages: tuple[tuple[float, float], ...]
    clients: Clients = Clients.OBEY_ONCE
    seed: int = 1

    @property
    def capacity_rps(self) -> float:
        """What the slots can serve, in requests per second."""
        return self.slots / MEAN_SECONDS

    @property
    def ends_at(self) -> float:
        """When the last stage is over, in seconds."""
        return sum(seconds for seconds, _ in self.stages)

    def arrivals(self, random: Random) -> Iterator[float]:
        """Poisson arrivals of fresh clients."""
        begin = 0.0
        for seconds, ratio in self.stages:
            now = begin
            while ratio and (now := now + random.expovariate(ratio * self.capacity_rps)) < (
                begin + seconds
            ):
                yield now
            begin += seconds


@dataclass
class Told:
    """What became of everyone: what each refusal was told, and whether each return was admitted."""

    refusals: list[tuple[float, int]] = field(default_factory=list)
    returns: list[tuple[float, bool]] = field(default_factory=list)
    fresh: list[tuple[float, bool]] = field(default_factory=list)

    @property
    def admitted_share(self) -> float:
        """The share of the returns that was admitted."""
        return sum(admitted for _, admitted in self.returns) / len(self.returns)

    def peak_to_mean(self, share: float = 0.97) -> float:
        """Peak over mean of the returns per second while they last: until this share is back."""
        counts = Counter(int(at) for at, _ in self.returns)
        seconds = range(min(counts), max(counts) + 1)
        sums = list(accumulate(counts[second] for second in seconds))
        lasting = 1 + bisect.bisect_left(sums, share * sums[-1])
        return max(counts.values()) * lasting / sums[lasting - 1]

    def admitted_between(self, begin: float, end: float) -> int:
        """How many of those who came between the two times were admitted."""
        return sum(ok for at, ok in chain(self.fresh, self.returns) if begin <= at < end)

    def told(self, begin: float, end: float) -> list[int]:
        """The seconds told between the two times."""
        return [seconds for at, seconds in self.refusals if begin <= at < end]


class Service:
    """Plays a load; `play` returns what became of everyone."""

    def __init__(self, load: Load, pacer: Pacer) -> None:
        self._load = load
        self._pacer = pacer
        self._random = Random(load.seed)
        self._limit = FixedLimit(math.ceil(1.2 * load.slots))
        self._inflight = 0
        self._slots_free_at = [0.0] * load.slots
        self._running: list[float] = []
        # (joined at, tries before)
        self._waiting: deque[tuple[float, int]] = deque()
        self._empty_at = 0.0
        self._returning: list[tuple[float, int]] = []
        self._offered = self._drained = self._refused = 0
        self._offered_rps = self._drain_rps = self._refused_rps = 0.0
        self._told = Told()

    def play(self) -> Told:
        """Go through everything that happens until the last stage is over."""
        fresh = self._load.arrivals(Random(self._load.seed + 1))
        next_fresh = next(fresh, math.inf)
        next_tick = TICK_SECONDS
        while True:
            returns_at = self._returning[0][0] if self._returning else math.inf
            finishes_at = self._running[0] if self._running else math.inf
            now = min(next_fresh, returns_at, finishes_at, next_tick)
            if now >= self._load.ends_at:
                return self._told
            self._expire(now)
            if now == finishes_at:
                self._finish(now)
            elif now == next_tick:
                self._tick(now)
                next_tick += TICK_SECONDS
            elif now == returns_at:
                self._offer(now, heapq.heappop(self._returning)[1])
            else:
                self._offer(now, 0)
                next_fresh = next(fresh, math.inf)

    def _offer(self, now: float, tries: int) -> None:
        self._offered += 1
        if self._inflight < self._limit.limit:
            self._admit(now, now, tries)
            return
        if not self._waiting:
            self._empty_at = now
        self._waiting.append((now, tries))
        if len(self._waiting) > 3 * self._limit.limit:
            self._refuse(now, *self._waiting.popleft())

    def _overloaded(self, now: float) -> bool:
        return bool(self._waiting) and now - self._empty_at > INTERVAL_SECONDS

    def _expire(self, now: float) -> None:
        longest = 2 * TARGET_SECONDS if self._overloaded(now) else INTERVAL_SECONDS
        while self._waiting and self._waiting[0][0] + longest <= now:
            self._refuse(now, *self._waiting.popleft())

    def _finish(self, now: float) -> None:
        heapq.heappop(self._running)
        self._inflight -= 1
        self._drained += 1
        if self._waiting:
            newest = self._overloaded(now)
            self._admit(now, *(self._waiting.pop() if newest else self._waiting.popleft()))

    def _admit(self, now: float, joined_at: float, tries: int) -> None:
        free = self._slots_free_at
        start = max(free[0], now)
        end = start + self._random.lognormvariate(MU, SIGMA)
        heapq.heapreplace(free, end)
        heapq.heappush(self._running, end)
        self._inflight += 1
        self._settle(joined_at, tries, admitted=True)

    def _settle(self, joined_at: float, tries: int, *, admitted: bool) -> None:
        (self._told.returns if tries else self._told.fresh).append((joined_at, admitted))

    def _refuse(self, now: float, joined_at: float, tries: int) -> None:
        self._refused += 1
        self._settle(joined_at, tries, admitted=False)
        seconds = self._pacer.draw(now, CRITICAL, len(self._waiting))
        self._told.refusals.append((now, seconds))
        clients = self._load.clients
        if clients is Clients.IGNORE:
            if tries < IGNORED_RETRIES:
                heapq.heappush(self._returning, (now + 1e-3, tries + 1))
        elif clients is Clients.OBEY or not tries:
            heapq.heappush(self._returning, (now + seconds, tries + 1))

    def _tick(self, now: float) -> None:
        keep = math.exp(-TICK_SECONDS / RATE_SECONDS)
        self._offered_rps = self._smoothed(self._offered_rps, self._offered, keep)
        self._drain_rps = self._smoothed(self._drain_rps, self._drained, keep)
        overloaded = self._refused > 0
        self._offered = self._drained = self._refused = 0
        self._pacer.rates(
            now,
            drain_rps=self._drain_rps,
            offered_rps=self._offered_rps,
            overloaded=overloaded,
        )

    @staticmethod
    def _smoothed(mean: float, count: int, keep: float) -> float:
        return keep * mean + (1 - keep) * count / TICK_SECONDS


def play(load: Load, pacer: Pacer) -> Told:
    """Return what became of everyone under this load, with this pacer."""
    return Service(load, pacer).play()
