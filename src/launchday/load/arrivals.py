"""When each arrival is due: a pure function of curve, mode, seed and shard."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from launchday.load.curves import RateCurve

Mode = Literal["poisson", "even"]


@dataclass(frozen=True)
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
    if mode not in ("poisson", "even"):
        raise ValueError(f"mode must be 'poisson' or 'even', got {mode!r}")
    if not 0 <= shard < shards:
        raise ValueError(f"shard must be between 0 and shards - 1 = {shards - 1}, got {shard}")
    return _schedule(curve, seed, mode, shard, shards)


def _schedule(
    curve: RateCurve, seed: int, mode: Mode, shard: int, shards: int
) -> Iterator[Arrival]:
    rng = random.Random(seed)
    index = 0
    expected = rng.expovariate(1.0) if mode == "poisson" else 0.5
    while expected < curve.total:
        if index % shards == shard:
            yield Arrival(index, curve.inverse(expected))
        index += 1
        expected += rng.expovariate(1.0) if mode == "poisson" else 1.0


def random_for(seed: int, arrival: Arrival) -> random.Random:
    """The arrival's own randomness, the same on whichever worker runs it."""
    return random.Random((seed << 40) ^ arrival.index)
