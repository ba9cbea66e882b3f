"""Whether the shedder refuses, only says whom it would refuse, or does nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from random import Random
from typing import Any

from launchday.admission.class_queue import Waiter
from launchday.admission.limiter import Limiter, Permit
from launchday.admission.limits import Outcome
from launchday.admission.refusal import Refusal

# With fewer, what is usual is not known.
LEAST_DURATIONS = 16


class Mode(StrEnum):
    """`ENFORCE` refuses. `OBSERVE` admits everybody and counts whom it would have refused.
    `OFF` admits everybody and decides nothing; requests are still counted.
    """

    OFF = "off"
    OBSERVE = "observe"
    ENFORCE = "enforce"


def parse_mode(value: Any) -> Mode:
    """Return the mode of that name. Raises ValueError that names those that there are."""
    try:
        return Mode(value)
    except ValueError:
        allowed = ", ".join(Mode)
        raise ValueError(f"mode must be one of {allowed}, not {value!r}") from None


class CalmDurations:
    """How long requests take while nobody would be refused: the last 64, in seconds.

    One that took over twice as long as all of them is left out: it met what is left of a surge.
    `beyond` is the number of requests in flight that would have been refused: as long as there are
    any, how long the others take is not what it would be.
    """

    def __init__(self, random: Random) -> None:
        self.beyond = 0
        self._random = random
        self._recent: deque[float] = deque(maxlen=64)

    def add(self, seconds: float) -> None:
        """Take one in that ended in calm times."""
        if len(self._recent) < LEAST_DURATIONS or seconds <= 2 * max(self._recent):
            self._recent.append(seconds)

    def draw(self) -> float | None:
        """Return one of them, each equally likely; None while there are too few."""
        if len(self._recent) < LEAST_DURATIONS:
            return None
        return self._recent[int(self._random.random() * len(self._recent))]


class ObservedPermit(Waiter):
    """A request that runs at once, while the gate decides about it as if it could refuse.

    From when the gate would let it begin it holds its slots until it ends. While slots are short,
    or requests run that would have been refused, for as long as requests take in calm times
    (`CalmDurations`): these run, too, and slow the service down, which refusals would not let
    happen. `on_refused` hears the reason, at most once.
    """

    __slots__ = (
        "_calm", "_clock", "_ended_after", "_limiter", "_on_refused", "_permit", "_refused",
        "_since", "waited_seconds",
    )  # fmt: skip

    def __init__(
        self,
        limiter: Limiter,
        calm: CalmDurations,
        criticality: int,
        cost: int,
        on_refused: Callable[[Refusal], None],
    ) -> None:
        super().__init__(criticality, cost)
        self.waited_seconds = 0.0
        self._limiter = limiter
        self._calm = calm
        self._on_refused = on_refused
        self._clock = limiter.clock
        self._since = limiter.clock()
        self._permit: Permit | None = None
        self._refused = False
        self._ended_after: float | None = None

    def decided(self, decision: Permit | Refusal | None) -> None:
        """Take what the gate said at once; None: wait in its queue."""
        if isinstance(decision, Permit):
            self._begin(decision)
            return
        refusal = decision or self._limiter.join(self)
        if refusal is not None:
            self._refuse(refusal)

    def settle(self, refusal: Refusal | None) -> None:
        """Hear how the wait would have ended."""
        if refusal is not None:
            self._refuse(refusal)
        else:
            self._begin(Permit(self._limiter, self.criticality, self.cost, self._clock()))

    def release(
        self, outcome: Outcome = Outcome.SUCCESS, answered_at: float | None = None
    ) -> float:
        """End; return how many seconds the request took."""
        seconds = self._ended_after = self._clock() - self._since
        if self._permit is not None:
            self._end(self._permit, outcome, answered_at)
        if self._refused:
            self._calm.beyond -= 1
        elif outcome is Outcome.SUCCESS and not self._disturbed:
            self._calm.add(seconds)
        return seconds

    @property
    def _disturbed(self) -> bool:
        """Whether the service does more, or somebody waits longer, than refusals would allow."""
        return self._limiter.gate.contended or self._calm.beyond > 0

    def _end(self, permit: Permit, outcome: Outcome, answered_at: float | None) -> None:
        """Give the slots back, as much later as it would have begun later."""
        self._permit = None
        waited_seconds = permit.admitted_at - self._since
        if waited_seconds <= 0:
            permit.release(outcome, answered_at)
            return
        if answered_at is not None:
            answered_at += waited_seconds
        asyncio.get_running_loop().call_later(waited_seconds, permit.release, outcome, answered_at)

    def _refuse(self, refusal: Refusal) -> None:
        self._refused = True
        if self._ended_after is None:
            self._calm.beyond += 1
        self._on_refused(refusal)

    def _begin(self, permit: Permit) -> None:
        seconds = self._calm.draw() if self._disturbed else None
        if seconds is None:
            # It ended while it would have waited: then it would have gone on for as long.
            seconds = self._ended_after
        if seconds is None:
            self._permit = permit
        else:
            # It teaches a limit nothing: nobody took these seconds.
            asyncio.get_running_loop().call_later(seconds, permit.release, Outcome.IGNORED)
