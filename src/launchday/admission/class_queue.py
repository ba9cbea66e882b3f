"""The requests of one criticality that wait for a slot: CoDel with adaptive LIFO."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator

from launchday.admission.codel import TARGET_SECONDS, MinimumDelay, StandingQueue
from launchday.admission.refusal import Refusal


class Waiter(ABC):
    """One request in the queue.

    `gives_up_at`: when it is no longer worth starting, because its client would be gone before
    the answer. `size_bytes`: what its body was announced to have.
    """

    __slots__ = ("cost", "criticality", "gives_up_at", "joined_at", "size_bytes")

    def __init__(
        self,
        criticality: int,
        cost: int = 1,
        *,
        size_bytes: int = 0,
        gives_up_at: float = math.inf,
    ) -> None:
        self.criticality = criticality
        self.cost = cost
        self.size_bytes = size_bytes
        self.gives_up_at = gives_up_at
        self.joined_at = math.nan

    @abstractmethod
    def settle(self, refusal: Refusal | None) -> None:
        """Hear, once, why it was refused; None: it has its slots."""


class ClassQueue:
    """First in, first out, until the queue stands for an interval; then newest first.

    Under overload the oldest are those whose clients give up first, and serving the newest keeps
    the admitted fast. Nobody waits longer than `interval_seconds`, or ``2 * target`` (10 ms) under
    overload. `patient` queues are never overloaded: those of classes that get what they need in
    the end, because less critical ones are refused. `overload` names the form of
    `launchday.admission.codel` that counts: "standing" or "minimum_delay". With few slots waits
    are long by nature, and the first is then the one that refuses fewer by mistake: 1.1 against
    2.7 % at 0.8 of the capacity of four simulated slots.
    Source: Maurer, "Fail at Scale" (2015); `folly::Codel`.
    """

    __slots__ = (
        "_delay", "_standing", "_waiting", "by_delay", "interval_seconds", "patient", "size_bytes",
    )  # fmt: skip

    def __init__(self, interval_seconds: float, overload: str = "standing") -> None:
        self.interval_seconds = interval_seconds
        self.patient = False
        self.size_bytes = 0
        self.by_delay = overload == "minimum_delay"
        # Ordered: either end and any one in the middle leave without a search.
        self._waiting: OrderedDict[Waiter, None] = OrderedDict()
        self._standing = StandingQueue()
        self._delay = MinimumDelay()

    def __len__(self) -> int:
        return len(self._waiting)

    def stands(self, now: float) -> bool:
        """Return whether requests wait, and have waited for too long."""
        if not self._waiting:
            return False
        if self.by_delay:
            return self._delay.overloaded(now)
        return self._standing.overloaded(now, self.interval_seconds)

    def join(self, waiter: Waiter, now: float) -> None:
        """Let one more wait."""
        if not self._waiting:
            self._standing.empty_at = now
        waiter.joined_at = now
        self._waiting[waiter] = None
        self.size_bytes += waiter.size_bytes

    def leave(self, waiter: Waiter) -> bool:
        """Take one out that waits no longer; False when it was not here."""
        if waiter not in self._waiting:
            return False
        self._remove(waiter)
        return True

    def pop_oldest(self) -> Waiter:
        """Take out who waits longest. Raises StopIteration when nobody does."""
        oldest = next(iter(self._waiting))
        self._remove(oldest)
        return oldest

    def first(self, now: float) -> Waiter | None:
        """Return whose turn it is, without taking it out; None when nobody waits."""
        if not self._waiting:
            return None
        newest_first = not self.patient and self.stands(now)
        return next(reversed(self._waiting) if newest_first else iter(self._waiting))

    def in_turn(self, now: float) -> list[Waiter]:
        """Return all that wait, in the order in which it is their turn."""
        waiting = [*self._waiting]
        return waiting[::-1] if not self.patient and self.stands(now) else waiting

    def take(self, waiter: Waiter, now: float) -> None:
        """Take out the waiter that `first` returned: its wait ended well."""
        self._delay.ended(now - waiter.joined_at, now, self.interval_seconds)
        self._remove(waiter)

    def expired(self, now: float) -> Iterator[Waiter]:
        """Take out those that have waited too long, oldest first."""
        while self._waiting:
            hurried = not self.patient and self.stands(now)
            longest_seconds = 2 * TARGET_SECONDS if hurried else self.interval_seconds
            oldest = next(iter(self._waiting))
            if oldest.joined_at + longest_seconds > now:
                return
            self._remove(oldest)
            yield oldest

    def _remove(self, waiter: Waiter) -> None:
        del self._waiting[waiter]
        self.size_bytes -= waiter.size_bytes
