"""Whether a step was a steady state, and in words why not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

WINDOWS = 3
LONGEST_WINDOW_SECONDS = 20
SAME_WITHIN = 0.10
LITTLE_WITHIN = 0.05
KEPT_AT_LEAST = 0.99
_BACKLOG_RPS_SHARE = 0.005
"""A backlog that grows by less than this share of the throughput is no finding."""

_SPREAD_AT_1_PERCENT = 4.12
"""Studentised range of three means, unlimited degrees of freedom: exceeded by chance in 1 %."""

_ONE_SIDED_1_PERCENT = 2.33
_TWO_ERRORS = 2.0


def why_unsteady(
    rates: Sequence[float],
    offered: Sequence[float],
    in_flight: Sequence[float],
    concurrency: float,
    throughput_rps: float,
    mean_seconds: float,
) -> tuple[str, ...]:
    """Why a step is no steady state: plain sentences; empty if it is one.

    `rates` are requests finished and `offered` requests intended in each second after the warm-up,
    `in_flight` how many were open in it. `concurrency` N, `throughput_rps` X and `mean_seconds` R
    are those of the whole step. A step is steady if (reference, section 4)

    - its last three windows (a third of the step each, at most 20 s) are within 10 %,
    - what is in flight does not grow,
    - Little's law holds: |N - X R| / N < 5 %,
    - at least 99 % of the intended requests finished.

    Each finding must also be larger than chance: counts are noisy, and few of them are noisier.
    """
    checks = (
        _windows_differ(rates),
        _backlog_grows(in_flight, throughput_rps),
        _little_fails(concurrency, throughput_rps, mean_seconds, len(rates)),
        _fell_behind(rates, offered, concurrency),
    )
    return tuple(reason for reason in checks if reason)


def _windows_differ(rates: Sequence[float]) -> str:
    """Counts vary as their differences from second to second do, at least as Poisson's."""
    length = min(LONGEST_WINDOW_SECONDS, len(rates) // WINDOWS)
    if length == 0:
        return "the step has fewer than three seconds after its warm-up"
    last = rates[len(rates) - WINDOWS * length :]
    means = [fmean(last[start : start + length]) for start in range(0, len(last), length)]
    middle = fmean(means)
    gap = max(means) - min(means)
    if middle <= 0:
        return "nothing was finished in the last three windows"
    # The differences of neighbours do not see a drift, so a drift is not taken for noise.
    steps = [(after - before) ** 2 for before, after in pairwise(last)]
    variance = max(middle, fmean(steps) / 2)
    if gap <= max(SAME_WITHIN * middle, _SPREAD_AT_1_PERCENT * math.sqrt(variance / length)):
        return ""
    shown = ", ".join(f"{mean:.1f}" for mean in means)
    return (
        f"the last three windows of {length} s differ by {gap / middle:.0%}: {shown} requests/s "
        f"(at most {SAME_WITHIN:.0%})"
    )


def _backlog_grows(in_flight: Sequence[float], throughput_rps: float) -> str:
    slope, error = _slope(in_flight)
    if slope <= max(_BACKLOG_RPS_SHARE * throughput_rps, _ONE_SIDED_1_PERCENT * error):
        return ""
    return (
        f"the backlog grows by {slope:.2f} requests each second "
        f"(from {fmean(in_flight[:5]):.0f} to {fmean(in_flight[-5:]):.0f} in flight)"
    )


def _slope(values: Sequence[float]) -> tuple[float, float]:
    """Least-squares slope per second, and its standard error.

    The error is that of independent residuals by sqrt((1 + r) / (1 - r)), r their correlation from
    one second to the next: a queue that is long now is still long a second later.
    """
    n = len(values)
    if n < 2 * WINDOWS:
        return 0.0, 0.0
    centre = (n - 1) / 2
    mean = fmean(values)
    width = n * (n * n - 1) / 12
    slope = sum((at - centre) * (value - mean) for at, value in enumerate(values)) / width
    left = [value - mean - slope * (at - centre) for at, value in enumerate(values)]
    squares = math.fsum(value * value for value in left)
    if squares == 0:
        return slope, 0.0
    r = math.fsum(a * b for a, b in pairwise(left)) / squares
    # A short series shows less correlation than there is, by about (1 + 4 r) / n.
    r = min(0.95, max(0.0, r + (1 + 4 * r) / n))
    return slope, math.sqrt(squares / (n - 2) / width * (1 + r) / (1 - r))


def _little_fails(
    concurrency: float, throughput_rps: float, mean_seconds: float, seconds: int
) -> str:
    """|N - X R| against 5 % of N and twice the error of a mean of `seconds` counts of N."""
    expected = throughput_rps * mean_seconds
    gap = abs(concurrency - expected)
    chance = _TWO_ERRORS * math.sqrt(max(concurrency, expected) / max(1, seconds))
    if gap <= max(LITTLE_WITHIN * concurrency, chance):
        return ""
    share = f"{gap / concurrency:.0%}" if concurrency > 0 else "all"
    return (
        f"Little's law is off by {share}: {concurrency:.1f} in flight, but {throughput_rps:.1f} "
        f"requests/s of {mean_seconds * 1000:.0f} ms make {expected:.1f} "
        f"(at most {LITTLE_WITHIN:.0%})"
    )


def _fell_behind(rates: Sequence[float], offered: Sequence[float], concurrency: float) -> str:
    """A few requests are always open at the end; that is no falling behind."""
    intended = math.fsum(offered)
    done = math.fsum(rates)
    missing = intended - done
    chance = _TWO_ERRORS * math.sqrt(2 * max(0.0, concurrency)) + 1
    if missing <= max((1 - KEPT_AT_LEAST) * intended, chance):
        return ""
    return (
        f"only {done:.0f} of {intended:.0f} intended requests finished: {done / intended:.1%} "
        f"(at least {KEPT_AT_LEAST:.0%})"
    )
