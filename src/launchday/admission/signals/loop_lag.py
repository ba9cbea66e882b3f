"""How late the event loop is: refuses what CPU-bound handlers can no longer serve in time."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import deque
from collections.abc import Callable

from launchday.admission.limits import require_number
from launchday.admission.refusal import Refusal
from launchday.admission.signals.watchdog import OnStall, Watchdog, log_stall

# The least critical first: by criticality, what the tolerance is multiplied by.
CLASS_TOLERANCES = (6.0, 2.0, 1.5, 1.0)
# So many late ticks in a row are no burst: the loop does not catch up any more.
LATE_TICKS = 4
LASTING_LAG_TOLERANCE = 0.3
SMOOTHING_SECONDS = 1.0


class LoopLag:
    """Refuses at decision time, while the present iteration of the event loop lasts too long.

    A handler that computes for 5 ms and never awaits is never seen by a limit on requests in
    flight: only one ever is. The others wait in the loop's list of ready tasks and in socket
    buffers. A ticker that is due every period tells, at any moment, a lower bound of how long
    the present iteration lasts already::

        since = max(due of the next tick, first decision after the last tick)
        refuse when now - since > tolerance * (6, 2, 1.5, 1)[criticality]
        after 4 late ticks in a row (by more than half a period): > 0.3 of that

    What is left of the iteration then costs only refusals; the sockets are read, the next tick
    runs, and what is admitted after it is young. A request waits for less than two iterations
    with uvloop, three with asyncio. The requests of a stall that was not theirs (garbage
    collection, a blocking call, a loop that did not run) survive: time counts from the first
    decision on, so that each iteration admits some, however late it is.

    Source: the event-loop delay of under-pressure, here asked at each decision because a timer
    cannot fire while the loop is blocked, and the two tolerances of Facebook's CoDel queue
    (Maurer, "Fail at Scale", 2015): generous to a burst, strict with a queue that stands. In a
    seeded simulation (5 ms handlers, refusals of 45 us, 1.2 to 10 times the capacity) goodput is
    99 % of the physics limit ``(1 - N * r) / (1 - r)``, the wait of admitted critical requests 90
    to 125 ms at p99; at 0.8 times the capacity less than 0.1 % are refused. Requests have their
    turn in the order in which they came, so this alone cannot keep the classes apart: with a
    `PriorityThreshold` in front that learns of its refusals, at three times the capacity no
    critical_plus request is refused.

    `period_seconds`: of the ticker. `tolerance_seconds`: for sheddable requests; ten times the
    CPU time of the slowest common handler. `watchdog_seconds`: a stall that is longer is counted
    in `stalls`, and `on_stall` hears of it from another thread, once, while it lasts: its
    arguments are the stack of the loop's thread and the seconds so far. Default: a warning of
    the logger `launchday.admission`. `clock`: seconds, monotonic. Raises ValueError that names
    the argument, the value and what is allowed.
    """

    def __init__(
        self,
        *,
        period_seconds: float = 0.02,
        tolerance_seconds: float = 0.05,
        watchdog_seconds: float = 0.25,
        clock: Callable[[], float] = time.monotonic,
        on_stall: OnStall | None = None,
    ) -> None:
        self._period = require_number("period_seconds", period_seconds, above=0, at_most=1)
        tolerance = require_number("tolerance_seconds", tolerance_seconds, above=0, at_most=60)
        self._stall = require_number("watchdog_seconds", watchdog_seconds, above=0, at_most=3600)
        if on_stall is not None and not callable(on_stall):
            raise ValueError(f"on_stall must be a function or None, not {on_stall!r}")
        self._clock = clock
        self._on_stall = on_stall or log_stall
        self._tolerances = tuple(tolerance * factor for factor in CLASS_TOLERANCES)
        self._least = LASTING_LAG_TOLERANCE * min(self._tolerances)
        self.stalls = 0
        self._due = self._since = math.inf
        self._decided = False
        self._late_ticks = 0
        self._lag = 0.0
        # Falling from left to right: (time of the tick, how late), only what may still be largest.
        self._largest: deque[tuple[float, float]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._watchdog: Watchdog | None = None
        self._pid = 0

    @property
    def reason(self) -> Refusal:
        """What its refusals are called."""
        return Refusal.LOOP_LAG

    @property
    def lag_seconds(self) -> float:
        """How late the ticks were: a mean over about a second."""
        return self._lag

    @property
    def longest_seconds(self) -> float:
        """How late the latest tick of the last second was, or is."""
        now = self._clock()
        self._forget(now)
        largest = self._largest[0][1] if self._largest else 0.0
        return max(largest, self.overdue_seconds(now))

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tick in `loop`, in whose thread this is called, until `stop` or the end of the loop.

        Again for the same loop: nothing. For another loop, or after a fork: anew.
        """
        if self._loop is loop and self._owned():
            return
        self.stop()
        self._handle = loop.call_later(self._period, self._tick, loop)
        self._loop = loop
        self._pid = os.getpid()
        self._watchdog = Watchdog(
            loop, seconds=self._stall, clock=self._clock, on_stall=self._on_stall
        )
        self._expect(self._clock())
        self._watchdog.start()

    def stop(self) -> None:
        """End the ticker and the watchdog; nothing is refused afterwards. Again: nothing."""
        if self._loop is not None and self._owned():
            if self._handle is not None:
                self._handle.cancel()
            if self._watchdog is not None:
                self._watchdog.stop()
        # In a forked child all that belongs to the parent; its locks may even be held.
        self._loop = self._handle = self._watchdog = None
        self._due = self._since = math.inf
        self._late_ticks = 0
        self._lag = 0.0
        self._largest.clear()

    def overdue_seconds(self, now: float) -> float:
        """Return for how long, at least, the present iteration of the loop lasts already."""
        return max(0.0, now - self._due)

    def refuses(self, criticality: int, now: float) -> bool:
        """Return whether a request is refused; 0 is the highest of the four criticalities."""
        overdue = now - self._since
        if overdue <= self._least:
            self._decided = True
            return False
        if not self._decided:
            self._decided = True
            self._since = now
            return False
        tolerance = self._tolerances[min(max(criticality, 0), 3)]
        if self._late_ticks >= LATE_TICKS:
            tolerance *= LASTING_LAG_TOLERANCE
        return overdue > tolerance and self._owned()

    def _owned(self) -> bool:
        """Whether the loop can tick at all: not closed, and not left behind by a fork."""
        return self._loop is not None and not self._loop.is_closed() and self._pid == os.getpid()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._handle = loop.call_later(self._period, self._tick, loop)
        now = self._clock()
        late = self.overdue_seconds(now)
        self._late_ticks = self._late_ticks + 1 if late > self._period / 2 else 0
        self.stalls += late >= self._stall
        keep = math.exp(-(self._period + late) / SMOOTHING_SECONDS)
        self._lag = keep * self._lag + (1 - keep) * late
        self._forget(now)
        while self._largest and self._largest[-1][1] <= late:
            self._largest.pop()
        self._largest.append((now, late))
        self._expect(now)

    def _forget(self, now: float) -> None:
        # Also what a clock that jumped back has left in the future.
        while self._largest and not 0 <= now - self._largest[0][0] <= SMOOTHING_SECONDS:
            self._largest.popleft()

    def _expect(self, now: float) -> None:
        self._due = self._since = now + self._period
        self._decided = False
        if self._watchdog is not None:
            self._watchdog.beat(self._due)
