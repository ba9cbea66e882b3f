"""Who is refused without a wait, because more critical requests need the slots."""

from __future__ import annotations

import math

CLASSES = 4
COHORTS = 128
# What the queue is meant to refuse of what is let through to it: less, and slots run idle.
QUEUE_SHARE = 0.3
# The event loop serves in the order of arrival: what it refuses itself is of any criticality.
LOOP_SHARE = 0.1
REGROWTH = 1.5
LARGEST_STEP = 0.2
LARGEST_SHARE = 0.98
FORGET_SECONDS = 0.5
# The golden ratio: its multiples modulo 1 are spread as evenly as numbers can be (Weyl, 1916).
_GOLDEN = (math.sqrt(5) - 1) / 2


class PriorityThreshold:
    """Refuses a share of the requests at once, the least critical first.

    A refusal by the queue costs a future and a wait; this one costs a comparison. The share p is
    the largest of what the signals ask for and of what the queue shows. Of the offered requests
    (mean over half a second) `served` got through both; while the queue stands::

        p = 1 - served / offered / (1 - 0.3)

    so that the queue keeps refusing 0.3 of what is let through to it (0.1 where the event loop is
    what is short): never empty for long, so no slot idle, and short. While it does not stand,
    1 - p grows by at least a half per tick. p moves by at most 0.2 per tick, and is at most 0.98:
    the rest finds out whether things are better. The share is taken from the lowest of the four
    criticalities, then the next: of the class in between a part, spread evenly.

    Source: priority with 512 levels (four criticalities of 128 cohorts) as in Uber's Cinnamon and
    WeChat's DAGOR (Zhou and others, 2018); the control law is launchday's: what was
    served is measured at the queue, so that no capacity has to be known or guessed.
    """

    def __init__(self) -> None:
        self.share = 0.0
        self.active = False
        self._queue_share = 0.0
        self.refused_shares = [0.0] * CLASSES
        self._cohorts = [0.0] * CLASSES
        self.offered = [0] * CLASSES
        self._offered_mean = [0.0] * CLASSES
        self._refused = 0
        self._refused_mean = 0.0
        self._dropped = 0

    @property
    def level(self) -> float:
        """How many of the 512 levels are refused, from the least critical upwards."""
        return COHORTS * sum(self.refused_shares)

    def refuses(self, criticality: int, cost: int) -> bool:
        """Count one offered request, and decide whether it is refused at once."""
        self.offered[criticality] += cost
        if not self.active:
            return False
        share = self.refused_shares[criticality]
        if not share:
            return False
        cohort = self._cohorts[criticality] = (self._cohorts[criticality] + _GOLDEN) % 1.0
        if cohort >= share:
            return False
        self._refused += cost
        return True

    def dropped(self, cost: int) -> None:
        """Count one request that was let through and that the queue refused."""
        self._dropped += cost
        self._refused += cost

    def tick(
        self, seconds: float, *, overloaded: bool, pressure: float, meant_share: float = QUEUE_SHARE
    ) -> None:
        """Set the share anew, `seconds` after the last time.

        `overloaded`: the queue stands. `pressure`: the share that the signals ask for, 0 to 1.
        `meant_share`: what is meant to be refused of those that are let through.
        """
        # A short queue is empty now and then, also while it refuses.
        overloaded = overloaded or (self.active and self._dropped > 0)
        keep = math.exp(-seconds / FORGET_SECONDS)
        self._forget(keep)
        self._follow_queue(overloaded, meant_share)
        wanted = min(max(self._queue_share, pressure), LARGEST_SHARE)
        step = min(max(wanted - self.share, -LARGEST_STEP), LARGEST_STEP)
        self.share = max(self.share + step, 0.0)
        self._spread()

    def _forget(self, keep: float) -> None:
        counted = zip(self._offered_mean, self.offered, strict=True)
        self._offered_mean = [keep * mean + count for mean, count in counted]
        self._refused_mean = keep * self._refused_mean + self._refused
        self.offered = [0] * CLASSES
        self._refused = self._dropped = 0

    def _follow_queue(self, overloaded: bool, meant_share: float) -> None:
        let_in = 1 - self._queue_share
        if not overloaded:
            let_in *= REGROWTH
        offered = sum(self._offered_mean)
        if offered > 0:
            measured = (1 - self._refused_mean / offered) / (1 - meant_share)
            let_in = measured if overloaded else max(measured, let_in)
        self._queue_share = min(max(1 - let_in, 0.0), LARGEST_SHARE)

    def _spread(self) -> None:
        total = sum(self._offered_mean)
        left = self.share * total
        for criticality in reversed(range(CLASSES)):
            offered = self._offered_mean[criticality]
            part = min(left, offered) / offered if offered > 0 else 0.0
            # What rounding leaves over is no share: any at all shortens the waits of a class.
            self.refused_shares[criticality] = min(part, LARGEST_SHARE) if part > 1e-6 else 0.0
            left -= part * offered
        self.active = self.share > 0
