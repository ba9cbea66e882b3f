"""One direction of a proxied connection: what comes in, the stages it passes, what goes out."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from launchday.chaos.clock import Clock
from launchday.chaos.stages import Chunk, Stage


class Owner(Protocol):
    """The connection that a pipe belongs to."""

    clock: Clock

    def close(self) -> None:
        """Close both sockets behind what was written to them."""

    def reset(self) -> None:
        """End both sockets with RST."""

    def close_when_done(self) -> None:
        """A pipe came to its end: close when the other one did, too."""


class Pipe:
    """source -> stages -> sink, with backpressure, without losing or reordering a byte.

    Without stages bytes go straight to the sink (`direct`); `received_bytes` and `sent_bytes`
    count while the connection lives.
    """

    def __init__(self, owner: Owner) -> None:
        self.clock = owner.clock
        self.source: asyncio.Transport | None = None
        self.stages: list[Stage] = []
        self.finished = False
        # The sink's `write` while nothing stands between: the data plane's fast path.
        self.direct: Callable[[bytes], None] | None = None
        self.direct_bytes = 0
        self._owner = owner
        self._fed_bytes = 0
        self._delivered_bytes = 0
        self._sink: asyncio.Transport | None = None
        self._early: list[Chunk] = []
        self._ended = False
        self._closes_all = False
        self._sink_full = False
        self._paused = False
        self._balancing = False
        self._unbalanced = False

    @property
    def received_bytes(self) -> int:
        """What came from the source."""
        return self.direct_bytes + self._fed_bytes

    @property
    def sent_bytes(self) -> int:
        """What was handed to the sink."""
        return self.direct_bytes + self._delivered_bytes

    def feed(self, chunk: Chunk) -> None:
        """Take what the source received; None is its end of file."""
        if self.finished or self._ended:
            return
        if chunk is None:
            self._ended = True
            self.direct = None
        else:
            self._fed_bytes += len(chunk)
        if self.stages:
            self.stages[0].feed(chunk)
            self.balance()
        else:
            self._deliver(chunk)

    def attach(self, sink: asyncio.Transport) -> None:
        """Connect the far end; what arrived before goes first."""
        self._sink = sink
        early, self._early = self._early, []
        for chunk in early:
            self._deliver(chunk)
        self._straighten()
        self.balance()

    def sink_full(self, full: bool) -> None:
        """The far end cannot, or can again, take more."""
        self._sink_full = full
        self.balance()

    def moved(self) -> None:
        """A stage holds less than before."""
        self.balance()

    def balance(self) -> None:
        """The one place that decides who waits for whom, from the sink back to the source.

        A stage that goes on may fill the next one, or change everything: look again, then.
        """
        if self._balancing:
            self._unbalanced = True
            return
        self._balancing, self._unbalanced = True, True
        while self._unbalanced:
            self._unbalanced = False
            blocked = self._sink is None or self._sink_full
            for stage in reversed(self.stages):
                stage.advance(blocked)
                blocked = stage.full
            self._pause_source(blocked)
        self._balancing = False

    def relink(self, stages: list[Stage]) -> None:
        """Put `stages` in place; those that are no longer wanted hand on what they hold."""
        for stage in [stage for stage in self.stages if stage not in stages]:
            stage.flush()
            stage.cancel()
        self.stages = stages
        for stage, following in itertools.pairwise(stages):
            stage.emit = following.feed
        if stages:
            stages[-1].emit = self.deliver
        self._straighten()

    def finish(self) -> None:
        """The next end of file that comes out closes the whole connection."""
        self._closes_all = True

    def reset(self) -> None:
        """End the connection with RST to both sides, now."""
        self._owner.reset()

    def kill(self) -> None:
        """The far end is gone: drop everything, also what is still to come.

        The source is read on: a peer that cannot send would not read what the other pipe has.
        """
        self._pause_source(False)
        self.finished = True
        self.direct = None
        self._early.clear()
        for stage in self.stages:
            stage.cancel()

    def deliver(self, chunk: Chunk) -> None:
        """Write to the sink what has passed all stages."""
        if not self.finished:
            self._deliver(chunk)

    def _deliver(self, chunk: Chunk) -> None:
        if self._sink is None:
            self._early.append(chunk)
        elif chunk is None:
            self._end(self._sink)
        else:
            self._delivered_bytes += len(chunk)
            self._sink.write(chunk)

    def _end(self, sink: asyncio.Transport) -> None:
        self._pause_source(False)
        self.finished = True
        self.direct = None
        if self._closes_all:
            self._owner.close()
            return
        # The peer may have reset the connection a moment ago.
        with suppress(OSError):
            if not sink.is_closing():
                sink.write_eof()
        self._owner.close_when_done()

    def _straighten(self) -> None:
        """Take the fast path exactly while nothing stands between source and sink."""
        free = self._sink is not None and not self.stages and not self.finished and not self._ended
        self.direct = self._sink.write if free and self._sink is not None else None

    def _pause_source(self, pause: bool) -> None:
        if self.source is None or pause == self._paused or self._ended or self.finished:
            return
        if self.source.is_closing():
            return
        self._paused = pause
        if pause:
            self.source.pause_reading()
        else:
            self.source.resume_reading()
