"""The legs that named curves are made of: hold, ramp, exponential, smooth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from launchday.rate_curve import Phase, Points, RateCurve

CHORD = 0.25
"""Longest chord of an exponential, in time constants: a rate is off by less than 0.8 % of what it
is above its limit (h²/8), and always too high; the arrivals by 0.53 % (h²/12)."""

TIME_CONSTANTS = 5
"""A decay lasts so many time constants: 0.7 % of the surplus is left, and is left out."""

_SMOOTH_CHORDS = 24  # half a cosine; a rate is off by less than 0.11 % of the whole rise


@dataclass(frozen=True)
class Leg:
    """One phase of a course: points (seconds from its start, arrivals per second)."""

    phase: str
    points: Points


def hold(phase: str, rps: float, seconds: float) -> Leg:
    """The same rate for `seconds`."""
    return Leg(phase, ((0.0, rps), (seconds, rps)))


def ramp(phase: str, from_rps: float, to_rps: float, seconds: float) -> Leg:
    """A straight line; 0 seconds make a step."""
    return Leg(phase, ((0.0, from_rps), (seconds, to_rps)))


def decay(phase: str, from_rps: float, to_rps: float, seconds: float) -> Leg:
    """λ(t) = to + (from - to)·exp(-t/τ), τ = seconds / TIME_CONSTANTS, in chords of CHORD·τ."""
    chords = round(TIME_CONSTANTS / CHORD)
    surplus = from_rps - to_rps
    return _drawn(
        phase, seconds, chords, lambda x: to_rps + surplus * math.exp(-x * TIME_CONSTANTS)
    )


def growth(phase: str, from_rps: float, to_rps: float, seconds: float) -> Leg:
    """λ(t) = from·(to/from)^(t/seconds), in chords of at most CHORD time constants."""
    powers = math.log(to_rps / from_rps)
    chords = max(1, math.ceil(abs(powers) / CHORD))
    return _drawn(phase, seconds, chords, lambda x: from_rps * math.exp(powers * x))


def smooth(phase: str, from_rps: float, to_rps: float, seconds: float) -> Leg:
    """Half a cosine, level at both ends, in 24 chords."""
    rise = to_rps - from_rps
    return _drawn(
        phase, seconds, _SMOOTH_CHORDS, lambda x: from_rps + rise * (1 - math.cos(math.pi * x)) / 2
    )


def along(phase: str, points: Points, *, rps: float, seconds: float) -> Leg:
    """A published curve: points in its own unit of time, which takes `seconds`, times `rps`."""
    start = points[0][0]
    return Leg(phase, tuple(((t - start) * seconds, rate * rps) for t, rate in points))


def course(*legs: Leg) -> RateCurve:
    """The legs one after the other, each a phase; one of no length is a step and no phase."""
    points: list[tuple[float, float]] = []
    phases: list[Phase] = []
    at = 0.0
    for leg in legs:
        moved = [(at + t, rate) for t, rate in leg.points]
        points += moved[1:] if points and points[-1] == moved[0] else moved
        end = moved[-1][0]
        if end > at:
            phases.append(Phase(leg.phase, at, end))
        at = end
    return RateCurve(tuple(points), tuple(phases))


def phases_of(lengths: Mapping[str, float], last: str, end_seconds: float) -> tuple[Phase, ...]:
    """Phases of these lengths in seconds one after the other, and `last` until the end."""
    phases = []
    at = 0.0
    for name, seconds in lengths.items():
        phases.append(Phase(name, at, min(at + seconds, end_seconds)))
        at = phases[-1].end_seconds
    phases.append(Phase(last, at, end_seconds))
    return tuple(phase for phase in phases if phase.end_seconds > phase.start_seconds)


def _drawn(phase: str, seconds: float, chords: int, rate: Callable[[float], float]) -> Leg:
    shares = [k / chords for k in range(chords + 1)]
    return Leg(phase, tuple((seconds * x, max(0.0, rate(x))) for x in shares))
