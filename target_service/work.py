"""The known capacity: worker slots, each held for a drawn service time, and CPU time burnt."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from random import Random

from target_service.routes import ROUTES
from target_service.settings import TargetSettings

# bimodal: nine short requests to one long; 0.9 · 0.4 + 0.1 · 6.4 = 1, so the mean stays.
LONG_SHARE, SHORT_FACTOR, LONG_FACTOR = 0.1, 0.4, 6.4

Draw = Callable[[Random], float]


def lognormal(mean_seconds: float, cv: float) -> Draw:
    """Return a function that draws service times in seconds.

    Lognormal with the given mean and coefficient of variation: sigma^2 = ln(1 + cv^2) and
    mu = ln(mean) - sigma^2 / 2.
    """
    if mean_seconds == 0:
        return lambda random: 0.0
    variance = math.log1p(cv * cv)
    mu, sigma = math.log(mean_seconds) - variance / 2, math.sqrt(variance)
    return lambda random: random.lognormvariate(mu, sigma)


def bimodal(mean_seconds: float, cv: float) -> Draw:
    """Like `lognormal`, but one request in ten takes 16 times as long as the others."""
    short, long = (
        lognormal(SHORT_FACTOR * mean_seconds, cv),
        lognormal(LONG_FACTOR * mean_seconds, cv),
    )
    return lambda random: (long if random.random() < LONG_SHARE else short)(random)


class BusyTime:
    """How many are busy, and the integral of that over time: what a scrape cannot bias.

    A gauge of what is in flight says how it was when the scrape came through, and the scrape
    itself makes requests wait; the difference of two integrals is the mean of all in between.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.busy = 0
        self._clock = clock
        self._seconds = 0.0
        self._counted_until = clock()

    @property
    def seconds(self) -> float:
        """∫ busy dt until now: what is still busy is in it."""
        self._count()
        return self._seconds

    def change(self, by: int) -> None:
        """From now on `by` more are busy; negative: fewer."""
        self._count()
        self.busy += by

    def _count(self) -> None:
        now = self._clock()
        self._seconds += self.busy * (now - self._counted_until)
        self._counted_until = now


class Work:
    """`slots` requests work at once; the others wait, first in first out, as long as it takes.

    What one request costs, by profile: `io_bound` holds its slot for a lognormal service time;
    `bimodal` too, one in ten for 16 times as long as the others; `cpu_bound` burns that time on
    the CPU, so that one process serves 1 / mean however many slots there are. Every profile burns
    `cpu_seconds` more. `busy` and `waiting` count requests, `busy_seconds` adds up for how long
    slots were held. Same seed, same service times.
    """

    def __init__(self, settings: TargetSettings) -> None:
        self.slots = settings.slots
        self.profile = settings.profile
        self._held = BusyTime()
        self.waiting = 0
        self._free = asyncio.Semaphore(settings.slots)
        self._random = Random(settings.seed)
        self.service_seconds = _by_route(
            settings.service_mean_seconds, settings.service_mean_seconds_by_route
        )
        extra = _by_route(settings.cpu_seconds, settings.cpu_seconds_by_route)
        burns = settings.profile == "cpu_bound"
        self.cpu_seconds = {
            route: extra[route] + (self.service_seconds[route] if burns else 0.0)
            for route in ROUTES
        }
        draw = bimodal if settings.profile == "bimodal" else lognormal
        self._draws = {r: draw(self.service_seconds[r], settings.service_cv) for r in ROUTES}
        self._extra_cpu = extra
        self._common = (settings.service_mean_seconds, settings.cpu_seconds)

    @property
    def busy(self) -> int:
        """Slots that are held now."""
        return self._held.busy

    @property
    def busy_seconds(self) -> float:
        """Seconds for which slots were held so far, those that still are included."""
        return self._held.seconds

    @property
    def capacity_rps(self) -> float:
        """Requests per second of a route without settings of its own."""
        service_seconds, cpu_seconds = self._common
        if self.profile == "cpu_bound":
            cpu_seconds += service_seconds
        return self._capacity(service_seconds, cpu_seconds)

    def capacity_of_mix(self, mix: Mapping[str, float]) -> float:
        """Requests per second that can be served when routes come in these proportions.

        min(slots / Σ p·service, 1 / Σ p·cpu) with p the shares; the code's own CPU time, about
        1 ms a request, is not in it. Raises ValueError for an unknown route or no request at all.
        """
        unknown = sorted(set(mix) - set(ROUTES))
        total = sum(mix.values())
        if unknown or not total > 0 or min(mix.values()) < 0 or not math.isfinite(total):
            raise ValueError(f"routes are: {', '.join(ROUTES)}; their weights above 0")
        service = sum(w * self.service_seconds[r] for r, w in mix.items()) / total
        cpu = sum(w * self.cpu_seconds[r] for r, w in mix.items()) / total
        return self._capacity(service, cpu)

    def _capacity(self, service_seconds: float, cpu_seconds: float) -> float:
        # What is burnt is part of the service time: the longer of the two holds the slot.
        held = max(service_seconds, cpu_seconds)
        by_slots = self.slots / held if held else math.inf
        return min(by_slots, 1 / cpu_seconds if cpu_seconds else math.inf)

    @asynccontextmanager
    async def slot(self, route: str) -> AsyncIterator[None]:
        """Hold a slot for a drawn service time, or as long as the block takes if that is longer.

        The real work of the block is part of the service time, so that capacity stays
        slots / mean until what the block calls becomes slower than that. A block that fails
        gives its slot back at once.
        """
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self._held.change(1)
        try:
            loop = asyncio.get_running_loop()
            service_seconds = self._draws[route](self._random)
            ends_at = loop.time() + service_seconds
            cpu_seconds = self._extra_cpu[route]
            if self.profile == "cpu_bound":
                cpu_seconds += service_seconds
            if cpu_seconds:
                burn(cpu_seconds)
            yield
            remaining_seconds = ends_at - loop.time()
            if remaining_seconds > 0:
                await asyncio.sleep(remaining_seconds)
        finally:
            self._held.change(-1)
            self._free.release()


def burn(cpu_seconds: float) -> None:
    """Use this much CPU time of this thread; the event loop stands still meanwhile."""
    ends_at = time.thread_time() + cpu_seconds
    while time.thread_time() < ends_at:
        pass


def _by_route(common: float, own: Mapping[str, float]) -> dict[str, float]:
    return {route: own.get(route, common) for route in ROUTES}
