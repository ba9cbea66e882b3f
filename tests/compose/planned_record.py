"""A record of steps, made up, for `launchday plan` inside the stack.

python -m tests.compose.planned_record DIRECTORY
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from launchday.outcomes import Outcome
from tests.capacity.staircase import staircase, write_steps

RATES = (15, 25, 35, 45, 55, 65, 70, 75)
ALPHA, BETA, GAMMA = 0.05, 0.01, 20.0  # at most 85 requests/s, with ten at once


def throughput(concurrency: float) -> float:
    """What the scalability law says of a replica."""
    waiting = ALPHA * (concurrency - 1) + BETA * concurrency * (concurrency - 1)
    return GAMMA * concurrency / (1 + waiting)


def by_the_law(_: int, offered: int) -> Mapping[Outcome, tuple[int, float]]:
    """Everything well, as late as Little's law makes it."""
    concurrency = next(tenths / 10 for tenths in range(100) if throughput(tenths / 10) >= offered)
    return {Outcome.OK: (offered, concurrency / max(offered, 1))}


if __name__ == "__main__":
    write_steps(Path(sys.argv[1]), by_the_law, points=staircase(RATES, 60))
