"""A service with a simple gate and clients of given rates, simulated: who gets how much."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from launchday.admission.fairness import Fairness
from launchday.admission.limits import FixedLimit

SLOTS = 20
MEAN_SECONDS = 0.05
CAPACITY_RPS = SLOTS / MEAN_SECONDS
TICK_SECONDS = 0.1
POLITE = [0.03 * CAPACITY_RPS] * 19

Demand = tuple[float, float, float]  # rate in requests per second, from, until


@dataclass
class Client:
    """What a client asked for after the warm-up, and what became of it."""

    offered: int = 0
    good: int = 0
    unfair: int = 0
    shed: int = 0
    unfair_at: list[float] = field(default_factory=list)


class Service:
    """A fixed limit of 1.2 x 20 slots and a queue with the overload rule of CoDel.

    `contended` is what CoDel calls overloaded: the queue was not empty for 100 ms.
    """

    def __init__(self, fairness: Fairness | None, seed: int, warm_up_seconds: float) -> None:
        self.fairness = fairness
        self.random = random.Random(seed)
        self.warm_up_seconds = warm_up_seconds
        self.limit = FixedLimit(math.ceil(1.2 * SLOTS))
        self.clients: dict[int, Client] = {}
        self.good_by_second: dict[int, int] = {}
        self._free = [0.0] * SLOTS
        self._running: list[tuple[float, float, int]] = []
        self._waiting: deque[tuple[float, int]] = deque()
        self._empty_at = self._ticked_at = self._drain_rps = 0.0
        self._ended = 0

    def play(self, demands: Sequence[Demand]) -> None:
        arrivals = [(at, i) for i, demand in enumerate(demands) for at in self._arrivals(*demand)]
        for at, client in sorted(arrivals):
            self._until(at)
            self._arrive(at, client)
        self._until(math.inf)

    def _arrivals(self, rate: float, begin: float, end: float) -> list[float]:
        times, at = [], begin + self.random.expovariate(rate)
        while at < end:
            times.append(at)
            at += self.random.expovariate(rate)
        return times

    def _until(self, now: float) -> None:
        while True:
            tick = self._ticked_at + TICK_SECONDS
            end = self._running[0][0] if self._running else math.inf
            if min(end, tick) > now or (now == math.inf and not self._running):
                return
            self._finish() if end <= tick else self._tick(tick)

    def _arrive(self, now: float, number: int) -> None:
        client = self.clients.setdefault(number, Client())
        counted = now >= self.warm_up_seconds
        client.offered += counted
        full = len(self._running) >= self.limit.limit or bool(self._waiting)
        draw = self.random.random()
        if self.fairness and self.fairness.over_share(number, 1, now, draw, full):
            client.unfair += counted
            client.unfair_at.append(now)
        elif full:
            self._waiting.append((now, number))
            self._expire(now)
            if len(self._waiting) > 3 * self.limit.limit:
                self._shed(self._waiting.popleft())
        else:
            self._admit(now, now, number)

    def _admit(self, now: float, arrived_at: float, number: int) -> None:
        # Lognormal with mean 50 ms and a coefficient of variation of .5.
        sigma = math.sqrt(math.log(1.25))
        work = self.random.lognormvariate(math.log(MEAN_SECONDS) - sigma**2 / 2, sigma)
        end = max(self._free[0], now) + work
        heapq.heapreplace(self._free, end)
        heapq.heappush(self._running, (end, arrived_at, number))

    def _finish(self) -> None:
        now, arrived_at, number = heapq.heappop(self._running)
        self._ended += 1
        if now - arrived_at <= 0.5:
            self.good_by_second[int(now)] = self.good_by_second.get(int(now), 0) + 1
            self.clients[number].good += arrived_at >= self.warm_up_seconds
        overloaded = self._expire(now)
        if self._waiting:
            waiter = self._waiting.pop() if overloaded else self._waiting.popleft()
            self._admit(now, *waiter)

    def _expire(self, now: float) -> bool:
        if not self._waiting:
            self._empty_at = now
        overloaded = now - self._empty_at > 0.1
        longest = 0.01 if overloaded else 0.1
        while self._waiting and self._waiting[0][0] + longest <= now:
            self._shed(self._waiting.popleft())
        return overloaded

    def _shed(self, waiter: tuple[float, int]) -> None:
        at, number = waiter
        self.clients[number].shed += at >= self.warm_up_seconds

    def _tick(self, now: float) -> None:
        self._ticked_at = now
        newest = 1 - math.exp(-TICK_SECONDS / 2)
        self._drain_rps += newest * (self._ended / TICK_SECONDS - self._drain_rps)
        self._ended = 0
        contended = self._expire(now)
        if self.fairness:
            self.fairness.rates(now, drain_rps=self._drain_rps, contended=contended)


def play(
    rates: Sequence[float | Demand],
    *,
    seconds: float = 40.0,
    warm_up_seconds: float = 10.0,
    fairness: Fairness | None = None,
    seed: int = 1,
) -> Service:
    demands = [rate if isinstance(rate, tuple) else (rate, 0.0, seconds) for rate in rates]
    service = Service(fairness or Fairness(), seed, warm_up_seconds)
    service.play(demands)
    return service


def kept(clients: Sequence[Client]) -> float:
    return sum(c.good for c in clients) / sum(c.offered for c in clients)


def jain(shares: Sequence[float]) -> float:
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))
