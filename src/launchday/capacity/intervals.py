"""Intervals that hold for what load tests give: neighbours alike, tails long, runs few."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from launchday.capacity.results import Estimate

CONFIDENCE = 0.95
FEWEST_REPLICATES = 5

Floats = NDArray[np.float64]


def least_requests(quantile: float, confidence: float = CONFIDENCE, violations: int = 0) -> int:
    """How many requests a claim about `quantile` needs, if `violations` of them were over it.

    The smallest n with P(Binomial(n, 1 - quantile) <= violations) <= 1 - confidence (the rule of
    MLPerf's early stopping with no tolerance). It assumes independent requests, so that it is a
    minimum: p99 at 95 % needs 299 without a violation, 473 with one.
    """
    share = 1 - quantile
    low, high = violations, violations + 1
    while special.bdtr(violations, high, share) > 1 - confidence:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        enough = special.bdtr(violations, middle, share) <= 1 - confidence
        low, high = (low, middle) if enough else (middle, high)
    return high


def why_inconclusive(requests: int, quantile: float, confidence: float = CONFIDENCE) -> str | None:
    """Why so few requests say nothing about the quantile; None if they may."""
    needed = least_requests(quantile, confidence)
    if requests >= needed:
        return None
    return (
        f"INCONCLUSIVE: {requests} requests say nothing about p{100 * quantile:g}; "
        f"at {confidence:.0%} confidence it takes {needed} or more"
    )


def of_batch_means(means: Sequence[float]) -> Estimate:
    """Mean of the means of successive batches, with Student's t interval over the batches.

    It holds if a batch is long against how long the system remembers.

    Raises:
        ValueError: fewer than two batches.
    """
    return _student(means, f"t interval on {len(means)} batch means")


def of_replicates(values: Sequence[float]) -> Estimate:
    """Geometric mean of one value (a quantile) per run, with a t interval on its logarithm.

    The primary method: it covers 95 % where intervals from the requests of one run cover 15 %
    (reference, section 4; M/M/1, utilisation .8).

    Raises:
        ValueError: fewer than five runs, or a value that is not above 0.
    """
    if len(values) < FEWEST_REPLICATES:
        raise ValueError(f"{len(values)} runs, at least {FEWEST_REPLICATES} are needed")
    if not all(value > 0 for value in values):
        raise ValueError("latencies must be above 0")
    logs = _student([math.log(value) for value in values], "")
    low, high = (None if edge is None else math.exp(edge) for edge in (logs.low, logs.high))
    method = f"t interval on the logarithm over {len(values)} independent runs"
    return Estimate(math.exp(logs.value), low, high, len(values), method)


def of_blocks(
    series: Sequence[float], quantile: float, block: int, seed: int = 1, rounds: int = 400
) -> Estimate:
    """A quantile of one run, with a moving block bootstrap: a fallback that is too narrow.

    Blocks of `block` successive values are drawn with replacement. It covers .82 for a nominal .95
    where `of_replicates` covers .95 (reference, section 4), which `method` says.

    Raises:
        ValueError: there are fewer than two blocks.
    """
    if block < 1 or len(series) < 2 * block:
        raise ValueError(f"{len(series)} values make fewer than two blocks of {block}")
    values = np.asarray(series, dtype=float)
    rng = np.random.default_rng(seed)
    picked = block_indices(len(values), block, rounds, rng)
    drawn = np.quantile(values[picked], quantile, axis=1)
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    method = f"moving block bootstrap (blocks of {block}; fallback, may be too narrow)"
    value = float(np.quantile(values, quantile))
    return Estimate(value, float(low), float(high), len(values) // block, method)


def block_indices(
    length: int, block: int, rounds: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """`rounds` rows of `length` indices: moving blocks of `block`, drawn with replacement."""
    count = -(-length // block)
    starts = rng.integers(0, length - block + 1, (rounds, count))
    rows = (starts[:, :, None] + np.arange(block)).reshape(rounds, -1)
    return rows[:, :length]


def _student(values: Sequence[float], method: str) -> Estimate:
    n = len(values)
    if n < 2:
        raise ValueError(f"an interval needs at least two values, got {n}")
    mean = fmean(values)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * stdev(values) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n, method)
