"""A limit from the length of the queue that the durations imply."""

from __future__ import annotations

import math

from launchday.admission.limits.contract import LimitReason, require_integer
from launchday.admission.limits.window import Window, WindowedLimit


class VegasLimit(WindowedLimit):
    """Estimate how many requests queue inside the service, and keep that number small.

    Once per window, R its median duration, R0 the smallest such median so far::

        step = max(1, int(log10 L))        queue = ceil(L * (1 - R0 / R))
        a request was dropped:             L' = L - step
        the window used less than L / 2:   L' = L
        queue <= step:                     L' = L + 6 * step
        queue < 3 * step:                  L' = L + step
        queue > 6 * step:                  L' = L - step

    R0 is measured anew after `renewal_windows`, but only in a window that used less than L / 2:
    Netflix renews it under load too, and then takes its own queue for the normal duration.
    A dependency that turns slow looks like a queue: the limit falls until load does.
    Source: Brakmo and Peterson, "TCP Vegas" (1995); Netflix concurrency-limits `VegasLimit`.

    `initial`, `floor`, `ceiling`: requests. `window_seconds`, `minimum_samples`: what a decision
    needs. Raises ValueError that names the argument, the value and what is allowed.
    """

    algorithm = "vegas"

    def __init__(
        self,
        *,
        initial: int = 20,
        floor: int = 4,
        ceiling: int = 1000,
        window_seconds: float = 0.5,
        minimum_samples: int = 10,
        renewal_windows: int = 60,
    ) -> None:
        super().__init__(
            initial=initial,
            floor=floor,
            ceiling=ceiling,
            window_seconds=window_seconds,
            minimum_samples=minimum_samples,
            enough_samples=minimum_samples,
        )
        self._renewal_windows = require_integer("renewal_windows", renewal_windows, at_least=1)
        self._windows = 0
        self._unloaded_seconds = math.inf

    def _decide(self, window: Window, now: float) -> tuple[float, LimitReason] | None:
        step = float(max(1, int(math.log10(self._limit))))
        if window.dropped:
            return self._limit - step, LimitReason.DROPS
        quiet = window.peak * 2 < self.limit
        median = window.percentiles(0.5)[0]
        self._learn(median, quiet)
        if quiet:
            return None
        queue = math.ceil(self._limit * (1 - self._unloaded_seconds / median))
        if queue <= step:
            return self._limit + 6 * step, LimitReason.GROWTH
        if queue < 3 * step:
            return self._limit + step, LimitReason.GROWTH
        return (self._limit - step, LimitReason.LATENCY) if queue > 6 * step else None

    def _learn(self, median: float, quiet: bool) -> None:
        self._windows += 1
        if quiet and self._windows >= self._renewal_windows:
            self._windows = 0
            self._unloaded_seconds = median
        self._unloaded_seconds = min(self._unloaded_seconds, median)
