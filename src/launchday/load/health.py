"""How honest a generator process is: what could have spoilt its load, sampled once a second."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gevent

from launchday.counts import Arrivals, HealthSample
from launchday.load import system

_TIMER_SECONDS = 0.05


@dataclass(frozen=True)
class Sources:
    """Where the numbers come from. Each is a function without arguments.

    `cpu_seconds`: CPU time of all threads of the process; `monotonic_seconds`: for how much time
    passed; `clock_offset_seconds`: the wall clock minus the monotonic one; the others count, or
    are None where the system does not tell.
    """

    cpu_seconds: Callable[[], float] = time.process_time
    monotonic_seconds: Callable[[], float] = time.perf_counter
    clock_offset_seconds: Callable[[], float] = system.clock_offset_seconds
    open_files: Callable[[], int | None] = system.open_files
    open_files_limit: Callable[[], int | None] = system.open_files_limit
    time_wait_sockets: Callable[[], int | None] = system.time_wait_sockets
    ephemeral_ports: Callable[[], int | None] = system.ephemeral_ports


class Health:
    """Samples one generator process between `start` and `stop`.

    A greenlet sleeps 50 ms again and again: how late it wakes is how long something held up the
    event loop, and so the arrivals that were due meanwhile.
    """

    def __init__(self, sources: Sources | None = None) -> None:
        self._from = sources or Sources()
        self._timer: gevent.Greenlet | None = None
        self._stall_seconds = 0.0
        self._collecting_since = 0.0
        self._collection_seconds = 0.0
        self._sockets_refused = 0
        self._remember()

    def start(self) -> None:
        """Begin to watch the event loop and the garbage collector."""
        self._remember()
        gc.callbacks.append(self._collected)
        self._timer = gevent.spawn(self._watch_loop)

    def stop(self) -> None:
        """End what `start` began; may be called twice."""
        if self._timer is not None:
            self._timer.kill()
            self._timer = None
            gc.callbacks.remove(self._collected)

    def failed(self, error: BaseException) -> None:
        """Tell of a request that got no answer: counts it if it was for want of a socket here."""
        self._sockets_refused += system.is_no_socket(error)

    def sample(self, now_seconds: float, arrivals: Arrivals) -> HealthSample:
        """How the process was since the sample before.

        `now_seconds` counts from the start of the schedule; `arrivals` are those that were
        counted since then (`SampleBook.flush` returns them).
        """
        source = self._from
        cpu, passed, offset = self._cpu, self._monotonic, self._offset
        stall, collection, refused = (
            self._stall_seconds,
            self._collection_seconds,
            self._sockets_refused,
        )
        self._remember()
        files, waiting = source.open_files(), source.time_wait_sockets()
        elapsed = self._monotonic - passed
        return HealthSample(
            second=math.floor(now_seconds),
            cpu_share=round((self._cpu - cpu) / elapsed, 4) if elapsed > 0 else 0.0,
            loop_stall_seconds=round(stall, 6),
            lateness_p50_seconds=_rounded(arrivals.lateness.quantile(0.5)),
            lateness_p99_seconds=_rounded(arrivals.lateness.quantile(0.99)),
            dropped=arrivals.dropped,
            open_files=files,
            open_files_limit=source.open_files_limit(),
            ports_used=None if files is None or waiting is None else files + waiting,
            ports=source.ephemeral_ports(),
            clock_step_seconds=round(self._offset - offset, 6),
            gc_pause_seconds=round(collection, 6),
            sockets_refused=refused,
        )

    def _remember(self) -> None:
        self._cpu = self._from.cpu_seconds()
        self._monotonic = self._from.monotonic_seconds()
        self._offset = self._from.clock_offset_seconds()
        self._stall_seconds = self._collection_seconds = 0.0
        self._sockets_refused = 0

    def _watch_loop(self) -> None:
        now = self._from.monotonic_seconds
        while True:
            due = now() + _TIMER_SECONDS
            gevent.sleep(_TIMER_SECONDS)
            self._stall_seconds = max(self._stall_seconds, now() - due)

    def _collected(self, phase: str, _: Mapping[str, Any]) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._collecting_since = now
            return
        self._collection_seconds = max(self._collection_seconds, now - self._collecting_since)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
