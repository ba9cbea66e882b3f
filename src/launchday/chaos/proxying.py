"""The data plane of the embedded Toxiproxy: one TCP proxy and its connections.

Everything here happens in callbacks of one event loop: a new connection takes its toxics, and a
new toxic finds its connections, without a moment in between.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import cast

from launchday.chaos.addresses import BACKLOG, bound_socket, shown_address, split_address
from launchday.chaos.clock import Clock
from launchday.chaos.endings import STAGES
from launchday.chaos.pipes import Pipe
from launchday.chaos.stages import Stage
from launchday.chaos.toxics import Toxic, dice, is_hit

DIAL_TIMEOUT_SECONDS = 10.0
WRITE_BUFFER_BYTES = 256 * 1024
# Close without a word: pending data is dropped and the peer gets RST.
_NO_LINGER = struct.pack("ii", 1, 0)


class _Side(asyncio.Protocol):
    """One of the two sockets of a connection."""

    def __init__(self, connection: Connection, incoming: Pipe, outgoing: Pipe) -> None:
        self._connection = connection
        self._incoming = incoming
        self._outgoing = outgoing
        self._closes = False
        self.transport: asyncio.Transport

    def connection_made(self, base: asyncio.BaseTransport) -> None:
        # uvloop's is one, but not by inheritance.
        self.transport = transport = cast(asyncio.Transport, base)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._incoming.source = transport
        self._connection.sides.append(self)
        self._incoming.balance()
        self._outgoing.attach(transport)
        self._connection.made(self)

    def close(self) -> None:
        """Close behind what was written.

        Until then it reads on: `Transport.close` would not, and a peer that waits to send before
        it reads would keep the connection for ever.
        """
        if self.transport.get_write_buffer_size() == 0:
            self.transport.close()
        elif not self._closes:
            self._closes = True
            self.transport.set_write_buffer_limits(high=0)  # so that `resume_writing` means: empty

    def data_received(self, data: bytes) -> None:
        incoming = self._incoming
        if incoming.direct is not None:
            incoming.direct_bytes += len(data)
            incoming.direct(data)
        else:
            incoming.feed(data)

    def eof_received(self) -> bool:
        self._incoming.feed(None)
        return True  # half-closed: the other direction goes on

    def pause_writing(self) -> None:
        self._outgoing.sink_full(True)

    def resume_writing(self) -> None:
        if self._closes:
            self.transport.close()
        else:
            self._outgoing.sink_full(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._outgoing.kill()
        self._incoming.feed(None)
        self._connection.lost(self)


class Connection:
    """One client, its dial to the upstream, and the two pipes between them."""

    def __init__(self, proxy: TcpProxy, number: int) -> None:
        self.clock = proxy.clock
        self.sides: list[_Side] = []
        self.up = Pipe(self)
        self.down = Pipe(self)
        self._proxy = proxy
        self._number = number
        self._live: set[_Side] = set()
        self._dial: asyncio.Task[None] | None = None
        self.client = _Side(self, self.up, self.down)

    def apply(self, toxics: Iterable[Toxic]) -> None:
        """Make the stages of both pipes match `toxics`, without losing or reordering a byte."""
        listed = list(toxics)
        self._relink(self.up, [toxic for toxic in listed if toxic.upstream])
        self._relink(self.down, [toxic for toxic in listed if not toxic.upstream])

    def hit_by(self) -> list[str]:
        """The names of the toxics that act on this connection."""
        return [stage.toxic.name for pipe in (self.up, self.down) for stage in pipe.stages]

    def made(self, side: _Side) -> None:
        """A socket is there; the first one is the client's, and starts the dial."""
        self._live.add(side)
        if self._dial is not None:
            return
        self._proxy.connections.add(self)
        if not self._proxy.enabled:  # disabled while the listener accepted this one
            self.abort()
            return
        self.apply(self._proxy.toxics)
        self._dial = asyncio.get_running_loop().create_task(self._dial_upstream())

    def lost(self, side: _Side) -> None:
        """A socket is gone for good; harmless when that is said twice."""
        self._live.discard(side)
        self.close_when_done()
        if not self._live:
            self._cancel()
            self._proxy.forget(self)

    def close(self) -> None:
        """Close both sockets behind what was written to them."""
        self._cancel()
        for side in self.sides:
            side.close()

    def abort(self) -> None:
        """Close both sockets at once; what is on its way is dropped."""
        self._cancel()
        for side in self.sides:
            side.transport.abort()

    def reset(self) -> None:
        """End both sockets at once, with RST."""
        for side in self.sides:
            if side.transport.is_closing():
                continue
            with suppress(OSError):  # gone a moment ago
                side.transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER
                )
        self.abort()

    def close_when_done(self) -> None:
        """Close what is left when neither direction has anything more to say."""
        if self.up.finished and self.down.finished:
            self.close()

    def _cancel(self) -> None:
        self.up.kill()
        self.down.kill()
        if self._dial is not None:
            self._dial.cancel()

    def _relink(self, pipe: Pipe, toxics: list[Toxic]) -> None:
        if pipe.finished:
            return
        seed, name, number = self._proxy.seed, self._proxy.name, self._number
        current = {stage.toxic.name: stage for stage in pipe.stages}
        stages: list[Stage] = []
        for toxic in toxics:
            if not is_hit(seed, name, toxic, number):
                continue
            stage = current.get(toxic.name)
            if stage is None or stage.toxic.type != toxic.type:
                random = partial(dice, seed, name, toxic.name, number)
                stage = STAGES[toxic.type](toxic, pipe, pipe.deliver, random)
            elif stage.toxic != toxic:
                stage.update(toxic)
            stages.append(stage)
        if stages != pipe.stages:
            pipe.relink(stages)
        pipe.balance()

    async def _dial_upstream(self) -> None:
        loop = asyncio.get_running_loop()
        side = _Side(self, self.down, self.up)
        try:
            host, port = split_address(self._proxy.upstream)
            async with asyncio.timeout(DIAL_TIMEOUT_SECONDS):
                await loop.create_connection(lambda: side, host or "127.0.0.1", port)
        except (OSError, ValueError):
            self.abort()
        except asyncio.CancelledError:
            # uvloop does not say `connection_lost` when it is cancelled after `connection_made`.
            self.lost(side)
            raise


class TcpProxy:
    """One proxy: listens on `listen`, dials `upstream`, applies its toxics.

    `closed_bytes`: received and sent of the connections that are gone, up and down.
    """

    def __init__(self, name: str, listen: str, upstream: str, *, seed: int, clock: Clock) -> None:
        self.name = name
        self.listen = listen
        self.upstream = upstream
        self.seed = seed
        self.clock = clock
        self.enabled = False
        self.toxics: list[Toxic] = []
        self.connections: set[Connection] = set()
        self._numbers = itertools.count()
        self._server: asyncio.Server | None = None
        self._closed_bytes = [0, 0, 0, 0]

    async def start(self) -> None:
        """Listen. Raises OSError with the words of the real server."""
        listener = await bound_socket(self.listen)
        self.listen = shown_address(listener)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, sock=listener, backlog=BACKLOG)
        self.enabled = True

    def stop(self) -> None:
        """Refuse new connections and drop the live ones."""
        self.enabled = False
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self.connections):
            connection.abort()

    def set_toxics(self, toxics: list[Toxic]) -> None:
        """Replace the toxics, on live connections too."""
        self.toxics = toxics
        for connection in list(self.connections):
            connection.apply(toxics)

    def forget(self, connection: Connection) -> None:
        """Both sockets of a connection are gone."""
        if connection in self.connections:
            self.connections.discard(connection)
            counts = zip(self._closed_bytes, _bytes_of(connection), strict=True)
            self._closed_bytes = [before + more for before, more in counts]

    def transferred(self) -> tuple[int, int, int, int]:
        """Bytes so far: received and sent upstream, received and sent downstream."""
        counts = [self._closed_bytes, *map(_bytes_of, self.connections)]
        one, two, three, four = (sum(column) for column in zip(*counts, strict=True))
        return one, two, three, four

    def describe(self) -> dict[str, object]:
        """The proxy as the API shows it: upstream toxics first."""
        return {
            "name": self.name,
            "listen": self.listen,
            "upstream": self.upstream,
            "enabled": self.enabled,
            "toxics": [toxic.describe() for toxic in self.listed_toxics()],
        }

    def listed_toxics(self) -> list[Toxic]:
        """The toxics in the order of the API: upstream first, then as they were added."""
        return sorted(self.toxics, key=lambda toxic: not toxic.upstream)

    def _accept(self) -> asyncio.Protocol:
        return Connection(self, next(self._numbers)).client


def _bytes_of(connection: Connection) -> list[int]:
    up, down = connection.up, connection.down
    return [up.received_bytes, up.sent_bytes, down.received_bytes, down.sent_bytes]
