"""A dependency that refuses: refuse in front of it, and pass its Retry-After on."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable

from launchday.admission.limits import require_integer, require_number
from launchday.admission.refusal import Refusal

BUCKETS = 10
LONGEST_RETRY_AFTER_SECONDS = 30.0


class Downstream:
    """Pressure of a dependency that answers 503 or 429.

    The client code of the app reports each call. Over the last `window_seconds`::

        pressure = max(0, (calls - K * accepted) / (calls + 1))

    so that a dependency that accepts half of the calls or more causes none with K = 2, and one
    that accepts nothing refuses nearly everything in front of the service. Fewer than
    `minimum_calls` in the window cause none: one failed call of a quiet service is no overload.

    Source: client-side throttling of the SRE book, "Handling Overload" (there over two minutes;
    its `requests` include those that were refused in front, which make no call here: this share
    is smaller, and lets K * accepted calls and a few more through).

    `multiplier`: K, at least 1. `clock`: seconds, monotonic. Raises ValueError that names the
    argument, the value and what is allowed.
    """

    def __init__(
        self,
        *,
        multiplier: float = 2.0,
        window_seconds: float = 10.0,
        minimum_calls: int = 10,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._multiplier = require_number("multiplier", multiplier, at_least=1)
        window = require_number("window_seconds", window_seconds, above=0, at_most=3600)
        self._minimum_calls = require_integer("minimum_calls", minimum_calls, at_least=1)
        self._bucket_seconds = window / BUCKETS
        self._clock = clock
        # Clients also run in threads (`def` routes), so these few numbers are shared with them.
        self._lock = threading.Lock()
        # Oldest first: (index of the time slice, calls, accepted).
        self._buckets: deque[list[int]] = deque()
        self._calls = self._accepted = 0
        self._retry_at = -math.inf
        self.clamped = 0

    @property
    def reason(self) -> Refusal:
        """What the refusals that it causes are called."""
        return Refusal.DOWNSTREAM

    def report(self, accepted: bool, retry_after_seconds: float | None = None) -> None:
        """Count one call: `accepted` is False for 503 and 429.

        `retry_after_seconds`: its Retry-After, if it had one. What is no number from 0 to 30 is
        clamped, or ignored when it is none, and counted in `clamped`. From any thread.
        """
        now = self._clock()
        with self._lock:
            self._forget(now)
            index = self._index(now)
            if not self._buckets or self._buckets[-1][0] != index:
                self._buckets.append([index, 0, 0])
            bucket = self._buckets[-1]
            bucket[1] += 1
            self._calls += 1
            if accepted:
                bucket[2] += 1
                self._accepted += 1
            if retry_after_seconds is not None:
                self._retry_at = max(self._retry_at, now + self._bounded(retry_after_seconds))

    def pressure(self, now: float) -> float:
        """Return the share of the requests to refuse, 0.0 to 1.0."""
        with self._lock:
            self._forget(now)
            calls, accepted = self._calls, self._accepted
        if calls < self._minimum_calls:
            return 0.0
        return max(0.0, (calls - self._multiplier * accepted) / (calls + 1))

    def retry_after_seconds(self, now: float) -> float:
        """Return how long the dependency still asks to be left alone, at most 30; 0.0: not."""
        with self._lock:
            # A clock that jumped back must not stretch what was asked for.
            self._retry_at = min(self._retry_at, now + LONGEST_RETRY_AFTER_SECONDS)
            # Bounded once more, because sum and difference are rounded.
            return min(max(0.0, self._retry_at - now), LONGEST_RETRY_AFTER_SECONDS)

    def _index(self, now: float) -> int:
        return math.floor(now / self._bucket_seconds)

    def _forget(self, now: float) -> None:
        newest = self._index(now)
        # Also what a clock that jumped back has left in the future.
        while self._buckets and not 0 <= newest - self._buckets[0][0] < BUCKETS:
            _, calls, accepted = self._buckets.popleft()
            self._calls -= calls
            self._accepted -= accepted

    def _bounded(self, seconds: float) -> float:
        # NaN is the one number that is not equal to itself; math.isnan() fails for a huge integer.
        number = isinstance(seconds, int | float) and seconds == seconds
        bounded = min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS) if number else 0.0
        self.clamped += bounded != seconds
        return bounded
