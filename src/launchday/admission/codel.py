"""When a queue is too long for too long: two forms of controlled delay."""

from __future__ import annotations

import math

# RFC 8289, 4.2 and 4.3: 5 ms, and 100 ms for the longest round trip that matters. Here that is a
# few services of the requests in front.
TARGET_SECONDS = 0.005
INTERVAL_SECONDS = 0.2


class StandingQueue:
    """Overloaded when the queue was not empty once during the last interval.

    ``overloaded = now - (last time it was empty) > interval``. It needs no dequeues, so that a
    queue that nobody serves counts too, and it does not mind the order in which it is served.
    Source: Maurer, "Fail at Scale" (ACM Queue 13/8, 2015).
    """

    __slots__ = ("empty_at",)

    def __init__(self, now: float = -math.inf) -> None:
        self.empty_at = now

    def overloaded(self, now: float, interval_seconds: float) -> bool:
        """Return whether the queue, which is not empty now, was not empty for an interval."""
        return now - self.empty_at > interval_seconds


class MinimumDelay:
    """Overloaded when even the shortest wait of an interval was over the target.

    Told of every wait when it ends. In the first call after the end of an interval::

        overloaded = shortest wait of that interval > target

    Then a wait of more than twice the target is too long. The first wait of an interval only
    opens it. Source: `folly::Codel` (executors/Codel.cpp): CoDel (RFC 8289) without its schedule
    of drops, because requests, unlike packets, do not slow down their sender.
    """

    __slots__ = ("_interval_ends_at", "_overloaded", "_shortest_seconds")

    def __init__(self) -> None:
        self._interval_ends_at = -math.inf
        self._shortest_seconds = 0.0
        self._overloaded = False

    def overloaded(self, now: float) -> bool:
        """Return what the last interval says; an interval without a wait says no."""
        return self._overloaded and now <= self._interval_ends_at

    def ended(self, wait_seconds: float, now: float, interval_seconds: float) -> bool:
        """Take one wait in; return whether it was too long to be worth serving."""
        if now > self._interval_ends_at:
            self._overloaded = self._shortest_seconds > TARGET_SECONDS
            self._interval_ends_at = now + interval_seconds
            self._shortest_seconds = wait_seconds
            return False
        if wait_seconds < self._shortest_seconds:
            self._shortest_seconds = wait_seconds
        return self._overloaded and wait_seconds > 2 * TARGET_SECONDS
