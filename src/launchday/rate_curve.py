"""A rate of arrivals over time: the rate at time t, its integral and the inverse, all exact."""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

Points = tuple[tuple[float, float], ...]


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

    Curves are composed with `then`, `+`, `scale`, `compress`, `clip` and `noise`; each gives a new
    curve, again piecewise linear, so that nothing is approximated on the way. Phases come along.

    Raises:
        ValueError: fewer than two points, a time that goes back, a rate that is negative or not
            finite, no arrivals at all, or a phase outside the curve.
    """

    points: Points
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
        return next(self.inverses((arrivals,)))

    def inverses(self, arrivals: Iterable[float]) -> Iterator[float]:
        """`inverse` of each; of many in order it costs a third.

        Raises:
            ValueError: as `inverse`, when it comes to the one that is wrong.
        """
        sqrt = math.sqrt
        below = above = math.inf
        for count in arrivals:
            if not below < count <= above:
                i = self._segment_of(count)
                (t0, r0), (t1, r1) = self.points[i], self.points[i + 1]
                below, above = self._cumulated[i], self._cumulated[i + 1]
                # Only a count of 0 can be on a step: it has no arrivals.
                a = (r1 - r0) / (2 * (t1 - t0)) if t1 > t0 else 0.0
            y = count - below
            if y > 0:
                square = r0 * r0 + 4 * a * y
                t = t0 + 2 * y / (r0 + (sqrt(square) if square > 0 else 0.0))
                yield t if t < t1 else t1
            else:
                yield t0

    def _segment_of(self, arrivals: float) -> int:
        if not 0 <= arrivals <= self.total:
            raise ValueError(f"arrivals must be between 0 and {self.total}, got {arrivals!r}")
        return min(bisect.bisect_left(self._cumulated, arrivals, 1) - 1, len(self.points) - 2)

    def then(self, other: RateCurve) -> RateCurve:
        """This curve, and `other` when it is over: Λ(end) is the sum of both.

        A phase of `other` whose name is taken is called `name_2`, `name_3` ...
        """
        by = self.duration_seconds
        joined = self.points[-1][1] == other.points[0][1]
        after = other.points[1:] if joined else other.points
        points = self.points + tuple((by + t, rate) for t, rate in after)
        moved = (Phase(p.name, by + p.start_seconds, by + p.end_seconds) for p in other.phases)
        return RateCurve(points, _united(self.phases, moved))

    def __add__(self, other: RateCurve) -> RateCurve:
        """Both curves at once, each from 0 s: rates add up; one that has ended adds nothing.

        Exact: the breakpoints are those of both. Phases are named as by `then`.
        """
        points: list[tuple[float, float]] = []
        end = max(self.duration_seconds, other.duration_seconds)
        for t in sorted({*self._times, *other._times}):
            before = self._before(t) + other._before(t)
            after = self._after(t) + other._after(t)
            if t > 0:
                points.append((t, before))
            if t < end and (t == 0 or after != before):
                points.append((t, after))
        return RateCurve(tuple(points), _united(self.phases, other.phases))

    def scale(self, factor: float) -> RateCurve:
        """Every rate times `factor`: so many times the arrivals in the same time.

        Raises:
            ValueError: `factor` is not above 0, or a rate would no longer be finite.
        """
        _check_above_zero("factor", factor)
        return RateCurve(tuple((t, rate * factor) for t, rate in self.points), self.phases)

    def compress(self, factor: float) -> RateCurve:
        """The same rates in 1/`factor` of the time: a day in two minutes is compress(720).

        Rates stay, so the arrivals become fewer by `factor` too; what is kept is how hard the
        target is pressed. Below 1 it stretches.

        Raises:
            ValueError: `factor` is not above 0, or leaves no time at all.
        """
        _check_above_zero("factor", factor)
        points = tuple((t / factor, rate) for t, rate in self.points)
        phases = (
            Phase(p.name, p.start_seconds / factor, p.end_seconds / factor) for p in self.phases
        )
        return RateCurve(points, tuple(phases))

    def clip(self, max_rps: float) -> RateCurve:
        """No rate above `max_rps`; where a ramp crosses it there is a new breakpoint, exactly.

        Raises:
            ValueError: `max_rps` is not above 0.
        """
        _check_above_zero("max_rps", max_rps)
        points = [(0.0, min(self.points[0][1], max_rps))]
        for (t0, r0), (t1, r1) in pairwise(self.points):
            if t1 > t0 and min(r0, r1) < max_rps < max(r0, r1):
                crossing = t0 + (t1 - t0) * ((max_rps - r0) / (r1 - r0))
                points.append((min(max(crossing, t0), t1), max_rps))
            points.append((t1, min(r1, max_rps)))
        return RateCurve(tuple(points), self.phases)

    def noise(self, share: float, *, seed: int, every_seconds: float = 1.0) -> RateCurve:
        """The rate times a random factor that changes every `every_seconds`; Λ(end) is kept.

        Factors are drawn from N(1, `share`²) with `seed` and clipped at 0; all of them together
        are then scaled so that as many arrivals are expected as before.

        Raises:
            ValueError: `share` is not between 0 and 1, or `every_seconds` is not above 0 or makes
                more than a million factors.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"share must be between 0 and 1, got {share!r}")
        _check_above_zero("every_seconds", every_seconds)
        windows = math.ceil(self.duration_seconds / every_seconds)
        if windows > _MAX_FACTORS:
            raise ValueError(
                f"every_seconds must be at least {self.duration_seconds / _MAX_FACTORS:g} for a "
                f"curve of {self.duration_seconds:g} s, got {every_seconds!r}"
            )
        rng = random.Random(seed)
        total = 0.0
        while total <= 0:  # a short curve may draw nothing but zeros
            factors = [max(0.0, rng.gauss(1.0, share)) for _ in range(windows)]
            points = tuple(self._times_factors(factors, every_seconds))
            total = sum((t1 - t0) * (r0 + r1) / 2 for (t0, r0), (t1, r1) in pairwise(points))
        return replace(self, points=tuple((t, r * (self.total / total)) for t, r in points))

    def _times_factors(
        self, factors: list[float], every_seconds: float
    ) -> Iterator[tuple[float, float]]:
        end = self.duration_seconds
        edges = [min(k * every_seconds, end) for k in range(len(factors))] + [end]
        for factor, (start, end) in zip(factors, pairwise(edges), strict=True):
            yield start, self._after(start) * factor
            first = bisect.bisect_right(self._times, start)
            for t, rate in self.points[first : bisect.bisect_left(self._times, end)]:
                yield t, rate * factor
            yield end, self._before(end) * factor

    def _before(self, t: float) -> float:
        """The rate just before `t`; 0 outside the curve."""
        if not 0 < t <= self.duration_seconds:
            return 0.0
        i = bisect.bisect_left(self._times, t) - 1
        (t0, r0), (t1, r1) = self.points[i], self.points[i + 1]
        return r0 + (r1 - r0) * ((t - t0) / (t1 - t0))

    def _after(self, t: float) -> float:
        """The rate just after `t`; 0 outside the curve."""
        return self.rate(t) if t < self.duration_seconds else 0.0


_MAX_FACTORS = 1_000_000


def _united(
    first: tuple[Phase, ...], more: Iterator[Phase] | tuple[Phase, ...]
) -> tuple[Phase, ...]:
    """All phases, in order of time, each under a name of its own."""
    phases = {phase.name: phase for phase in first}
    for phase in more:
        name, number = phase.name, 2
        while name in phases:
            name, number = f"{phase.name}_{number}", number + 1
        phases[name] = replace(phase, name=name)
    return tuple(sorted(phases.values(), key=lambda p: (p.start_seconds, p.end_seconds)))


def _check_above_zero(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be above 0, got {value!r}")


def _check_points(points: Points) -> None:
    if len(points) < 2:
        raise ValueError(f"points must be at least two, got {len(points)}")
    if points[0][0] != 0.0:
        raise ValueError(f"the first point must be at 0 s, got {points[0][0]!r}")
    if any(later[0] < earlier[0] for earlier, later in pairwise(points)):
        raise ValueError(f"points must be in order of time, got {points!r}")
    for at_seconds, rate in points:
        if not (math.isfinite(at_seconds) and math.isfinite(rate)) or rate < 0:
            raise ValueError(f"rates must be finite and >= 0, got {rate!r} at {at_seconds!r} s")
