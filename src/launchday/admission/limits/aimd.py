"""Additive increase, multiplicative decrease."""

from __future__ import annotations

import math

from launchday.admission.limits.contract import LimitReason, require_number
from launchday.admission.limits.window import Window, WindowedLimit


class AIMDLimit(WindowedLimit):
    """Grow by a step while all is well, shrink by a factor when a request fails or all are slow.

    Once per window::

        a request was dropped:                                        L' = L * backoff
        p90 > 0.8 * objective_seconds, and the window used L / 2:     L' = L * backoff
        p90 below that, and the window used 0.8 * L:                  L' = L + max(1, sqrt(L) / 2)

    A limit that is not in use did not make anything slow. It settles where p90 meets the
    objective: simple, and it tells no cause from another.
    Source: Chiu and Jain, "Analysis of the increase and decrease algorithms" (1989); Netflix
    concurrency-limits `AIMDLimit`, whose step of 1 per sample is here one step per window.

    `initial`, `floor`, `ceiling`: requests. `objective_seconds`: latency that is still good.
    `backoff`: above 0, below 1. `window_seconds`, `minimum_samples`: what a decision needs.
    Raises ValueError that names the argument, the value and what is allowed.
    """

    algorithm = "aimd"

    def __init__(
        self,
        *,
        initial: int = 20,
        floor: int = 4,
        ceiling: int = 1000,
        objective_seconds: float = 0.5,
        backoff: float = 0.9,
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
        self._budget_seconds = 0.8 * require_number("objective_seconds", objective_seconds, above=0)
        self._backoff = require_number("backoff", backoff, above=0, at_most=0.99)

    def _decide(self, window: Window, now: float) -> tuple[float, LimitReason] | None:
        if window.dropped:
            return self._limit * self._backoff, LimitReason.DROPS
        if window.percentiles(0.9)[0] > self._budget_seconds:
            used = window.peak * 2 >= self.limit
            return (self._limit * self._backoff, LimitReason.OBJECTIVE) if used else None
        if window.peak >= 0.8 * self.limit:
            return self._limit + max(1.0, math.sqrt(self._limit) / 2), LimitReason.GROWTH
        return None
