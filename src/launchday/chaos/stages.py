"""What a toxic does to the bytes of one connection: the stages that hold or slice them.

Behaviour as measured on Toxiproxy 2.12.0. A stage gets chunks through `feed` (None = end of
file) and hands them on by calling `emit`, in order. It runs in the event loop and never waits.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from random import Random
from typing import Protocol

from launchday.chaos.clock import Alarm
from launchday.chaos.toxics import Toxic

Chunk = bytes | None
Emit = Callable[[Chunk], None]

# Per stage, before the sender has to wait. The real latency toxic: 1024 chunks of 32 KB.
MOST_DELAYED_BYTES = 16 * 1024 * 1024
MOST_HELD_BYTES = 64 * 1024
# A capped rate is cut into slices of this length, so that a slow link trickles.
SLICE_SECONDS = 0.1


class Times(Protocol):
    """A clock (see `launchday.chaos.clock.Clock`)."""

    def now(self) -> float:
        """Seconds, never going back."""

    def at(self, due: float, call: Callable[[], None]) -> Alarm:
        """Call at a time."""


class Host(Protocol):
    """What a stage may ask of the pipe that it stands in."""

    @property
    def clock(self) -> Times:
        """The time."""

    def moved(self) -> None:
        """A stage holds less than before: whoever waits for it may go on."""

    def finish(self) -> None:
        """The next end of file that comes out closes the whole connection."""

    def reset(self) -> None:
        """End the connection with RST to both sides, now."""


class Stage:
    """One toxic on one direction of one connection; by itself it hands everything on (noop)."""

    most_held_bytes = MOST_HELD_BYTES

    def __init__(self, toxic: Toxic, host: Host, emit: Emit, random: Callable[[], Random]) -> None:
        self.toxic = toxic
        self.emit = emit
        self.held_bytes = 0
        self._host = host
        self._clock = host.clock
        self._make_random = random
        self._random: Random | None = None

    @property
    def full(self) -> bool:
        """Whether what comes before it should wait."""
        return self.held_bytes > self.most_held_bytes

    def feed(self, chunk: Chunk) -> None:
        """Take a chunk, or None: the end of file."""
        self.emit(chunk)

    def advance(self, blocked: bool) -> None:
        """What comes next can (not) take more: hand on what is due."""

    def update(self, toxic: Toxic) -> None:
        """Take new attributes; they hold for what is held, too."""
        self.toxic = toxic

    def flush(self) -> None:
        """The toxic is removed: hand on everything, now."""

    def cancel(self) -> None:
        """The connection is gone: drop everything."""

    def dice(self) -> Random:
        """The random numbers of this stage; made when first needed, which is rarely."""
        if self._random is None:
            self._random = self._make_random()
        return self._random


class _Held:
    __slots__ = ("chunk", "received", "start", "stray")

    def __init__(self, chunk: Chunk, received: float, stray: float) -> None:
        self.chunk, self.received, self.stray = chunk, received, stray
        self.start = 0


class Holding(Stage):
    """A queue: the head leaves at max(ready, line free) + the time that it takes on the line.

    A next stage or a sink that is full makes the head wait; order is never changed. Subclasses
    say when a chunk is ready, how long it takes, and what it costs the next one.
    """

    def __init__(self, toxic: Toxic, host: Host, emit: Emit, random: Callable[[], Random]) -> None:
        super().__init__(toxic, host, emit, random)
        self._queue: deque[_Held] = deque()
        self._alarm: Alarm | None = None
        self._blocked = False
        self._releasing = False
        self._free_at = -math.inf

    def feed(self, chunk: Chunk) -> None:
        """Hold a chunk as long as the toxic wants."""
        self._queue.append(_Held(chunk, self._clock.now(), self._stray(chunk)))
        self.held_bytes += len(chunk or b"")
        if len(self._queue) == 1:
            self._release()

    def advance(self, blocked: bool) -> None:
        """Stop, or go on, handing on: what comes next is full, or has room."""
        self._blocked = blocked
        if not blocked and self._alarm is None:
            self._release()

    def update(self, toxic: Toxic) -> None:
        """Plan anew when the held chunks leave."""
        self._stop()
        self.toxic = toxic
        self._free_at = -math.inf
        self._release()

    def flush(self) -> None:
        """Hand on everything that is held, now."""
        self._stop()
        while self._queue:
            self._emit_whole()

    def cancel(self) -> None:
        """Drop everything: the connection is gone."""
        self._stop()
        self._queue.clear()
        self.held_bytes = 0

    def _ready(self, held: _Held) -> float:
        return held.received

    def _takes_seconds(self, held: _Held) -> float:
        return 0.0

    def _stray(self, chunk: Chunk) -> float:
        return 0.0

    def _due(self) -> float:
        head = self._queue[0]
        return max(self._ready(head), self._free_at) + self._takes_seconds(head)

    def _release(self) -> None:
        if self._releasing:
            return
        self._releasing, self._alarm = True, None
        before = self.held_bytes
        self._emit_due(self._clock.now())
        self._releasing = False
        if self.held_bytes < before:
            self._host.moved()

    def _emit_due(self, now: float) -> None:
        while self._queue and not self._blocked:
            due = self._due()
            if due > now:
                self._wake(due)
                return
            self._free_at = due
            self._emit_first()

    def _wake(self, due: float) -> None:
        if due < math.inf:
            self._alarm = self._clock.at(due, self._release)

    def _emit_first(self) -> None:
        self._emit_whole()

    def _emit_whole(self) -> None:
        head = self._queue.popleft()
        chunk = head.chunk[head.start :] if head.chunk is not None else None
        self.held_bytes -= len(chunk or b"")
        self.emit(chunk)

    def _stop(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None


class Latency(Holding):
    """Holds each chunk until receive + latency + U[-jitter, jitter); pipelined, never reordered.

    The end of file waits only for what came before it.
    """

    most_held_bytes = MOST_DELAYED_BYTES

    def _stray(self, chunk: Chunk) -> float:
        return self.dice().uniform(-1, 1) if self.toxic.attributes["jitter"] > 0 else 0.0

    def _ready(self, held: _Held) -> float:
        if held.chunk is None:
            return held.received
        jitter = max(0, self.toxic.attributes["jitter"])
        delay_ms = self.toxic.attributes["latency"] + held.stray * jitter
        return held.received + max(0.0, delay_ms) / 1000


class SlowClose(Holding):
    """Holds only the end of file, for `delay` ms."""

    def _ready(self, held: _Held) -> float:
        delay_ms = self.toxic.attributes["delay"] if held.chunk is None else 0
        return held.received + max(0, delay_ms) / 1000


class _Cutting(Holding):
    """A queue whose chunks leave in pieces; how long each is, is decided when it is the next."""

    def __init__(self, toxic: Toxic, host: Host, emit: Emit, random: Callable[[], Random]) -> None:
        super().__init__(toxic, host, emit, random)
        self._sizes: Iterator[int] = iter(())
        self._size = 0

    def update(self, toxic: Toxic) -> None:
        """Cut what is held anew; its first byte leaves as if it had come now."""
        self._stop()
        self.toxic = toxic
        self._sizes, self._size = iter(()), 0
        self._free_at = self._clock.now()
        self._release()

    def _cut(self, length: int) -> Iterator[int]:
        """The sizes of the pieces of `length` bytes."""
        yield length

    def _next_size(self, held: _Held) -> int:
        if self._size == 0 and held.chunk is not None:
            self._size = next(self._sizes, 0)
            if self._size == 0:
                self._sizes = self._cut(len(held.chunk) - held.start)
                self._size = next(self._sizes)
        return self._size

    def _emit_first(self) -> None:
        head = self._queue[0]
        size, self._size = self._next_size(head), 0
        if head.chunk is None or head.start + size >= len(head.chunk):
            self._sizes = iter(())
            self._emit_whole()
            return
        piece = head.chunk[head.start : head.start + size]
        head.start += size
        self.held_bytes -= size
        self.emit(piece)


class Bandwidth(_Cutting):
    """Lets `rate` x 1000 bytes a second through; a rate of 0 lets nothing through.

    A piece leaves at the end of the time that it takes: start + bytes / (rate x 1000).
    """

    def _cut(self, length: int) -> Iterator[int]:
        size = max(1, int(self.toxic.attributes["rate"] * 1000 * SLICE_SECONDS))
        for start in range(0, length, size):
            yield min(size, length - start)

    def _takes_seconds(self, held: _Held) -> float:
        rate = self.toxic.attributes["rate"]
        if held.chunk is None:
            return 0.0
        return self._next_size(held) / (rate * 1000) if rate > 0 else math.inf


class Slicer(_Cutting):
    """Cuts chunks into random pieces, each a write of its own, `delay` microseconds apart.

    A piece longer than average_size + size_variation is halved, the middle moved by
    U[-size_variation, size_variation), again and again (Toxiproxy's slicer.go).
    """

    def _cut(self, length: int) -> Iterator[int]:
        average = self.toxic.attributes["average_size"]
        variation = self.toxic.attributes["size_variation"]
        rest = [length]
        while rest:
            size = rest.pop()
            if size <= average + variation:
                if size:
                    yield size
                continue
            left = size // 2
            if variation > 0:
                left += self.dice().randrange(-variation, variation)
            rest += [size - left, left]

    def _emit_due(self, now: float) -> None:
        # One piece a turn: the loop would put those of one turn into one segment.
        if self._queue and not self._blocked:
            due = self._due()
            if due <= now:
                self._free_at = due + max(0, self.toxic.attributes["delay"]) / 1e6
                self._emit_first()
        if self._queue and not self._blocked:
            self._wake(self._due())
