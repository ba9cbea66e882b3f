"""When each arrival is due, and what it draws: pure functions of curve, mode, seed and index."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count, islice
from typing import Literal

from launchday.load.curves import RateCurve

Mode = Literal["poisson", "even"]
MODES: tuple[Mode, ...] = ("poisson", "even")
_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15


# Not frozen: that makes each of many thousand a second three times as dear.
@dataclass(slots=True)
class Arrival:
    """One intended start of a journey: its global index, and when it is due.

    `due_seconds` counts from the start of the schedule.
    """

    index: int
    due_seconds: float


def schedule(
    curve: RateCurve,
    *,
    seed: int,
    mode: Mode = "poisson",
    shard: int = 0,
    shards: int = 1,
) -> Iterator[Arrival]:
    """The arrivals of one shard, in order of time.

    Poisson: arrival k is due at Λ⁻¹(E_1 + … + E_k), E ~ Exp(1), an exact non-homogeneous Poisson
    process (inversion; Çinlar 1975). Even: arrival k is due at Λ⁻¹(k + ½). A shard holds the
    arrivals whose index is `shard` modulo `shards`, so that any number of workers together run
    the same arrivals as one.

    Raises:
        ValueError: `mode` is unknown, or `shard` is not in 0..shards-1.
    """
    if not 0 <= shard < shards:
        raise ValueError(f"shard must be between 0 and shards - 1 = {shards - 1}, got {shard}")
    places = positions(curve, seed=seed, mode=mode)
    mine = islice(places, shard, None, shards)
    return map(Arrival, count(shard, shards), curve.inverses(mine))


def positions(curve: RateCurve, *, seed: int, mode: Mode) -> Iterator[float]:
    """Λ(due) of each arrival: counting these is cheaper than working out the times.

    Raises:
        ValueError: `mode` is unknown.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be 'poisson' or 'even', got {mode!r}")
    return _poisson(curve.total, seed) if mode == "poisson" else _even(curve.total)


def _poisson(total: float, seed: int) -> Iterator[float]:
    uniform, log = random.Random(seed).random, math.log
    place = -log(1.0 - uniform())
    while place < total:
        yield place
        place -= log(1.0 - uniform())


def _even(total: float) -> Iterator[float]:
    return (index + 0.5 for index in range(math.ceil(total - 0.5)))


def random_for(seed: int, arrival: Arrival) -> random.Random:
    """The arrival's own randomness, the same on whichever worker runs it."""
    return random.Random((seed << 40) ^ arrival.index)


class Lots:
    """Which of some weighted things each arrival gets: a seeded hash of its index.

    No state is drawn from, so that every worker says the same of any arrival in any order. The
    hash is the finaliser of SplitMix64 (Steele, Lea, Flood: OOPSLA 2014). `purpose` makes the
    lots for one thing independent of those for another.

    Raises:
        ValueError: no weight, or one that is negative or not finite, or all are 0.
    """

    def __init__(self, weights: Sequence[float], *, seed: int, purpose: int) -> None:
        if not weights or not all(math.isfinite(w) and w >= 0 for w in weights) or not sum(weights):
            raise ValueError(f"weights must be finite, >= 0 and not all 0, got {list(weights)!r}")
        whole = sum(weights)
        self._until = [total / whole for total in accumulate(weights)][:-1]
        self._start = _mixed(_mixed(seed & _MASK) + purpose)

    def of(self, index: int) -> int:
        """The position in `weights` of what arrival `index` gets."""
        if not self._until:
            return 0
        drawn = _mixed(self._start + index * _GOLDEN) >> 11
        return bisect_right(self._until, drawn * 2.0**-53)


def _mixed(value: int) -> int:
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
