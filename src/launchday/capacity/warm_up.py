"""Where the warm-up of a step ends: MSER-5, which needs no setting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, variance

BATCH = 5
"""Values per batch, as in MSER-5."""

_FEWEST_KEPT = 3
"""Batches that must stay: the statistic of one or two is small by chance alone."""

_ERRORS_APART = 3.3


def mser5(values: Sequence[float]) -> int | None:
    """The index at which the steady part of `values` begins; None if it is beyond their middle.

    Means z of n batches of five values; the batches before d are warm-up, where d minimises
    sum_{i>=d} (z_i - mean z_d..z_n)² / (n - d)² (Spratt 1998; Mahajan and Ingalls 2004). The rule
    rejects a d beyond n/2: most of the step was warm-up, hold it longer. Fewer than six whole
    batches tell nothing: 0. Of equal minima the earliest counts.

    In a short series of pure noise the minimum lies beyond the middle once in four times (60
    values: 26 %, measured). So such a d is believed only where the halves differ by more than 3.3
    standard errors; else the best d of the first half is taken.

    Raises:
        ValueError: a value is not finite.
    """
    if not all(math.isfinite(value) for value in values):
        raise ValueError("the values of a step must be finite numbers")
    means = [
        fmean(values[start : start + BATCH]) for start in range(0, len(values) - BATCH + 1, BATCH)
    ]
    if len(means) < 2 * _FEWEST_KEPT:
        return 0
    cuts = range(len(means) - _FEWEST_KEPT + 1)
    best = min(cuts, key=lambda cut: (_marginal_error(means[cut:]), cut))
    middle = len(means) // 2
    if best <= len(means) / 2:
        return best * BATCH
    if _differ(means[:middle], means[middle:]):
        return None
    return BATCH * min(cuts[: middle + 1], key=lambda cut: (_marginal_error(means[cut:]), cut))


def _differ(before: Sequence[float], after: Sequence[float]) -> bool:
    """Welch's t of two groups of batch means, beyond 3.3."""
    gap = abs(fmean(before) - fmean(after))
    return gap > _ERRORS_APART * math.sqrt(_error_squared(before) + _error_squared(after))


def _error_squared(values: Sequence[float]) -> float:
    return variance(values) / len(values)


def _marginal_error(kept: Sequence[float]) -> float:
    mean = fmean(kept)
    return math.fsum((value - mean) ** 2 for value in kept) / len(kept) ** 2
