"""The time of the embedded Toxiproxy: one alarm of the event loop for all that is held."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from collections.abc import Callable

# The longest that any timer is set for; whoever waits longer is asked again.
_LONGEST_SECONDS = 3600.0


class Alarm:
    """Something that will be called at a time; `cancel` makes it never happen."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Do not call it; harmless when it was called already."""
        self.call = None


class Clock:
    """Monotonic seconds, and calls at a time: never early, late by a millisecond or so.

    All alarms share one timer of the loop: a timer for each held chunk is what the loop, in
    whole milliseconds, would spend most of its time on.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.Handle | None = None
        self._timer_due = math.inf

    now = staticmethod(time.monotonic)

    def at(self, due: float, call: Callable[[], None]) -> Alarm:
        """Call `call` at `due` (seconds of `now()`) or as soon as possible after it."""
        alarm = Alarm(call)
        heapq.heappush(self._alarms, (due, next(self._numbers), alarm))
        if due < self._timer_due:
            self._set(due)
        return alarm

    def _set(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        # uvloop rounds to milliseconds, and would turn idly for what it rounds down.
        wait = math.ceil(min(max(0.0, due - self.now()), _LONGEST_SECONDS) * 1000) / 1000
        self._timer = self._loop.call_later(wait, self._ring)

    def _ring(self) -> None:
        self._timer, self._timer_due = None, math.inf
        now = self.now()
        # What is set while ringing waits for the next turn: one that asks for "at once" again
        # and again must not stop everything else.
        ringing = []
        while self._alarms and self._alarms[0][0] <= now:
            ringing.append(heapq.heappop(self._alarms)[2])
        for alarm in ringing:
            if alarm.call is not None:
                alarm.call()
        while self._alarms and self._alarms[0][2].call is None:
            heapq.heappop(self._alarms)
        if self._alarms and self._alarms[0][0] < self._timer_due:
            self._set(self._alarms[0][0])
