"""Ctrl-C and SIGTERM: noted at once, acted upon at the next safe point."""

from __future__ import annotations

import signal
import threading

from launchday.errors import LaunchdayError


class Interrupted(LaunchdayError):
    """The user (or the system) asked to stop; everything is undone while this goes up."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}; everything was undone")
        self.exit_code = 128 + number


class Stop:
    """Whether the run was asked to stop.

    A handler that raised could strike between starting a process and noting that it runs; this
    one only notes the signal, and every wait of the conductor looks at it. Further signals while
    things are being undone change nothing.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._number = 0

    @classmethod
    def installed(cls) -> Stop:
        """One that takes over SIGINT, SIGTERM and SIGHUP of this process (main thread only)."""
        stop = cls()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda received, _: stop.ask(received))
        return stop

    def ask(self, number: int) -> None:
        """Note that the run shall stop because of signal `number`; the first one counts."""
        self._number = self._number or number
        self._asked.set()

    def check(self) -> None:
        """Raise Interrupted if the run was asked to stop."""
        if self._asked.is_set():
            raise Interrupted(self._number)

    def wait(self, seconds: float) -> None:
        """Sleep, but at most until asked to stop; then raise Interrupted."""
        self._asked.wait(seconds)
        self.check()
