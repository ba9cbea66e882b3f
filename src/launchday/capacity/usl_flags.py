"""What makes a fitted scalability law doubtful (a flag) or worthless (refused), in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from scipy.special import stdtrit

from launchday.capacity.results import Estimate
from launchday.capacity.usl import Usl

ALPHA_AT_BOUND = "alpha at bound"
BETA_AT_BOUND = "beta at bound"
NO_PEAK = "no peak identified"
FEW_LOADS = "fewer than 6 distinct loads"
ABOVE_PEAK = "observed above the peak"
NOT_IDENTIFIED = "coefficients not identified"
RUNS = "residuals in runs"
ROBUST_DIFFERS = "robust fit differs"
UNUSABLE_POINTS = "unusable points"

LEAST_LOADS = 6
_SAME_LOAD = 1.02  # times the first of a group: replicates of one load never measure the same N
_MOST_ABOVE = 1.10  # times the peak's upper bound: no noise of a step's mean is that large
_FALSE_ALARMS = 0.05  # of a sound set of points; one-sided, over all its points
_MOST_FACTOR, _MOST_WIDTH = 10.0, 0.9
_RUNS_LEVEL = 0.05
_MOST_DIFFERENCE, _LEAST_MOVE = 0.25, 0.10
_EXACT = 1e-9  # of the largest throughput: residuals below are rounding


@dataclass(frozen=True)
class Evidence:
    """What was fitted: the points used, words for each one that was not, and the estimates.

    `spread_rps` is the standard deviation of a point's throughput at the peak.
    """

    points: Sequence[tuple[float, float]]
    unusable: Sequence[str]
    alpha: Estimate
    beta: Estimate
    gamma: Estimate
    peak_rps: Estimate
    residuals: Sequence[float]
    robust: tuple[float, float, float]
    spread_rps: float


def judge(evidence: Evidence) -> tuple[tuple[str, ...], str | None]:
    """The flags that hold, and why the fit is refused (every reason), None if it is not."""
    refusals = _refusals(evidence)
    doubts = _doubts(evidence)
    refused = "; ".join(words for _, words in refusals) or None
    return tuple(flag for flag, _ in refusals) + doubts, refused


def unusable_words(points: Sequence[tuple[float, float]]) -> tuple[str, ...]:
    """A sentence for each point that is no measurement: NaN, infinite, zero or negative."""
    return tuple(
        f"point {place} (in flight {n:g}, throughput {x:g}): both must be finite and above 0"
        for place, (n, x) in enumerate(points, 1)
        if not is_usable((n, x))
    )


def is_usable(point: tuple[float, float]) -> bool:
    """Whether both the load and the throughput are finite numbers above 0."""
    return all(math.isfinite(value) and value > 0 for value in point)


def distinct_loads(points: Sequence[tuple[float, float]]) -> int:
    """How many loads are told apart: those within 2 % of a group's least are one."""
    count, least = 0, 0.0
    for n in sorted(n for n, _ in points):
        if count == 0 or n > least * _SAME_LOAD:
            count, least = count + 1, n
    return count


def _refusals(evidence: Evidence) -> list[tuple[str, str]]:
    found = []
    if evidence.unusable:
        found.append((UNUSABLE_POINTS, "; ".join(evidence.unusable)))
    loads = distinct_loads(evidence.points)
    if loads < LEAST_LOADS:
        words = f"{loads} distinct load(s), at least {LEAST_LOADS} are needed; measure more steps"
        found.append((FEW_LOADS, words))
    elif _untold(evidence.alpha, evidence.gamma):
        words = "the points do not tell the coefficients apart; measure lower and higher loads"
        found.append((NOT_IDENTIFIED, words))
    above = _above_peak(evidence)
    if above is not None:
        found.append((ABOVE_PEAK, above))
    return found


def _doubts(evidence: Evidence) -> tuple[str, ...]:
    checks = (
        (ALPHA_AT_BOUND, evidence.alpha.value in (0, 1)),
        (BETA_AT_BOUND, evidence.beta.value in (0, 1)),
        (NO_PEAK, _holds_zero(evidence.beta)),
        (RUNS, _in_runs(evidence)),
        (ROBUST_DIFFERS, _robust_differs(evidence)),
    )
    return tuple(flag for flag, holds in checks if holds)


def _holds_zero(estimate: Estimate) -> bool:
    """Whether 0 cannot be excluded; nothing can be without an interval."""
    return estimate.low is None or estimate.low <= 0


def _untold(alpha: Estimate, gamma: Estimate) -> bool:
    """Whether γ is unsure by a factor of 10, or α by nearly all that it can be."""
    if gamma.low is None or gamma.high is None or alpha.low is None or alpha.high is None:
        return True
    return gamma.high > _MOST_FACTOR * max(gamma.low, 0.0) or alpha.high - alpha.low > _MOST_WIDTH


def _above_peak(evidence: Evidence) -> str | None:
    """A measured point that the curve says is impossible.

    Above the upper bound of X*, and above X* by more than noise explains: a t quantile of the
    residuals so high that a sound set of points passes it in 5 % of cases at any of its points
    (Bonferroni), or 10 % beyond that upper bound whatever the noise.
    """
    peak, highest = evidence.peak_rps, max(x for _, x in evidence.points)
    if peak.high is None or not math.isfinite(peak.high) or highest <= peak.high:
        return None
    points = len(evidence.points)
    rare = float(stdtrit(points - 3, 1 - _FALSE_ALARMS / points))
    if highest <= min(peak.value + rare * evidence.spread_rps, peak.high * _MOST_ABOVE):
        return None
    return (
        f"model invalid: {highest:g} per second was measured, above the fitted peak of "
        f"{peak.value:.4g} (to {peak.high:.4g}); something else than the load varied"
    )


def _in_runs(evidence: Evidence) -> bool:
    """Too few changes of sign along the loads (Wald, Wolfowitz 1940, exact): a wrong shape."""
    largest = max(x for _, x in evidence.points)
    ordered = sorted(zip((n for n, _ in evidence.points), evidence.residuals, strict=True))
    signs = [r > 0 for _, r in ordered if abs(r) > _EXACT * largest]
    runs = 1 + sum(a != b for a, b in pairwise(signs))
    positive = sum(signs)
    if min(positive, len(signs) - positive) == 0:
        return len(signs) >= LEAST_LOADS
    return _share_with_runs(runs, positive, len(signs) - positive) < _RUNS_LEVEL


def _share_with_runs(most: int, a: int, b: int) -> float:
    """P(runs <= most) of `a` of one and `b` of another sign in random order."""
    ways = 0
    for runs in range(2, most + 1):
        half = runs // 2
        if runs % 2 == 0:
            ways += 2 * math.comb(a - 1, half - 1) * math.comb(b - 1, half - 1)
        else:
            ways += math.comb(a - 1, half) * math.comb(b - 1, half - 1)
            ways += math.comb(a - 1, half - 1) * math.comb(b - 1, half)
    return ways / math.comb(a + b, a)


def _robust_differs(evidence: Evidence) -> bool:
    """Whether a coefficient differs by over 25 % where that matters.

    Matters: it moves the divisor 1 + α(N-1) + βN(N-1) at the largest load by over 10 %; a quarter
    more of nearly nothing is nothing.
    """
    n = max(n for n, _ in evidence.points)
    alpha, beta, gamma = (e.value for e in (evidence.alpha, evidence.beta, evidence.gamma))
    least = _LEAST_MOVE * Usl(alpha, beta, gamma).latency_seconds(n) * gamma
    compared = zip(
        (alpha, beta, gamma), evidence.robust, (n - 1, n * (n - 1), math.inf), strict=True
    )
    return any(
        abs(robust - fit) > _MOST_DIFFERENCE * max(robust, fit)
        and abs(robust - fit) * abs(term) > least
        for fit, robust, term in compared
    )
