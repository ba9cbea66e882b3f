"""Steps of about the same load, taken together and put in order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from launchday.capacity.blocks import blocks_of
from launchday.capacity.steps import Batch, Step
from launchday.histogram import LogHistogram

SAME_LOAD_WITHIN = 0.015
"""A load is its own arrivals counted: of 10,000 Poisson ones that is 1 % wrong."""

DISTINCT_BEYOND = 0.03
_FALLEN_BELOW = 0.95
_MORE_IN_FLIGHT = 1.2


@dataclass(frozen=True)
class Level:
    """A load and the steps that held it. `axis` is what puts levels in order.

    It is the offered rate; in a closed loop whose throughput falls again it is what is in flight.
    `blocks` are those of its steps, empty for what other tools measured; `latency` is that of all.
    """

    rps: float
    axis: float
    steps: tuple[Step, ...]
    blocks: tuple[Batch, ...]
    latency: LogHistogram

    @property
    def requests(self) -> int:
        """Requests that its steps offered; 0 if that is unknown."""
        return sum(step.requests for step in self.steps)

    @property
    def steady(self) -> bool:
        """Whether all its steps were."""
        return all(step.steady for step in self.steps)


def levels_of(steps: Sequence[Step]) -> tuple[Level, ...]:
    """The levels of `steps`, rising; steps within 1.5 % of a level's first are the same load."""
    folded = folds_back(steps)

    def axis(step: Step) -> float:
        return step.concurrency if folded else step.offered_rps

    groups: list[list[Step]] = []
    for step in sorted(steps, key=lambda one: (axis(one), one.source)):
        if groups and axis(step) <= axis(groups[-1][0]) * (1 + SAME_LOAD_WITHIN):
            groups[-1].append(step)
        else:
            groups.append([step])
    return tuple(_level(group, [axis(step) for step in group]) for group in groups)


def _level(steps: Sequence[Step], axes: Sequence[float]) -> Level:
    blocks = tuple(blocks_of(steps))
    return Level(
        fmean(step.offered_rps for step in steps),
        fmean(axes),
        tuple(steps),
        blocks,
        LogHistogram.merged(block.latency for block in blocks),
    )


def folds_back(steps: Sequence[Step]) -> bool:
    """Whether more in flight meant a lower rate: a closed loop beyond its peak.

    That is a fifth more in flight at 5 % less, where nothing was shed: an open loop has fewer in
    flight at a lower rate, and a shedder keeps what is in flight level.
    """
    kept = [step for step in steps if step.shed_share < 0.01]
    return any(
        more.concurrency >= _MORE_IN_FLIGHT * less.concurrency > 0
        and more.offered_rps < _FALLEN_BELOW * less.offered_rps
        for less in kept
        for more in kept
    )


def distinct_loads(levels: Sequence[Level]) -> int:
    """How many of the levels differ: one within 3 % of the last counted is not counted."""
    last = -math.inf
    count = 0
    for level in levels:
        if level.axis > last * (1 + DISTINCT_BEYOND) or last == -math.inf:
            last = level.axis
            count += 1
    return count
