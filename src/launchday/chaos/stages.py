"""What a toxic does to the bytes of one connection: the stages of the embedded Toxiproxy.

Behaviour as measured on Toxiproxy 2.12.0. A stage gets chunks through `feed` (None = end of
file) and hands them on by calling `emit`, in order. It runs in the event loop and never waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

Chunk = bytes | None
Emit = Callable[[Chunk], None]

# The types of toxic that this server knows, with the defaults of their attributes, in ms.
DEFAULTS: Mapping[str, Mapping[str, int]] = {
    "latency": {"latency": 0, "jitter": 0},
    "timeout": {"timeout": 0},
}


@dataclass(frozen=True)
class Toxic:
    """One toxic of one proxy. `stream` is echoed as it was given, in any case."""

    name: str
    type: str
    stream: str
    toxicity: float
    attributes: Mapping[str, int]

    @property
    def upstream(self) -> bool:
        """Whether it acts on what the client sends."""
        return self.stream.lower() == "upstream"

    def describe(self) -> dict[str, object]:
        """The toxic as the API shows it."""
        return {
            "attributes": dict(self.attributes),
            "name": self.name,
            "type": self.type,
            "stream": self.stream,
            "toxicity": self.toxicity,
        }


def dice(seed: int, proxy: str, toxic: str, connection: int) -> Random:
    """The random numbers of one toxic on one connection: the same for the same arguments."""
    return Random(f"{seed}/{proxy}/{toxic}/{connection}")


def is_hit(seed: int, proxy: str, toxic: Toxic, connection: int) -> bool:
    """Draw once whether `toxic` acts on the connection with this number; pure."""
    return dice(seed, proxy, toxic.name, connection).random() < toxic.toxicity


class Latency:
    """Holds each chunk until receive + latency + U[-jitter, jitter); pipelined, never reordered."""

    black_hole = False

    def __init__(
        self, toxic: Toxic, random: Random, emit: Emit, drained: Callable[[], None]
    ) -> None:
        self.toxic = toxic
        self.emit = emit
        self._drained = drained
        self.held_bytes = 0
        self._random = random
        self._held: deque[tuple[float, Chunk]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def feed(self, chunk: Chunk) -> None:
        """Hold a chunk for its time; the end of file waits only for what came before it."""
        due = self._loop.time()
        if chunk is not None:
            due += self._delay_seconds()
            self.held_bytes += len(chunk)
        if self._held:
            due = max(due, self._held[-1][0])
        self._held.append((due, chunk))
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._release)

    def update(self, toxic: Toxic) -> None:
        """Take new attributes; what is held goes on at once."""
        self.flush()
        self.toxic = toxic

    def flush(self) -> None:
        """Hand on everything that is held, now."""
        while self._held:
            self._emit_first()
        self.cancel()

    def cancel(self) -> None:
        """Drop everything: the connection is gone."""
        self._held.clear()
        self.held_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _delay_seconds(self) -> float:
        jitter = self.toxic.attributes["jitter"]
        strayed = self._random.uniform(-jitter, jitter) if jitter > 0 else 0.0
        return max(0.0, self.toxic.attributes["latency"] + strayed) / 1000

    def _release(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._held and self._held[0][0] <= now:
            self._emit_first()
        if self._held and self._timer is None:
            self._timer = self._loop.call_at(self._held[0][0], self._release)
        self._drained()

    def _emit_first(self) -> None:
        _, chunk = self._held.popleft()
        self.held_bytes -= len(chunk or b"")
        self.emit(chunk)


class Timeout:
    """Drops all data; closes the connection after `timeout` ms of silence, 0 = never."""

    black_hole = True
    held_bytes = 0

    def __init__(self, toxic: Toxic, emit: Emit, close: Callable[[], None]) -> None:
        self.toxic = toxic
        self.emit = emit
        self._close = close
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._silent_since = 0.0
        self.update(toxic)

    def feed(self, chunk: Chunk) -> None:
        """Forget a chunk; data starts the silence anew."""
        if chunk is not None:
            self._silent_since = self._loop.time()

    def update(self, toxic: Toxic) -> None:
        """Take new attributes; the silence starts anew."""
        self.cancel()
        self.toxic = toxic
        self._silent_since = self._loop.time()
        if toxic.attributes["timeout"] > 0:
            self._arm()

    def flush(self) -> None:
        """Its removal closes the connection: what was dropped cannot be made good."""
        self.cancel()
        self._close()

    def cancel(self) -> None:
        """Stop the clock: the connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        due = self._silent_since + self.toxic.attributes["timeout"] / 1000
        if due <= self._loop.time():
            self._close()
        else:
            self._timer = self._loop.call_at(due, self._arm)


Stage = Latency | Timeout


def stage_of(
    toxic: Toxic,
    random: Random,
    emit: Emit,
    drained: Callable[[], None],
    close: Callable[[], None],
) -> Stage:
    """The stage that does what `toxic` says.

    `drained` is told when held bytes went on; `close` ends the whole connection.
    """
    if toxic.type == "latency":
        return Latency(toxic, random, emit, drained)
    return Timeout(toxic, emit, close)
