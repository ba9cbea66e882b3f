"""Blocks of a step that are long against its memory, and bounds of a share or a mean over them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy import special

from launchday.capacity.intervals import FEWEST_REPLICATES
from launchday.capacity.steps import Batch, Step
from launchday.histogram import LogHistogram, bucket_of, middle_of

BLOCK_SECONDS = 5.0
_BLOCKS_PER_STEP = 20
_FEWEST_BLOCKS = 4
CONFIDENCE = 0.95
"""One-sided, of each bound; an interval between two of them holds in nine cases of ten."""


@dataclass(frozen=True)
class Bounds:
    """A share or a mean, and one-sided 95 % bounds of it; infinite where too little was seen."""

    value: float
    low: float
    high: float


def blocks_of(steps: Sequence[Step]) -> list[Batch]:
    """The batches of steps of one load, merged into blocks that may count as independent.

    Blocks of a twentieth of the step, at least 5 s. Five or more steps of different runs: each run
    is one block, since runs differ by more than parts of a run do.
    """
    if len({step.run_id for step in steps}) == len(steps) >= FEWEST_REPLICATES:
        return [_merged(step.batches) for step in steps if step.batches]
    return [block for step in steps for block in _cut(step.batches)]


def _cut(batches: Sequence[Batch]) -> list[Batch]:
    length = max(BLOCK_SECONDS, sum(batch.seconds for batch in batches) / _BLOCKS_PER_STEP)
    blocks: list[Batch] = []
    part: list[Batch] = []
    seconds = 0.0
    for batch in batches:
        part.append(batch)
        seconds += batch.seconds
        if seconds >= length - 1e-9:
            blocks.append(_merged(part))
            part, seconds = [], 0.0
    if part and blocks:
        blocks[-1] = _merged([blocks[-1], *part])
    return blocks or ([_merged(part)] if part else [])


def _merged(batches: Sequence[Batch]) -> Batch:
    return Batch(
        sum(batch.seconds for batch in batches),
        sum(batch.offered for batch in batches),
        sum(batch.good for batch in batches),
        sum(batch.shed for batch in batches),
        sum(batch.errors for batch in batches),
        LogHistogram.merged(batch.latency for batch in batches),
    )


def share_over(blocks: Sequence[Batch], seconds: float) -> Bounds:
    """The share of admitted requests that took longer than `seconds`, by their bucket."""
    limit = bucket_of(seconds)
    within = limit if middle_of(limit) <= seconds else limit - 1

    def over(block: Batch) -> int:
        return sum(n for bucket, n in block.latency.counts.items() if bucket > within)

    return _share(blocks, over, lambda block: block.latency.total)


def shed_share(blocks: Sequence[Batch]) -> Bounds:
    """The share of offered requests that was shed."""
    return _share(blocks, lambda block: block.shed, lambda block: block.offered)


def error_share(blocks: Sequence[Batch]) -> Bounds:
    """The share of offered requests that failed."""
    return _share(blocks, lambda block: block.errors, lambda block: block.offered)


def mean_latency(blocks: Sequence[Batch]) -> Bounds:
    """Mean latency of admitted requests in seconds: t bounds on its logarithm over the blocks."""
    totals = [float(block.latency.total) for block in blocks]
    sums = [
        math.fsum(middle_of(bucket) * n for bucket, n in block.latency.counts.items())
        for block in blocks
    ]
    if math.fsum(totals) == 0:
        return Bounds(math.inf, math.inf, math.inf)
    mean = math.fsum(sums) / math.fsum(totals)
    if len(blocks) < _FEWEST_BLOCKS:
        return Bounds(mean, 0.0, math.inf)
    error = math.sqrt(_variance(sums, totals)) / mean
    factor = math.exp(float(special.stdtrit(len(blocks) - 1, CONFIDENCE)) * error)
    return Bounds(mean, mean / factor, mean * factor)


def _share(
    blocks: Sequence[Batch], hits: Callable[[Batch], int], total: Callable[[Batch], int]
) -> Bounds:
    """Bounds of Clopper and Pearson on the requests that the blocks are worth.

    Korn and Graubard (1998): n is divided by the design effect (variance over the blocks by that
    of independent requests, at least 1) and by (t / z)², since that variance is itself uncertain.
    """
    some = [(hits(block), total(block)) for block in blocks]
    n = sum(count for _, count in some)
    if n == 0:
        return Bounds(math.inf, math.inf, math.inf)
    share = sum(hit for hit, _ in some) / n
    if len(blocks) < _FEWEST_BLOCKS:
        return Bounds(share, 0.0, math.inf)
    variance = _variance([float(hit) for hit, _ in some], [float(count) for _, count in some])
    binomial = share * (1 - share) / n
    effect = max(1.0, variance / binomial) if binomial > 0 else 1.0
    t = float(special.stdtrit(len(blocks) - 1, CONFIDENCE))
    worth = n / effect * (float(special.ndtri(CONFIDENCE)) / t) ** 2
    hit, missed = share * worth, (1 - share) * worth
    low = float(special.betaincinv(hit, missed + 1, 1 - CONFIDENCE)) if hit > 0 else 0.0
    high = float(special.betaincinv(hit + 1, missed, CONFIDENCE)) if missed > 0 else 1.0
    return Bounds(share, low, high)


def _variance(sums: Sequence[float], totals: Sequence[float]) -> float:
    """Variance of the ratio sum(sums) / sum(totals) over k blocks, linearised."""
    k = len(sums)
    whole = math.fsum(totals)
    ratio = math.fsum(sums) / whole
    squares = math.fsum((s - ratio * n) ** 2 for s, n in zip(sums, totals, strict=True))
    return squares * k / (k - 1) / whole**2
