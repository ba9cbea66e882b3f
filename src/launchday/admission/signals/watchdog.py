"""A thread that sees a blocked event loop while it is blocked, and where."""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import threading
import traceback
from collections.abc import Callable

OnStall = Callable[[str, float], None]

logger = logging.getLogger("launchday.admission")


class Watchdog:
    """Calls `on_stall(stack, seconds)` once per stall of `loop` of at least `seconds`.

    No timer of the loop can tell that the loop is blocked, hence a thread. It sleeps until the
    next tick would be overdue by `seconds`: a few wake-ups per second, none of them in the loop.
    `stack` is the text of the stack of the loop's thread, `on_stall` is called in the thread of
    the watchdog; what it raises is logged. A loop that is closed or does not run is not blocked.
    Code that holds the interpreter lock (a long regular expression) hides its stack from every
    thread: it is seen when it lets go.

    Source: the slow-callback warning of asyncio's debug mode, which uvloop lacks and which only
    speaks once the stall is over.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        seconds: float,
        clock: Callable[[], float],
        on_stall: OnStall,
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._clock = clock
        self._on_stall = on_stall
        self._loop_thread = threading.get_ident()
        self._due = math.inf
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._watch, name="launchday-loop-watchdog", daemon=True
        )

    def start(self) -> None:
        """Begin to watch; `beat` says what to expect."""
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end; does not wait for it."""
        self._stopped.set()

    def beat(self, due: float) -> None:
        """Note, in the thread of the loop, that it lives, and when it will next say so."""
        self._loop_thread = threading.get_ident()
        self._due = due

    def _watch(self) -> None:
        reported = math.nan
        pause = self._seconds
        while not self._stopped.wait(pause) and not self._loop.is_closed():
            due = self._due
            overdue = self._clock() - due if self._loop.is_running() else 0.0
            pause = self._seconds
            if overdue >= self._seconds and due != reported:
                reported = due
                self._report(overdue)
            elif 0 < overdue < self._seconds:
                pause -= overdue

    def _report(self, overdue: float) -> None:
        frame = sys._current_frames().get(self._loop_thread)
        stack = "".join(traceback.format_stack(frame)) if frame else ""
        # Nothing may refer to the frame afterwards: it keeps all its local variables alive.
        del frame
        try:
            self._on_stall(stack, overdue)
        except Exception:
            logger.exception("on_stall raised")


def log_stall(stack: str, seconds: float) -> None:
    """Warn, with the stack: what is done about a stall unless another function is given."""
    logger.warning("the event loop has been blocked for %.3f s in:\n%s", seconds, stack)
