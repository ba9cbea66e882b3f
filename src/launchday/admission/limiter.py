"""The gate: counts who is in flight, lets a bounded number wait, and hands out permits."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from launchday.admission.limits import Limit, Outcome, require_integer

LONGEST_QUEUE_TIMEOUT_SECONDS = 60.0


class Refusal(StrEnum):
    """Why a request was not admitted; the `reason` of answers and metrics."""

    LIMIT = "limit"
    QUEUE_FULL = "queue_full"
    QUEUE_TIMEOUT = "queue_timeout"


class Permit:
    """One admitted request. Give it back exactly once.

    `waited_seconds` is how long the request waited for its slot: 0.0 when it did not queue.
    """

    __slots__ = ("_admitted_at", "_limiter", "_released", "waited_seconds")

    def __init__(self, limiter: Limiter, admitted_at: float, waited_seconds: float) -> None:
        self._limiter = limiter
        self._admitted_at = admitted_at
        self._released = False
        self.waited_seconds = waited_seconds

    def release(self, outcome: Outcome = Outcome.SUCCESS) -> float:
        """Give the slot back and return how many seconds it was held.

        Raises RuntimeError when it was given back before: counting a slot twice would let the
        limiter admit more than its limit.
        """
        if self._released:
            raise RuntimeError("permit released twice")
        self._released = True
        return self._limiter._release(self._admitted_at, outcome)


class Limiter:
    """Admits while fewer than `limit.limit` are in flight; others wait, first in, first out.

    `queue_length`: how many may wait; 0 refuses at once. `queue_timeout_seconds`: how long each
    may wait, above 0 and at most 60. `clock`: seconds, monotonic. Not thread-safe: one limiter
    belongs to one event loop. Raises ValueError for a value out of range.
    """

    def __init__(
        self,
        limit: Limit,
        *,
        queue_length: int,
        queue_timeout_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = limit
        self.queue_length = require_integer("queue_length", queue_length, at_least=0)
        self.queue_timeout_seconds = _require_timeout(queue_timeout_seconds)
        self.clock = clock
        self._inflight = 0
        # Ordered: oldest first, and one that leaves early is removed without a search.
        self._waiters: OrderedDict[asyncio.Future[bool], None] = OrderedDict()

    @property
    def inflight(self) -> int:
        """Permits handed out and not yet given back."""
        return self._inflight

    @property
    def queued(self) -> int:
        """Requests that wait for a slot."""
        return len(self._waiters)

    def try_acquire(self) -> Permit | None:
        """Return a permit if a slot is free and nobody waits for it; never waits."""
        if self._waiters:
            # A limit that learns may have grown since the last release. Whoever waits goes first.
            self._grant()
        if self._inflight >= self.limit.limit:
            return None
        self._inflight += 1
        return Permit(self, self.clock(), 0.0)

    def refusal(self) -> Refusal | None:
        """Return why a newcomer may not even wait, or None when the queue has room."""
        if len(self._waiters) < self.queue_length:
            return None
        return Refusal.QUEUE_FULL if self.queue_length else Refusal.LIMIT

    async def acquire(self) -> Permit | Refusal:
        """Return a permit, at once or after a wait in the queue, or the reason for a refusal.

        A caller that is cancelled leaves the queue and gives back a slot granted meanwhile.
        """
        decision = self.try_acquire() or self.refusal()
        if decision is not None:
            return decision
        joined_at = self.clock()
        if not await self._granted():
            return Refusal.QUEUE_TIMEOUT
        now = self.clock()
        return Permit(self, now, now - joined_at)

    async def _granted(self) -> bool:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiters[waiter] = None
        timer = loop.call_later(self.queue_timeout_seconds, self._expire, waiter)
        try:
            return await waiter
        except BaseException:
            self._leave(waiter)
            raise
        finally:
            timer.cancel()

    def _leave(self, waiter: asyncio.Future[bool]) -> None:
        self._waiters.pop(waiter, None)
        # A grant and a cancellation can fall into one tick of the loop: the grant came first.
        if waiter.done() and not waiter.cancelled() and waiter.result():
            self._inflight -= 1
            self._grant()

    def _expire(self, waiter: asyncio.Future[bool]) -> None:
        if not waiter.done():
            del self._waiters[waiter]
            waiter.set_result(False)

    def _grant(self) -> None:
        while self._waiters and self._inflight < self.limit.limit:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                self._inflight += 1
                waiter.set_result(True)

    def _release(self, admitted_at: float, outcome: Outcome) -> float:
        now = self.clock()
        seconds = now - admitted_at
        inflight = self._inflight
        self._inflight -= 1
        try:
            self.limit.on_sample(seconds, inflight, outcome, now)
        finally:
            self._grant()
        return seconds


def _require_timeout(value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and 0 < value <= LONGEST_QUEUE_TIMEOUT_SECONDS:
        return float(value)
    raise ValueError(
        "queue_timeout_seconds must be a number above 0 and at most "
        f"{LONGEST_QUEUE_TIMEOUT_SECONDS:g}, not {value!r}"
    )
