"""A rising curve through noisy points, and where it crosses a level."""

from __future__ import annotations

import math
from collections.abc import Sequence


def rising(values: Sequence[float], weights: Sequence[float] | None = None) -> list[float]:
    """The non-decreasing sequence nearest to `values` by weighted squares.

    Pool adjacent violators (Ayer et al. 1955): a value below its predecessor is pooled with it,
    to their weighted mean, until nothing falls. `weights` must be above 0; none: all are 1.

    Raises:
        ValueError: another number of weights than of values, or a weight that is not above 0.
    """
    given = [1.0] * len(values) if weights is None else list(weights)
    if len(given) != len(values) or not all(weight > 0 for weight in given):
        raise ValueError("each value needs a weight above 0")
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values, given, strict=True):
        pool = (value, weight, 1)
        while pools and pools[-1][0] >= pool[0]:
            pool = _pooled(pools.pop(), pool)
        pools.append(pool)
    return [mean for mean, _, count in pools for _ in range(count)]


def _pooled(
    before: tuple[float, float, int], after: tuple[float, float, int]
) -> tuple[float, float, int]:
    weight = before[1] + after[1]
    # Equal values stay what they are: rounding must not make a flat curve fall.
    same = before[0] == after[0]
    mean = before[0] if same else (before[0] * before[1] + after[0] * after[1]) / weight
    return mean, weight, before[2] + after[2]


def crossing(loads: Sequence[float], values: Sequence[float], level: float) -> float | None:
    """The load at which a rising curve through the knots first exceeds `level`; None: it does not.

    Between two knots the curve is straight. `-inf` if the first knot is above the level already.
    `loads` rise or stay, `values` are those of `rising`.
    """
    for at, value in enumerate(values):
        if value > level:
            return -math.inf if at == 0 else _between(loads, values, at, level)
    return None


def _between(loads: Sequence[float], values: Sequence[float], at: int, level: float) -> float:
    share = (level - values[at - 1]) / (values[at] - values[at - 1])
    return loads[at - 1] + share * (loads[at] - loads[at - 1])
