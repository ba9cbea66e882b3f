"""Threads that handlers wait for: refuses so that the pool stays full and its queue short."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from launchday.admission.refusal import Refusal

TARGET = 0.5
PROPORTIONAL = 0.1
INTEGRAL_PER_SECOND = 0.5
LARGEST_ERROR = 1.0
LARGEST_SHARE = 0.98
LONGEST_STEP_SECONDS = 1.0


class ThreadPool:
    """Pressure of a pool of threads, such as the one in which `def` routes run (40 threads).

    Its limiter knows how many hold a thread and how many wait for one::

        x = (held + waiting) / threads - 1        # waiting in units of the time of one service
        error = x - 0.5
        integral += 0.5 per second * clamp(error, -1, 1) * seconds,  in [0, 0.98]
        pressure = clamp(integral + 0.1 * error, 0, 1)

    At x = 1 a request waits for a thread as long as it then holds it; at 0.5 half as long, and a
    waiting request is there whenever a thread becomes free. A share that only follows x would
    swing between none and all, for the queue grows within one tick by more than it should be
    long; the integral finds the share ``1 - 1/N`` that N times the load needs. Tokens that are
    idle (x < 0) let it fall faster.

    Source: the PI rejector of Uber's Cinnamon; the constants are launchday's, from a seeded
    simulation of 40 threads at 1.2 to 10 times their rate.

    `limiter`: an `anyio.CapacityLimiter` or a function that returns one, such as
    `anyio.to_thread.current_default_thread_limiter`, as the default one exists only inside the
    loop. Raises ValueError for anything else.
    """

    def __init__(self, limiter: Any) -> None:
        if not _is_limiter(limiter) and not callable(limiter):
            raise ValueError(
                f"limiter must be a capacity limiter or a function that returns one: {limiter!r}"
            )
        self._limiter: Callable[[], Any] = limiter if callable(limiter) else lambda: limiter
        self._integral = 0.0
        self._pressure = 0.0
        self._asked_at = math.nan
        self.read_errors = 0

    @property
    def reason(self) -> Refusal:
        """What the refusals that it causes are called."""
        return Refusal.THREAD_POOL

    def pressure(self, now: float) -> float:
        """Return the share of the requests to refuse, 0.0 to 1.0; the last one after an error."""
        seconds = now - self._asked_at
        self._asked_at = now
        if not seconds > 0:
            return self._pressure
        try:
            error = self._waiting_ratio() - TARGET
        except Exception:
            # Any object may stand behind the name; a request must not fail for it.
            self.read_errors += 1
            return self._pressure
        bounded = min(max(error, -LARGEST_ERROR), LARGEST_ERROR)
        step = INTEGRAL_PER_SECOND * bounded * min(seconds, LONGEST_STEP_SECONDS)
        self._integral = min(max(self._integral + step, 0.0), LARGEST_SHARE)
        self._pressure = min(max(self._integral + PROPORTIONAL * error, 0.0), 1.0)
        return self._pressure

    def _waiting_ratio(self) -> float:
        """Return how many wait, as a part of the threads; below 0: the part that is idle."""
        statistics = self._limiter().statistics()
        threads = max(1.0, float(statistics.total_tokens))
        if math.isinf(threads):
            return -1.0
        ratio = (int(statistics.borrowed_tokens) + int(statistics.tasks_waiting)) / threads
        return ratio - 1.0


def _is_limiter(candidate: Any) -> bool:
    return hasattr(candidate, "statistics") and hasattr(candidate, "total_tokens")
