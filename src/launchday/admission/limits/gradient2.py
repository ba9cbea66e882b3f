"""A limit from how recent durations compare with those of a long time."""

from __future__ import annotations

import math

from launchday.admission.limits.contract import LimitReason, require_integer, require_number
from launchday.admission.limits.window import Window, WindowedLimit

SETTLING_WINDOWS = 10


class Gradient2Limit(WindowedLimit):
    """Shrink by the ratio of the long-term to the recent duration, and leave room for a queue.

    Once per window, R its median duration, long its moving average over `long_windows` windows::

        long' = long + (R - long) * 2 / (long_windows + 1)     plain mean of the first 10
        long' > 2 * R:                    long' = 0.95 * long'
        the window used less than L / 2:  L' = L
        g = clamp(tolerance * long' / R, 0.5, 1)               0.5 when a request was dropped
        L' = (1 - smoothing) * L + smoothing * (L * g + max(queue, sqrt L))

    Changes to Netflix's: a dropped request counts; `long` rests while the window is full (used
    all of L), for durations under overload are not normal ones; the room for a queue grows with
    the limit, and windows are half as long, because a limit of 20 took minutes to get to 200.
    Source: Netflix concurrency-limits `Gradient2Limit`.

    `initial`, `floor`, `ceiling`, `queue`: requests; the floor should be the parallelism where
    that is known. `smoothing`: above 0, at most 1. `tolerance`: at least the ratio that is
    normal. `window_seconds`, `minimum_samples`: what a decision needs. Raises ValueError that
    names the argument, the value and what is allowed.
    """

    algorithm = "gradient2"

    def __init__(
        self,
        *,
        initial: int = 20,
        floor: int = 4,
        ceiling: int = 1000,
        tolerance: float = 1.5,
        smoothing: float = 0.2,
        queue: int = 4,
        long_windows: int = 600,
        window_seconds: float = 0.5,
        minimum_samples: int = 10,
    ) -> None:
        super().__init__(
            initial=initial,
            floor=floor,
            ceiling=ceiling,
            window_seconds=window_seconds,
            minimum_samples=minimum_samples,
            enough_samples=minimum_samples,
        )
        self._tolerance = require_number("tolerance", tolerance, at_least=1)
        self._smoothing = require_number("smoothing", smoothing, above=0, at_most=1)
        self._queue = require_integer("queue", queue, at_least=0)
        self._long_windows = require_integer("long_windows", long_windows, at_least=1)
        self._learnt = 0
        self._long_seconds = 0.0

    def _decide(self, window: Window, now: float) -> tuple[float, LimitReason] | None:
        median = window.percentiles(0.5)[0]
        if window.durations:
            self._learn(median, full=window.peak >= self.limit)
        if window.peak < self._limit / 2:
            return None
        gradient = 0.5
        if not window.dropped:
            gradient = min(max(self._tolerance * self._long_seconds / median, 0.5), 1.0)
        wanted = self._limit * gradient + max(self._queue, math.sqrt(self._limit))
        wanted = (1 - self._smoothing) * self._limit + self._smoothing * wanted
        if window.dropped:
            return min(wanted, self._limit), LimitReason.DROPS
        growing = wanted >= self._limit
        return wanted, LimitReason.GROWTH if growing else LimitReason.LATENCY

    def _learn(self, median: float, *, full: bool) -> None:
        if full and self._learnt:
            return
        self._learnt += 1
        if self._learnt <= SETTLING_WINDOWS:
            weight = 1 / self._learnt
        else:
            weight = 2 / (self._long_windows + 1)
        self._long_seconds += (median - self._long_seconds) * weight
        if self._long_seconds > 2 * median:
            self._long_seconds *= 0.95
