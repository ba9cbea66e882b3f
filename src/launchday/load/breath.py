"""Long work beside arrivals: in small pieces, with the event loop running in between."""

from __future__ import annotations

import time

import gevent

_WORK_SECONDS = 0.001
_PAUSE_SECONDS = 0.001


class Breath:
    """Call it after each piece of work: it lets others run once 1 ms of work was done.

    It pauses for 1 ms: gevent.sleep(0) would go on before the loop has looked at sockets and
    timers.
    """

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def __call__(self) -> None:
        if time.perf_counter() - self._since >= _WORK_SECONDS:
            gevent.sleep(_PAUSE_SECONDS)
            self._since = time.perf_counter()
