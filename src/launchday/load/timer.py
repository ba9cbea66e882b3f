"""Sleeps until an instant, precisely and without spinning, inside gevent's event loop."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from contextlib import suppress
from typing import Any, Protocol

import gevent
from gevent.hub import get_hub

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1
_READ = 1
_FIRST_IN_LINE = 2  # libev's highest priority: before the answers that came in meanwhile


class Timer(Protocol):
    """What the pacer sleeps with. `kind` is written to the record."""

    kind: str

    def sleep_until(self, instant: float) -> None:
        """Return at `instant` (seconds on time.perf_counter()) or later, never earlier.

        The event loop runs in between, also if the instant has passed.
        """

    def close(self) -> None:
        """Give back what it holds."""


def best_timer() -> Timer:
    """A timerfd where the system has one, else gevent's own sleep (1 ms and more too late).

    To be made in the process that uses it, after a fork: an event loop belongs to one process.
    """
    if sys.platform != "linux":
        return SleepTimer()
    try:
        return FdTimer()
    except (OSError, AttributeError):  # a kernel or C library without it
        return SleepTimer()


class SleepTimer:
    """gevent.sleep: bound by the 1 ms of libev's epoll timeout."""

    kind = "gevent.sleep"

    def sleep_until(self, instant: float) -> None:
        """See Timer."""
        while (left := instant - time.perf_counter()) > 0:
            gevent.sleep(left)
        gevent.sleep(0)

    def close(self) -> None:
        """See Timer."""


class FdTimer:
    """Linux's timerfd on CLOCK_MONOTONIC, absolute, as one watcher that the loop looks at first.

    Absolute, so that errors do not add up; no spinning, since that keeps the loop from polling and
    spoils every latency that the process measures. One greenlet at a time may sleep with it.

    Raises:
        OSError, AttributeError: the system has no timerfd.
    """

    kind = "timerfd"

    def __init__(self) -> None:
        self._fd = _create()
        self._hub = get_hub()
        self._sleeper: Any = None
        self._watcher = self._hub.loop.io(self._fd, _READ, priority=_FIRST_IN_LINE)
        self._watcher.start(self._expired)

    def sleep_until(self, instant: float) -> None:
        """See Timer."""
        # 0 would disarm it; an instant in the past expires at the next turn of the loop.
        _arm(self._fd, max(1, round(instant * 1e9)))
        self._sleeper = gevent.getcurrent()
        try:
            self._hub.switch()
        finally:
            self._sleeper = None

    def close(self) -> None:
        """See Timer."""
        self._watcher.stop()
        self._watcher.close()
        os.close(self._fd)

    def _expired(self) -> None:
        with suppress(BlockingIOError):  # armed anew meanwhile
            os.read(self._fd, 8)
            if self._sleeper is not None:
                self._sleeper.switch()


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


if sys.version_info >= (3, 13):

    def _create() -> int:
        return os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)

    def _arm(fd: int, nanoseconds: int) -> None:
        os.timerfd_settime_ns(fd, flags=os.TFD_TIMER_ABSTIME, initial=nanoseconds)

else:
    _libc = ctypes.CDLL(None, use_errno=True)
    _spec = _TimerSpec()

    def _create() -> int:
        fd = int(_libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        if fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        return fd

    def _arm(fd: int, nanoseconds: int) -> None:
        _spec.value.seconds, _spec.value.nanoseconds = divmod(nanoseconds, 1_000_000_000)
        if _libc.timerfd_settime(fd, _ABSOLUTE, ctypes.byref(_spec), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
