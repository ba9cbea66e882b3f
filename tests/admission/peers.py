"""What others do at their defaults, and our first design: they stand beside ours, simulated."""

from __future__ import annotations

import math
import statistics

from launchday.admission.limits import LimitChange, LimitReason, Outcome
from launchday.admission.limits.window import Window, WindowedLimit


class _Peer:
    algorithm = "peer"

    def __init__(self, limit: float) -> None:
        self._exact = limit
        self.limit = int(limit)

    def _set(self, exact: float) -> LimitChange | None:
        self._exact = exact
        old, self.limit = self.limit, int(exact)
        return None if old == self.limit else LimitChange(old, self.limit, LimitReason.GROWTH)


class NetflixAIMD(_Peer):
    """concurrency-limits `AIMDLimit`: per sample, 20 to 200, backoff 0.9, timeout 5 s."""

    def __init__(self) -> None:
        super().__init__(20)

    def on_sample(
        self, seconds: float, inflight: int, outcome: Outcome, now: float
    ) -> LimitChange | None:
        """Shrink after a drop or a timeout, else grow by one when half used."""
        wanted = self._exact
        if outcome is Outcome.DROPPED or seconds > 5.0:
            wanted *= 0.9
        elif inflight * 2 >= self.limit:
            wanted += 1
        return self._set(min(max(wanted, 20), 200))


class _NetflixWindowed(_Peer):
    """`WindowedLimit`: the mean of 1 s of at least 10 samples, else the window is lost."""

    def __init__(self, limit: float) -> None:
        super().__init__(limit)
        self._opened_at = math.nan
        self._durations: list[float] = []
        self._peak = 0

    def on_sample(
        self, seconds: float, inflight: int, outcome: Outcome, now: float
    ) -> LimitChange | None:
        """Gather; decide when the window is over."""
        self._durations.append(seconds)
        self._peak = max(self._peak, inflight)
        if math.isnan(self._opened_at):
            self._opened_at = now
        if now - self._opened_at < 1.0:
            return None
        durations, peak = self._durations, self._peak
        self._durations, self._peak, self._opened_at = [], 0, now
        if len(durations) < 10:
            return None
        return self._set(self.updated(sum(durations) / len(durations), peak))

    def updated(self, rtt: float, peak: int) -> float:
        """Return the next limit."""
        raise NotImplementedError


class NetflixVegas(_NetflixWindowed):
    """concurrency-limits `VegasLimit`; the baseline is renewed after 0.75 * 30 * L updates."""

    def __init__(self) -> None:
        super().__init__(20)
        self._unloaded = math.inf
        self._updates = 0

    def updated(self, rtt: float, peak: int) -> float:
        """Compare the queue with 3 and 6 times log10 of the limit."""
        self._updates += 1
        if self._updates >= 0.75 * 30 * self._exact:
            self._updates, self._unloaded = 0, rtt
            return self._exact
        self._unloaded = min(self._unloaded, rtt)
        if peak * 2 < self.limit:
            return self._exact
        log = max(1, int(math.log10(self._exact)))
        queue = math.ceil(self._exact * (1 - self._unloaded / rtt))
        if queue <= log:
            step = 6 * log
        elif queue < 3 * log:
            step = log
        else:
            step = -log if queue > 6 * log else 0
        return min(max(self._exact + step, 1), 1000)


class NetflixGradient2(_NetflixWindowed):
    """concurrency-limits `Gradient2Limit`: 20 to 200, smoothing 0.2, queue 4, tolerance 1.5."""

    def __init__(self) -> None:
        super().__init__(20)
        self._long = 0.0
        self._updates = 0

    def updated(self, rtt: float, peak: int) -> float:
        """Learn the long duration under load, too."""
        self._updates += 1
        weight = 1 / self._updates if self._updates <= 10 else 2 / 601
        self._long += (rtt - self._long) * weight
        if self._long > 2 * rtt:
            self._long *= 0.95
        if peak < self._exact / 2:
            return self._exact
        gradient = min(max(1.5 * self._long / rtt, 0.5), 1.0)
        return min(max(0.8 * self._exact + 0.2 * (self._exact * gradient + 4), 20), 200)


class EnvoyGradient(_Peer):
    """`adaptive_concurrency`: p50 per 100 ms, buffer 25 %, minRTT from 50 samples at limit 3.

    Measured again every 60 s, or after 5 updates at the minimum; the jitter is left out.
    """

    def __init__(self) -> None:
        super().__init__(3)
        self._resume_at = 3.0
        self._probing = True
        self._minimum_rtt = math.nan
        self._measured_at = 0.0
        self._updates_at_minimum = 0
        self._opened_at = 0.0
        self._durations: list[float] = []

    def on_sample(
        self, seconds: float, inflight: int, outcome: Outcome, now: float
    ) -> LimitChange | None:
        """Probe, or update every 100 ms."""
        self._durations.append(seconds)
        if self._probing:
            return self._measured(now) if len(self._durations) >= 50 else None
        if now - self._measured_at >= 60.0 or self._updates_at_minimum >= 5:
            self._probing, self._resume_at, self._durations = True, self._exact, []
            return self._set(3)
        if now - self._opened_at < 0.1:
            return None
        gradient = min(max(self._minimum_rtt * 1.25 / self._median(now), 0.5), 2.0)
        wanted = self._exact * gradient
        wanted = min(max(wanted + math.sqrt(wanted), 3), 1000)
        self._updates_at_minimum = self._updates_at_minimum + 1 if wanted == 3 else 0
        return self._set(wanted)

    def _measured(self, now: float) -> LimitChange | None:
        self._minimum_rtt = self._median(now)
        self._probing, self._measured_at, self._updates_at_minimum = False, now, 0
        return self._set(self._resume_at)

    def _median(self, now: float) -> float:
        ordered = sorted(self._durations)
        self._durations, self._opened_at = [], now
        return ordered[len(ordered) // 2]


class FirstElastic(WindowedLimit):
    """The first design of `ElasticLimit`, to say what its changes gain and cost."""

    algorithm = "first_elastic"

    def __init__(self, *, objective_seconds: float) -> None:
        super().__init__(
            initial=20,
            floor=4,
            ceiling=1000,
            window_seconds=0.5,
            minimum_samples=10,
            enough_samples=10,
        )
        self._budget_seconds = 0.8 * objective_seconds
        self._baseline = self._warm_at = math.nan
        self._points: list[tuple[float, float]] = []
        self._slow = self._over_budget = self._hold = 0

    def _decide(self, window: Window, now: float) -> tuple[float, LimitReason] | None:
        p50, p90 = window.percentiles(0.5, 0.9)
        if math.isnan(self._baseline):
            self._baseline, self._warm_at = p50, window.opened_at + 5.0
        self._over_budget = self._over_budget + 1 if p90 > self._budget_seconds else 0
        if now >= self._warm_at and self._over_budget >= 3:
            return self._limit * 0.85, LimitReason.OBJECTIVE
        if p50 > 1.5 * self._baseline:
            return self._congested(window.peak, p50, now >= self._warm_at)
        self._slow, self._points = 0, []
        self._baseline += (0.5 if p50 < self._baseline else 0.02) * (p50 - self._baseline)
        if window.peak < 0.8 * self._limit:
            return None
        return self._limit + math.sqrt(self._limit) / 2, LimitReason.GROWTH

    def _congested(self, peak: int, p50: float, warm: bool) -> tuple[float, LimitReason] | None:
        self._slow += 1
        self._points = [*self._points[-3:], (math.log(peak), math.log(p50))]
        if self._hold:
            self._hold -= 1
            return None
        if not warm or self._slow < 2:
            return None
        if self._inelastic():
            self._baseline, self._hold, self._points = p50, 2, []
            return None
        return min(self._limit, peak) * 0.85, LimitReason.LATENCY

    def _inelastic(self) -> bool:
        inflight = [x for x, _ in self._points]
        if len(inflight) < 4 or max(inflight) - min(inflight) <= 0.25:
            return False
        return statistics.linear_regression(inflight, [y for _, y in self._points]).slope < 0.35
