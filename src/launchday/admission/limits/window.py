"""Samples gathered until they are enough to decide; what the adaptive limits have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from launchday.admission.limits.contract import (
    LimitChange,
    LimitReason,
    Outcome,
    require_integer,
    require_number,
)

# Bounds memory, and what it costs to sort: a percentile of 1024 samples is precise enough.
LARGEST_WINDOW_SAMPLES = 1024
# An hour is no longer a window: what was slow at its start says nothing about its end.
STALE_WINDOWS = 120


class Window:
    """The samples of one decision: durations of successes, dropped requests, requests in flight.

    Durations beyond `LARGEST_WINDOW_SAMPLES` replace the oldest ones of the window.
    """

    __slots__ = ("_inflight_sum", "count", "dropped", "durations", "opened_at", "peak")

    def __init__(self, opened_at: float) -> None:
        self.opened_at = opened_at
        self.durations: list[float] = []
        self.count = 0
        self.dropped = 0
        self.peak = 0
        self._inflight_sum = 0

    def add(self, seconds: float, inflight: int, outcome: Outcome) -> None:
        """Take one sample in."""
        self.count += 1
        self._inflight_sum += inflight
        if inflight > self.peak:
            self.peak = inflight
        if outcome is not Outcome.SUCCESS:
            self.dropped += 1
        elif len(self.durations) < LARGEST_WINDOW_SAMPLES:
            self.durations.append(seconds)
        else:
            self.durations[self.count % LARGEST_WINDOW_SAMPLES] = seconds

    @property
    def mean_inflight(self) -> float:
        """Requests in flight, averaged over the samples."""
        return self._inflight_sum / self.count

    def percentiles(self, *shares: float) -> tuple[float, ...]:
        """Return the nearest-rank percentiles of the durations, in seconds.

        `shares` above 0 and at most 1. NaN when there are no durations.
        """
        if not self.durations:
            return (math.nan,) * len(shares)
        ordered = sorted(self.durations)
        return tuple(ordered[math.ceil(share * len(ordered)) - 1] for share in shares)


class WindowedLimit(ABC):
    """A limit that decides once per window, and only then may move.

    A window is decided when it is `window_seconds` old and holds `enough_samples`, or is ten
    times as old and holds `minimum_samples`: rare requests get fewer, later decisions. After a
    change the next window opens one median duration later, because until then requests that
    were admitted under the old limit are ending. Samples that make no sense (NaN, infinite, zero
    or negative, a clock that runs backwards) are left out and counted in `ignored_samples`.
    """

    def __init__(
        self,
        *,
        initial: int,
        floor: int,
        ceiling: int,
        window_seconds: float,
        minimum_samples: int,
        enough_samples: int,
    ) -> None:
        self.floor = require_integer("floor", floor, at_least=1)
        self.ceiling = require_integer("ceiling", ceiling, at_least=floor)
        self._limit = float(require_integer("initial", initial, at_least=floor, at_most=ceiling))
        self.limit = initial
        self._window_seconds = require_number("window_seconds", window_seconds, above=0)
        self._minimum_samples = require_integer("minimum_samples", minimum_samples, at_least=1)
        self._enough_samples = require_integer(
            "enough_samples", enough_samples, at_least=minimum_samples
        )
        self.ignored_samples = 0
        self._window: Window | None = None
        self._opens_at = self._now = -math.inf

    def on_sample(
        self, seconds: float, inflight: int, outcome: Outcome, now: float
    ) -> LimitChange | None:
        """Take one finished request in; return the change of the limit, if it made one."""
        if outcome is Outcome.IGNORED:
            return None
        if not (0.0 < seconds < math.inf and inflight > 0 and self._now <= now < math.inf):
            self.ignored_samples += 1
            return None
        self._now = now
        if now < self._opens_at:
            return None
        window = self._window
        if window is None:
            window = self._window = Window(now)
        window.add(seconds, inflight, outcome)
        if now - window.opened_at < self._window_seconds or window.count < self._minimum_samples:
            return None
        return self._close(window, now)

    def _close(self, window: Window, now: float) -> LimitChange | None:
        windows_old = (now - window.opened_at) / self._window_seconds
        if windows_old < 10 and window.count < self._enough_samples:
            return None
        self._window = None
        if windows_old > STALE_WINDOWS:
            return None
        decision = self._decide(window, now)
        return None if decision is None else self._move(*decision, window, now)

    def _move(
        self, wanted: float, reason: LimitReason, window: Window, now: float
    ) -> LimitChange | None:
        self._limit = min(max(wanted, float(self.floor)), float(self.ceiling))
        old, self.limit = self.limit, int(self._limit)
        if old == self.limit:
            return None
        median = window.percentiles(0.5)[0]
        self._opens_at = now + (median if window.durations else 0.0)
        return LimitChange(old, self.limit, reason)

    @abstractmethod
    def _decide(self, window: Window, now: float) -> tuple[float, LimitReason] | None:
        """Return the limit that the window asks for, and why; None to leave it as it is."""
