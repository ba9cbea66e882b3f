"""Where a load was held: spans of seconds with the same users, or with the same rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SHORTEST_SECONDS = 10
"""A load that was held for less is no load."""

_CLOSED_LOOP_BUSY = 0.9
_SHORTEST_PIECE = 5
_CHANGE_IN_ERRORS = 5.0
_CHANGE_SHARE = 0.03
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class Plateau:
    """Seconds `first` up to, not including, `after`; `words` say what was held."""

    first: int
    after: int
    words: str

    @property
    def seconds(self) -> int:
        """How long it was held."""
        return self.after - self.first


def warm_up_of(seconds: float) -> int:
    """Seconds at the beginning of a plateau that are left out: a fifth of it, 2 to 30 s.

    One rule that does not look at the values, for they are often few: MSER-5 needs thirty.
    """
    return min(30, max(2, math.ceil(seconds / 5)))


def find_plateaus(
    levels: Sequence[float | None], rates: Sequence[float], in_flight: Sequence[float]
) -> list[Plateau]:
    """Cut seconds into plateaus, short ones too; one value of each argument for each second.

    By `levels` (users, threads; None: as before) where two of them were held for 10 s. Else the
    users do not say the load: if nine in ten of them always have a request in flight (a closed
    loop) it is one plateau; if not, an arrival rate was driven, and `rates` are cut where they
    change.
    """
    known = _filled(levels)
    runs = _runs(known)
    if len({run.words for run in runs if run.seconds >= SHORTEST_SECONDS}) >= 2:
        return runs
    values = [level for level in known if level is not None]
    if len(set(values)) == 1 and np.mean(in_flight) >= _CLOSED_LOOP_BUSY * values[0]:
        return runs
    edges = [0, *rate_changes(np.asarray(rates, dtype=float)), len(rates)]
    return [
        Plateau(first, after, f"{np.mean(rates[first:after]):.4g} requests/s")
        for first, after in pairwise(edges)
        if after > first
    ]


def _filled(levels: Sequence[float | None]) -> list[float | None]:
    filled: list[float | None] = []
    for level in levels:
        filled.append(level if level is not None or not filled else filled[-1])
    return filled


def _runs(levels: Sequence[float | None]) -> list[Plateau]:
    edges = [0, *(i for i in range(1, len(levels)) if levels[i] != levels[i - 1]), len(levels)]
    return [
        Plateau(first, after, f"{levels[first]:g} users")
        for first, after in pairwise(edges)
        if levels[first]  # neither unknown nor nobody
    ]


def rate_changes(rates: NDArray[np.float64]) -> list[int]:
    """The indices at which the mean of `rates` changes, by binary segmentation.

    A piece of n values is cut at the k that maximises k(n-k)/n · (mean before - mean after)², if
    that is beyond 5 standard deviations squared and the means differ by more than 3 %. The
    deviation is that of the differences of neighbours (median absolute, so that the changes
    themselves do not count), at least a fifth of Poisson's: paced arrivals vary less.
    """
    if len(rates) < 2 * _SHORTEST_PIECE:
        return []
    noise = _MAD_TO_SIGMA * float(np.median(np.abs(np.diff(rates)))) / math.sqrt(2)
    least = max(noise**2, 0.04 * float(np.mean(rates)), 1e-12)
    changes: list[int] = []
    pieces = [(0, len(rates))]
    while pieces:
        first, after = pieces.pop()
        cut = _best_cut(rates[first:after], least)
        if cut is not None:
            changes.append(first + cut)
            pieces += [(first, first + cut), (first + cut, after)]
    return sorted(changes)


def _best_cut(rates: NDArray[np.float64], variance: float) -> int | None:
    n = len(rates)
    if n < 2 * _SHORTEST_PIECE:
        return None
    sums = np.cumsum(rates)
    cuts = np.arange(_SHORTEST_PIECE, n - _SHORTEST_PIECE + 1)
    before = sums[cuts - 1] / cuts
    behind = (sums[-1] - sums[cuts - 1]) / (n - cuts)
    gains = cuts * (n - cuts) / n * (before - behind) ** 2
    best = int(np.argmax(gains))
    gap = abs(float(before[best] - behind[best]))
    found = gains[best] > _CHANGE_IN_ERRORS**2 * variance and gap > _CHANGE_SHARE * sums[-1] / n
    return int(cuts[best]) if found else None
