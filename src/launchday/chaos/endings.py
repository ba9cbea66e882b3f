"""The toxics that drop bytes and end connections: timeout, reset_peer, limit_data.

Behaviour as measured on Toxiproxy 2.12.0; `STAGES` names the stage of every toxic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from launchday.chaos.clock import Alarm
from launchday.chaos.stages import (
    Bandwidth,
    Chunk,
    Emit,
    Host,
    Latency,
    Slicer,
    SlowClose,
    Stage,
)
from launchday.chaos.toxics import Toxic


class Ending(Stage):
    """A stage that ends its connection after a time, or a number of bytes."""

    def __init__(self, toxic: Toxic, host: Host, emit: Emit, random: Callable[[], Random]) -> None:
        super().__init__(toxic, host, emit, random)
        self._over = False
        self._alarm: Alarm | None = None

    def cancel(self) -> None:
        """Stop the clock: the connection is gone."""
        self._over = True
        self._stop()

    def _stop(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _end(self) -> None:
        """Close the connection behind everything that was handed on before."""
        if not self._over:
            self._over = True
            self._stop()
            self._host.finish()
            self.emit(None)

    def _after(self, start: float, attribute: str, call: Callable[[], None]) -> None:
        delay_ms = max(0, self.toxic.attributes[attribute])
        self._alarm = self._clock.at(start + delay_ms / 1000, call)


class Timeout(Ending):
    """Drops all data; closes the connection after `timeout` ms of silence, 0 = never."""

    def __init__(self, toxic: Toxic, host: Host, emit: Emit, random: Callable[[], Random]) -> None:
        super().__init__(toxic, host, emit, random)
        self.update(toxic)

    def feed(self, chunk: Chunk) -> None:
        """Forget a chunk; data starts the silence anew. The end of file passes."""
        self._silent_since = self._clock.now()
        if chunk is None and not self._over:
            self.cancel()
            self.emit(None)

    def update(self, toxic: Toxic) -> None:
        """Take new attributes; the silence starts anew."""
        self._stop()
        self.toxic = toxic
        self._silent_since = self._clock.now()
        if toxic.attributes["timeout"] > 0 and not self._over:
            self._after(self._silent_since, "timeout", self._expire)

    def flush(self) -> None:
        """Its removal closes the connection: what was dropped cannot be made good."""
        self._end()

    def _expire(self) -> None:
        self._alarm = None
        if self._silent_since + self.toxic.attributes["timeout"] / 1000 <= self._clock.now():
            self._end()
        else:
            self._after(self._silent_since, "timeout", self._expire)


class ResetPeer(Ending):
    """Drops all data; `timeout` ms after the first of it, or the end of file, resets both sides."""

    _since: float | None = None

    def feed(self, chunk: Chunk) -> None:
        """Drop it; the first one starts the clock."""
        if self._since is None and not self._over:
            self._since = self._clock.now()
            self.update(self.toxic)

    def update(self, toxic: Toxic) -> None:
        """Take a new timeout; it counts from the first data still."""
        self._stop()
        self.toxic = toxic
        if self._since is not None and not self._over:
            self._after(self._since, "timeout", self._host.reset)

    def flush(self) -> None:
        """Its removal spares a connection that is idle; what was dropped cannot be made good."""
        if self._since is not None and not self._over:
            self._host.reset()


class LimitData(Ending):
    """Lets `bytes` bytes of a connection through, then closes it; updates do not count anew."""

    _passed = 0

    def feed(self, chunk: Chunk) -> None:
        """Hand on what is left of the limit."""
        if self._over:
            return
        if chunk is None:
            self._over = True
            self.emit(None)
            return
        allowed = chunk[: max(0, self.toxic.attributes["bytes"] - self._passed)]
        self._passed += len(allowed)
        if allowed:
            self.emit(allowed)
        if self._passed >= self.toxic.attributes["bytes"]:
            self._end()


STAGES: Mapping[str, type[Stage]] = {
    "bandwidth": Bandwidth,
    "latency": Latency,
    "limit_data": LimitData,
    "noop": Stage,
    "reset_peer": ResetPeer,
    "slicer": Slicer,
    "slow_close": SlowClose,
    "timeout": Timeout,
}
