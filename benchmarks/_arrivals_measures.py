"""What the stamps of the arrivals benchmark say: lateness, dispersion, drift, surges. Pure."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from benchmarks._ladder_measures import percentile
from launchday.rate_curve import RateCurve

_MOST_SHIFT_SECONDS = 0.02


@dataclass(frozen=True)
class Trace:
    """Requests as the server received them, with what was intended; seconds from the start.

    `due`: by `at` in pairs. Both begin at the generator's own start of the schedule where it is
    known, else at the first request.
    """

    at: list[float]
    due: list[float]

    @classmethod
    def indexed(
        cls, at: Sequence[float], indices: Sequence[int], schedule: Sequence[float]
    ) -> Trace:
        """Of requests that named their arrival; in the order of the schedule."""
        pairs = sorted((schedule[index], one) for one, index in zip(at, indices, strict=True))
        return cls([one for _, one in pairs], [due for due, _ in pairs])

    @classmethod
    def even(cls, at: Sequence[float], rate: float) -> Trace:
        """Of requests of whom only the order is known: the one of rank k was due at k / rate."""
        ordered = sorted(at)
        return cls([one - ordered[0] for one in ordered], [k / rate for k in range(len(ordered))])

    def between(self, from_seconds: float, to_seconds: float) -> Trace:
        """Return what was due in this time."""
        kept = [p for p in zip(self.due, self.at, strict=True) if from_seconds <= p[0] < to_seconds]
        return Trace([at for _, at in kept], [due for due, _ in kept])

    @property
    def deviations(self) -> list[float]:
        """Seconds from the intended time to receipt, in order of the intended time."""
        return [at - due for at, due in zip(self.at, self.due, strict=True)]


def dispersion(at: Sequence[float], window_seconds: float) -> float | None:
    """Return the index of dispersion of counts in windows: variance over mean.

    0 of an even schedule, 1 of a Poisson process, more of bursts (Cox, Lewis 1966). None: fewer
    than two windows.
    """
    first, last = min(at, default=0.0), max(at, default=0.0)
    windows = int((last - first) / window_seconds)
    if windows < 2:
        return None
    counts = [0] * windows
    for one in at:
        window = int((one - first) / window_seconds)
        if window < windows:
            counts[window] += 1
    return statistics.pvariance(counts) / statistics.fmean(counts)


def drift_ppm(trace: Trace) -> float | None:
    """Return how much slower than its schedule a generator is, in millionths.

    The tenth percentile of the deviations of the last fifth less that of the first, over the time
    between their middles: stalls and busy neighbours move it least. None: too short.
    """
    fifth = len(trace.at) // 5
    if not fifth:
        return None
    deviations = trace.deviations
    last, first = (percentile(part, 0.1) for part in (deviations[-fifth:], deviations[:fifth]))
    run = statistics.median(trace.due[-fifth:]) - statistics.median(trace.due[:fifth])
    return ((last or 0.0) - (first or 0.0)) / run * 1e6


def steadiness(trace: Trace) -> dict[str, Any]:
    """Return the numbers of a constant rate.

    Lateness counts from the least late request, so that what the network takes is left out and
    all generators are treated alike; `least_ms` is that request's.
    """
    least = min(trace.deviations, default=0.0)
    late_ms = [(deviation - least) * 1000 for deviation in trace.deviations]
    spans = trace.at[-1] - trace.at[0] if len(trace.at) > 1 else 0.0
    return {
        "achieved_rps": (len(trace.at) - 1) / spans if spans > 0 else None,
        "lateness_ms": {
            "p50": percentile(late_ms, 0.5),
            "p99": percentile(late_ms, 0.99),
            "p999": percentile(late_ms, 0.999),
        },
        "least_ms": least * 1000,
        "dispersion_10ms": dispersion(trace.at, 0.01),
        "dispersion_100ms": dispersion(trace.at, 0.1),
        "drift_ppm": drift_ppm(trace),
    }


@dataclass(frozen=True)
class Fidelity:
    """How a surge was followed: relative error of the counts per window, in percent."""

    rms_percent: float
    worst_percent: float
    most_arrivals_off: float


def fidelity(at: Sequence[float], curve: RateCurve, window_seconds: float = 0.1) -> Fidelity:
    """Compare counts in windows with the curve; `at` counts from the start of the curve.

    RMS of ``(n - e) / e`` over the windows, e the integral of the rate in the window; the third
    number is the greatest difference between the cumulated counts.
    """
    edges = [i * window_seconds for i in range(round(curve.duration_seconds / window_seconds) + 1)]
    ordered = sorted(at)
    seen = [bisect_left(ordered, edge) for edge in edges]
    meant = [curve.cumulative(min(edge, curve.duration_seconds)) for edge in edges]
    errors = [
        (n1 - n0) / (e1 - e0) - 1
        for (n0, n1), (e0, e1) in zip(pairwise(seen), pairwise(meant), strict=True)
    ]
    return Fidelity(
        100 * math.sqrt(statistics.fmean(error * error for error in errors)),
        100 * max(abs(error) for error in errors),
        max(abs(n - e) for n, e in zip(seen, meant, strict=True)),
    )


def best_fidelity(at: Sequence[float], curve: RateCurve) -> Fidelity:
    """Return the same for a generator that does not say when its curve began.

    Its first request tells, give or take 20 ms; of all starts in this time the best counts.
    """
    first = min(at)
    shifts = [i / 1000 - _MOST_SHIFT_SECONDS for i in range(int(2000 * _MOST_SHIFT_SECONDS) + 1)]
    tries = [fidelity([one - first + shift for one in at], curve) for shift in shifts]
    return min(tries, key=lambda one: one.rms_percent)
