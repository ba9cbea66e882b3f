"""A rate of arrivals over time: the rate at time t, its integral and the inverse, all exact."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, field
from itertools import pairwise


@dataclass(frozen=True)
class Phase:
    """A named part of a schedule, in seconds from its start."""

    name: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class RateCurve:
    """A piecewise linear rate of arrivals.

    `points` are (seconds from the start, arrivals per second); between two points the rate is
    linear, two points at the same time make a step. `phases` name parts of the curve, so that an
    experiment can say "at the peak".

    On a segment from (t_i, r_i) of length d to rate r_{i+1}, with C_i arrivals before it:
    Λ(t) = C_i + r_i·x + (r_{i+1} - r_i)·x²/(2d), x = t - t_i. Its inverse uses the stable root
    t_i + 2y / (r_i + √(r_i² + 4ay)), y = A - C_i, a = (r_{i+1} - r_i)/(2d), right also for r_i = 0.

    Raises:
        ValueError: fewer than two points, a time that goes back, a rate that is negative or not
            finite, no arrivals at all, or a phase outside the curve.
    """

    points: tuple[tuple[float, float], ...]
    phases: tuple[Phase, ...] = ()
    _cumulated: tuple[float, ...] = field(init=False, repr=False, compare=False, default=())
    _times: tuple[float, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        _check_points(self.points)
        cumulated = [0.0]
        for (t0, r0), (t1, r1) in pairwise(self.points):
            cumulated.append(cumulated[-1] + (t1 - t0) * (r0 + r1) / 2)
        if cumulated[-1] <= 0:
            raise ValueError("the curve has no arrivals: every rate is 0")
        object.__setattr__(self, "_cumulated", tuple(cumulated))
        object.__setattr__(self, "_times", tuple(t for t, _ in self.points))
        for phase in self.phases:
            if not 0 <= phase.start_seconds <= phase.end_seconds <= self.duration_seconds:
                raise ValueError(f"phase {phase.name!r} lies outside the curve: {phase!r}")

    @property
    def duration_seconds(self) -> float:
        """Length of the curve."""
        return self.points[-1][0]

    @property
    def total(self) -> float:
        """Expected number of arrivals: Λ(end)."""
        return self._cumulated[-1]

    @property
    def peak_rps(self) -> float:
        """The highest rate."""
        return max(rate for _, rate in self.points)

    def _segment_at(self, t: float) -> int:
        return min(max(bisect.bisect_right(self._times, t) - 1, 0), len(self.points) - 2)

    def rate(self, t: float) -> float:
        """Arrivals per second at `t` seconds; 0 outside the curve."""
        if not 0 <= t <= self.duration_seconds:
            return 0.0
        i = self._segment_at(t)
        (t0, r0), (t1, r1) = self.points[i], self.points[i + 1]
        return r1 if t1 == t0 else r0 + (r1 - r0) * (t - t0) / (t1 - t0)

    def cumulative(self, t: float) -> float:
        """Λ(t): expected arrivals until `t` seconds."""
        t = min(max(t, 0.0), self.duration_seconds)
        i = self._segment_at(t)
        (t0, r0), (t1, r1) = self.points[i], self.points[i + 1]
        x = t - t0
        # The share of the segment first: a slope over a very short one would overflow.
        share = 0.0 if t1 == t0 else x / (t1 - t0)
        return self._cumulated[i] + r0 * x + (r1 - r0) * share * x / 2

    def inverse(self, arrivals: float) -> float:
        """Λ⁻¹: the time in seconds until which `arrivals` are expected.

        Raises:
            ValueError: `arrivals` is negative or more than the curve holds.
        """
        if not 0 <= arrivals <= self.total:
            raise ValueError(f"arrivals must be between 0 and {self.total}, got {arrivals!r}")
        i = min(bisect.bisect_left(self._cumulated, arrivals, 1) - 1, len(self.points) - 2)
        (t0, r0), (t1, r1) = self.points[i], self.points[i + 1]
        y = arrivals - self._cumulated[i]
        if y <= 0:
            return t0
        a = (r1 - r0) / (2 * (t1 - t0))
        root = math.sqrt(max(r0 * r0 + 4 * a * y, 0.0))
        return min(t0 + 2 * y / (r0 + root), t1)


def _check_points(points: tuple[tuple[float, float], ...]) -> None:
    if len(points) < 2:
        raise ValueError(f"points must be at least two, got {len(points)}")
    if points[0][0] != 0.0:
        raise ValueError(f"the first point must be at 0 s, got {points[0][0]!r}")
    if any(later[0] < earlier[0] for earlier, later in pairwise(points)):
        raise ValueError(f"points must be in order of time, got {points!r}")
    for at_seconds, rate in points:
        if not (math.isfinite(at_seconds) and math.isfinite(rate)) or rate < 0:
            raise ValueError(f"rates must be finite and >= 0, got {rate!r} at {at_seconds!r} s")
