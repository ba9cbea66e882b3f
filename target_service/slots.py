"""The known capacity: a pool of worker slots, each held for a drawn service time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random


def lognormal_service_times(mean_seconds: float, cv: float, seed: int) -> Callable[[], float]:
    """Return a function that draws service times in seconds.

    Lognormal with the given mean and coefficient of variation: sigma^2 = ln(1 + cv^2) and
    mu = ln(mean) - sigma^2 / 2. Same seed, same times.
    """
    variance = math.log1p(cv * cv)
    mu = math.log(mean_seconds) - variance / 2
    sigma = math.sqrt(variance)
    random = Random(seed)
    return lambda: random.lognormvariate(mu, sigma)


class SlotPool:
    """`slots` requests work at once; the others wait, first in first out, as long as it takes.

    `busy` and `waiting` count them.
    """

    def __init__(self, slots: int, draw_service_seconds: Callable[[], float]) -> None:
        self.slots = slots
        self.busy = 0
        self.waiting = 0
        self._free = asyncio.Semaphore(slots)
        self._draw = draw_service_seconds

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
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
        self.busy += 1
        try:
            loop = asyncio.get_running_loop()
            ends_at = loop.time() + self._draw()
            yield
            remaining_seconds = ends_at - loop.time()
            if remaining_seconds > 0:
                await asyncio.sleep(remaining_seconds)
        finally:
            self.busy -= 1
            self._free.release()
