"""What has to happen ten times a second, as long as requests come."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

PERIOD_SECONDS = 0.1
IDLE_SECONDS = 10.0
# So long without a tick, and the loop that should have ticked is gone: another one took over.
LOST_SECONDS = 1.0


class Ticker:
    """Calls `on_tick` every 0.1 s on the running loop, from the first `start` until it has said for
    10 s that nothing came; then `on_idle`. A service without requests is left alone.

    Whoever has a request looks whether it is `lost`, and calls `start` then.
    """

    def __init__(
        self,
        on_tick: Callable[[float], bool],
        clock: Callable[[], float],
        *,
        on_start: Callable[[asyncio.AbstractEventLoop], None],
        on_idle: Callable[[], None],
    ) -> None:
        self._on_tick = on_tick
        self._on_start = on_start
        self._on_idle = on_idle
        self._clock = clock
        self._handle: asyncio.TimerHandle | None = None
        self._busy_at = -math.inf
        # Later than this, it does not tick, or not on this loop.
        self.lost_after = -math.inf

    def start(self, now: float) -> None:
        """Tick from now on. Outside of an event loop nothing ticks."""
        self.lost_after = now + LOST_SECONDS
        self._busy_at = now
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self._handle is not None:
            self._handle.cancel()
        self._on_start(loop)
        self._handle = loop.call_later(PERIOD_SECONDS, self._tick, loop)

    def stop(self) -> None:
        """Tick no more, until the next `start`."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
            self._on_idle()
        self.lost_after = -math.inf

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = self._clock()
        self.lost_after = now + LOST_SECONDS
        if self._on_tick(now):
            self._busy_at = now
        if now - self._busy_at > IDLE_SECONDS:
            self.stop()
        else:
            self._handle = loop.call_later(PERIOD_SECONDS, self._tick, loop)
