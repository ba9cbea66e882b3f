"""A gradient that tells a slow dependency from its own queue."""

from __future__ import annotations

import math
from typing import NamedTuple

from launchday.admission.limits.contract import LimitReason, require_number
from launchday.admission.limits.window import Window, WindowedLimit

# A window is full when, on average, it used this share of the limit ...
FULL_SHARE = 0.8
# ... and has hit the limit when its peak used this share: only then is more of any use.
HIT_SHARE = 0.95
# A window that used less than this share had no queue: its durations prove the baseline.
LIGHT_SHARE = 0.6
DROPPED_SHARE = 0.1

LARGEST_GROWTH = 1.5
LARGEST_SHRINK = 0.7
SLOW_WINDOWS = 2

# What elasticity is read from: a change in flight of exp(SPAN), and halfway between the slopes
# 0 (no queue) and 1 (all queue). A recheck has no other evidence and spans more.
SPAN = 0.22
RECHECK_SPAN = 0.5
ELASTIC_SLOPE = 0.5
KEPT_POINTS = 4

BUDGET_SHARE = 0.8
OBJECTIVE_WINDOWS = 3
OBJECTIVE_SHRINK = 0.85

# Trust grows with every proof: the second recheck comes twice as late as the first, and so on.
FIRST_RECHECK_WINDOWS = 20
LATEST_RECHECK_WINDOWS = 120
RECHECK_SHRINK = 0.75


class _Point(NamedTuple):
    inflight: float
    seconds: float
    limit: float


class ElasticLimit(WindowedLimit):
    """Find the parallelism of the service from outside, and keep the limit a little above it.

    R is the median duration of a window, N the mean of requests in flight, S the baseline: what
    R is without a queue inside the service. With C parallel slots R = S * max(1, N / C), so a
    limit of h * C shows as R = h * S. Once per window that the limit filled (N >= 0.8 * L)::

        R <= h * S:  L' = L * min(h * S / R, 1.5)              (also if only its peak hit L)
        R > h * S:   L' = L * max(h * S / R, 0.7)              from the second such window on

    Whether R > h * S means a queue is tested while L shrinks. Against an earlier point of this
    decline with ln(N0 / N) >= 0.22::

        ln(R0 / R) < 0.5 * ln(N0 / N):  S = sqrt(R0 * R),  L' = h * L0

    A smaller limit did not make requests faster: the dependency is slow, there is no queue, and
    the decline is taken back. S falls by a quarter of the way to a smaller R, rises by a
    twentieth in windows that used less than L / 2, and never rises under load but by that test.
    Because a baseline that was learnt under load may hold a queue, the same test is forced
    (shrink by 0.75, span 0.5) after 20, 40, 80, 120, 120, ... filled windows without proof, at
    a cost of a percent of the goodput; a window with R <= h * S and N < 0.6 * L is proof too.

    Guards: p90 > 0.8 * `objective_seconds` in three filled windows: L' = 0.85 * L, whatever the
    cause. No shrinking in the first `warm_up_seconds`. From the start, and again after that
    guard, a filled window grows by 1.5 until the first R > h * S. A window with more than a
    tenth of dropped requests decides nothing: fast failures are no sign of free capacity, and
    the limit itself bounds slow ones.

    What differs from the first design (window p50 against 1.5 * S, steps of sqrt(L) / 2 and
    0.85, slope over four points, no proof of S), medians of 6 simulated seeds at C = 8 / 20 / 50
    (`benchmarks/admission_simulation.py`): a dependency 4 times slower at 0.7 of the capacity
    keeps 92 / 96 / 96 % of what is left of it, not 90 / 92 / 95 %; p99 at 5 times the capacity is
    1.14 / 1.11 / 1.10 of the unloaded one, not 2.24 / 1.23 / 1.21, because S is proved; the first
    5 s from a limit of 20 into twice the capacity of C = 50 keep 87 %, not 60 %. The price:
    where a tenth of the requests is ten times slower, 92 / 97 / 99 %, not 99 / 100 / 100 %; and
    with C = 4 and a slow dependency 56 %, not 86 %: 14 requests a second teach slowly. Say the
    pool when you know it.

    Source: gradient of Netflix `Gradient2Limit`, elasticity of throughput as in failsafe-go and
    Uber Cinnamon; the test on the way down and the proof of the baseline are launchday's.

    `initial`, `floor`, `ceiling`: requests; the floor should be the parallelism if that is
    known. `objective_seconds`: latency that is still good. `headroom`: h above, more than 1,
    at most 3. `window_seconds` with `enough_samples`, or ten times as long with
    `minimum_samples`: what a decision needs. `baseline_seconds` is S, NaN before the first
    window. Raises ValueError that names the argument, the value and what is allowed.
    """

    algorithm = "elastic"

    def __init__(
        self,
        *,
        initial: int = 20,
        floor: int = 4,
        ceiling: int = 1000,
        objective_seconds: float = 0.5,
        headroom: float = 1.2,
        warm_up_seconds: float = 5.0,
        window_seconds: float = 0.5,
        minimum_samples: int = 10,
        enough_samples: int = 60,
    ) -> None:
        super().__init__(
            initial=initial,
            floor=floor,
            ceiling=ceiling,
            window_seconds=window_seconds,
            minimum_samples=minimum_samples,
            enough_samples=enough_samples,
        )
        objective_seconds = require_number("objective_seconds", objective_seconds, above=0)
        self._budget_seconds = BUDGET_SHARE * objective_seconds
        self._headroom = require_number("headroom", headroom, above=1, at_most=3)
        self._warm_up_seconds = require_number("warm_up_seconds", warm_up_seconds, at_least=0)
        self.baseline_seconds = math.nan
        self._warm_at = math.nan
        self._starting = True
        self._windows_over_budget = 0
        self._slow_windows = 0
        self._decline: list[_Point] = []
        self._rechecking = False
        self._recheck_after_windows = FIRST_RECHECK_WINDOWS
        self._unproved_windows = FIRST_RECHECK_WINDOWS

    def _decide(self, window: Window, now: float) -> tuple[float, LimitReason] | None:
        if window.dropped > DROPPED_SHARE * window.count:
            return None
        if math.isnan(self._warm_at):
            self._warm_at = window.opened_at + self._warm_up_seconds
        median, p90 = window.percentiles(0.5, 0.9)
        self._learn(median, quiet=window.peak < self.limit / 2)
        if window.mean_inflight < FULL_SHARE * self.limit:
            return self._decide_light(window, median)
        over_budget = p90 > self._budget_seconds
        self._windows_over_budget = self._windows_over_budget + 1 if over_budget else 0
        warm = now >= self._warm_at
        if warm and self._windows_over_budget >= OBJECTIVE_WINDOWS:
            self._starting = True
            return self._limit * OBJECTIVE_SHRINK, LimitReason.OBJECTIVE
        return self._decide_full(_Point(window.mean_inflight, median, self._limit), warm)

    def _learn(self, median: float, *, quiet: bool) -> None:
        if math.isnan(self.baseline_seconds):
            self.baseline_seconds = median
        elif median < self.baseline_seconds:
            self.baseline_seconds += 0.25 * (median - self.baseline_seconds)
        elif quiet:
            # The cap keeps one stall in a quiet hour from becoming the normal duration.
            slower = min(median, 1.5 * self.baseline_seconds)
            self.baseline_seconds += 0.05 * (slower - self.baseline_seconds)

    def _decide_light(self, window: Window, median: float) -> tuple[float, LimitReason] | None:
        self._decline.clear()
        self._windows_over_budget = self._slow_windows = 0
        self._rechecking = False
        unslowed = median <= self._headroom * self.baseline_seconds
        if unslowed and window.mean_inflight < LIGHT_SHARE * self._limit:
            self._unproved_windows = 0
        hit = window.peak >= HIT_SHARE * self.limit
        return self._grow(self._room(median)) if hit else None

    def _decide_full(self, point: _Point, warm: bool) -> tuple[float, LimitReason] | None:
        before = self._inelastic_since(point)
        if before is not None:
            return self._take_back(before, point)
        self._unproved_windows += 1
        if self._rechecking or (warm and self._unproved_windows > self._recheck_after_windows):
            return self._recheck(point)
        room = self._room(point.seconds)
        if room >= 1:
            self._decline.clear()
            self._slow_windows = 0
            return self._grow(LARGEST_GROWTH if self._starting else room)
        self._starting = False
        self._slow_windows += 1
        if not warm or self._slow_windows < SLOW_WINDOWS:
            return None
        self._decline = [*self._decline[1 - KEPT_POINTS :], point]
        return self._limit * max(room, LARGEST_SHRINK), LimitReason.LATENCY

    def _room(self, median: float) -> float:
        return self._headroom * self.baseline_seconds / median

    def _grow(self, factor: float) -> tuple[float, LimitReason] | None:
        if factor <= 1:
            return None
        grown = self._limit * min(factor, LARGEST_GROWTH)
        return max(grown, self._limit + 1), LimitReason.GROWTH

    def _inelastic_since(self, point: _Point) -> _Point | None:
        """Return the latest point of the decline since which requests have not become faster."""
        least_span = RECHECK_SPAN if self._rechecking else SPAN
        for before in reversed(self._decline):
            span = math.log(before.inflight / point.inflight)
            faster = math.log(before.seconds / point.seconds)
            if span >= least_span and faster < ELASTIC_SLOPE * span:
                return before
        return None

    def _take_back(self, before: _Point, point: _Point) -> tuple[float, LimitReason]:
        self.baseline_seconds = math.sqrt(before.seconds * point.seconds)
        self._decline.clear()
        self._slow_windows = self._unproved_windows = 0
        if not self._rechecking:
            self._recheck_after_windows = FIRST_RECHECK_WINDOWS
            return before.limit * self._headroom, LimitReason.SLOW_DEPENDENCY
        self._rechecking = False
        doubled = 2 * self._recheck_after_windows
        self._recheck_after_windows = min(doubled, LATEST_RECHECK_WINDOWS)
        return before.limit, LimitReason.RECHECK

    def _recheck(self, point: _Point) -> tuple[float, LimitReason] | None:
        if not self._rechecking:
            self._decline.clear()
            self._rechecking, self._starting = True, False
        if self.limit == self.floor:
            self._rechecking = False
            self._unproved_windows = 0
            return None
        self._decline.append(point)
        return self._limit * RECHECK_SHRINK, LimitReason.RECHECK
