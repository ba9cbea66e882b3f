"""Seconds into a schedule that steps of the clock of the wall do not change."""

from __future__ import annotations

import time


class ScheduleClock:
    """Counts from `epoch_unix`, read against the clock of the wall once, when it is made.

    A fault must not stay longer, or go at once, since somebody set the clock meanwhile.
    """

    def __init__(self, epoch_unix: float) -> None:
        self._epoch = time.monotonic() - (time.time() - epoch_unix)

    def elapsed_seconds(self) -> float:
        """Seconds since the epoch; negative before."""
        return time.monotonic() - self._epoch
