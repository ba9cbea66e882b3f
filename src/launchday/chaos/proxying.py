"""The data plane of the embedded Toxiproxy: one TCP proxy, its connections, their two pipes.

Everything here happens in callbacks of one event loop: a new connection takes its toxics, and a
new toxic finds its connections, without a moment in between.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress

from launchday.chaos.stages import Chunk, Stage, Toxic, dice, is_hit, stage_of

BACKLOG = 1024
DIAL_TIMEOUT_SECONDS = 10.0
# What stages may hold per pipe before the sender has to wait; the real server: 1024 x 32 KB.
MOST_HELD_BYTES = 16 * 1024 * 1024
WRITE_BUFFER_BYTES = 256 * 1024


class Pipe:
    """One direction of a connection: source -> stages -> sink."""

    def __init__(self, on_done: Callable[[], None]) -> None:
        self.source: asyncio.Transport | None = None
        self.stages: list[Stage] = []
        self.finished = False
        self._sink: asyncio.Transport | None = None
        self._early: list[Chunk] = []
        self._ended = False
        self._sink_full = False
        self._paused = False
        self._on_done = on_done

    @property
    def done(self) -> bool:
        """Whether nothing can come out any more."""
        return self.finished or (self._ended and any(stage.black_hole for stage in self.stages))

    def feed(self, chunk: Chunk) -> None:
        """Take what the source received; None is its end of file."""
        if self.finished or self._ended:
            return
        if chunk is None:
            self._ended = True
        if self.stages:
            self.stages[0].feed(chunk)
            self.balance()
        else:
            self.deliver(chunk)
        if chunk is None:
            self._on_done()

    def attach(self, sink: asyncio.Transport) -> None:
        """Connect the far end; what arrived before goes first."""
        self._sink = sink
        early, self._early = self._early, []
        for chunk in early:
            self.deliver(chunk)
        self.balance()

    def sink_full(self, full: bool) -> None:
        """The far end cannot, or can again, take more."""
        self._sink_full = full
        self.balance()

    def balance(self) -> None:
        """The one place that decides whether the source may send, from all reasons at once."""
        if self.source is None or self._ended:
            return
        held = sum(stage.held_bytes for stage in self.stages)
        paused = self._sink is None or self._sink_full or held > MOST_HELD_BYTES
        if paused and not self._paused:
            self.source.pause_reading()
        elif self._paused and not paused:
            self.source.resume_reading()
        self._paused = paused

    def relink(self, stages: list[Stage]) -> None:
        """Put `stages` in place; those that are no longer wanted hand on what they hold."""
        for stage in [stage for stage in self.stages if stage not in stages]:
            stage.flush()
        self.stages = stages
        for stage, following in itertools.pairwise(stages):
            stage.emit = following.feed
        if stages:
            stages[-1].emit = self.deliver

    def kill(self) -> None:
        """The far end is gone: drop everything."""
        self.finished = True
        for stage in self.stages:
            stage.cancel()

    def deliver(self, chunk: Chunk) -> None:
        """Write to the sink what has passed all stages."""
        if self._sink is None:
            self._early.append(chunk)
        elif chunk is None:
            self._end()
        elif not self._sink.is_closing():
            self._sink.write(chunk)

    def _end(self) -> None:
        assert self._sink is not None
        self.finished = True
        # The peer may have reset the connection a moment ago.
        with suppress(OSError):
            if not self._sink.is_closing():
                self._sink.write_eof()
        self._on_done()


class _Side(asyncio.Protocol):
    """One of the two sockets of a connection."""

    def __init__(self, connection: Connection, incoming: Pipe, outgoing: Pipe) -> None:
        self._connection = connection
        self._incoming = incoming
        self._outgoing = outgoing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._incoming.source = transport
        self._connection.transports.append(transport)
        self._incoming.balance()
        self._outgoing.attach(transport)
        self._connection.made()

    def data_received(self, data: bytes) -> None:
        self._incoming.feed(data)

    def eof_received(self) -> bool:
        self._incoming.feed(None)
        return True  # half-closed: the other direction goes on

    def pause_writing(self) -> None:
        self._outgoing.sink_full(True)

    def resume_writing(self) -> None:
        self._outgoing.sink_full(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._outgoing.kill()
        self._incoming.feed(None)
        self._connection.lost()


class Connection:
    """One client, its dial to the upstream, and the two pipes between them."""

    def __init__(self, proxy: TcpProxy, number: int) -> None:
        self.transports: list[asyncio.Transport] = []
        self._proxy = proxy
        self._number = number
        self._open = 0
        self._dial: asyncio.Task[None] | None = None
        self._up = Pipe(self._close_when_done)
        self._down = Pipe(self._close_when_done)
        self.client = _Side(self, self._up, self._down)

    def apply(self, toxics: Iterable[Toxic]) -> None:
        """Make the stages of both pipes match `toxics`, without losing or reordering a byte."""
        listed = list(toxics)
        self._relink(self._up, [toxic for toxic in listed if toxic.upstream])
        self._relink(self._down, [toxic for toxic in listed if not toxic.upstream])
        self._close_when_done()

    def made(self) -> None:
        """A socket is there; the first one is the client's, and starts the dial."""
        self._open += 1
        if self._dial is not None:
            return
        self._proxy.connections.add(self)
        if not self._proxy.enabled:  # disabled while the listener accepted this one
            self.abort()
            return
        self.apply(self._proxy.toxics)
        self._dial = asyncio.get_running_loop().create_task(self._dial_upstream())

    def lost(self) -> None:
        """A socket is gone for good."""
        self._open -= 1
        self._close_when_done()
        if self._open == 0:
            self._cancel()
            self._proxy.connections.discard(self)

    def abort(self) -> None:
        """Close both sockets at once; what is on its way is dropped."""
        self._cancel()
        for transport in self.transports:
            transport.abort()

    def _cancel(self) -> None:
        self._up.kill()
        self._down.kill()
        if self._dial is not None:
            self._dial.cancel()

    def _relink(self, pipe: Pipe, toxics: list[Toxic]) -> None:
        seed, name, number = self._proxy.seed, self._proxy.name, self._number
        if pipe.finished:
            return
        current = {stage.toxic.name: stage for stage in pipe.stages}
        stages: list[Stage] = []
        for toxic in toxics:
            if not is_hit(seed, name, toxic, number):
                continue
            stage = current.get(toxic.name)
            if stage is None:
                random = dice(seed, name, f"{toxic.name}/jitter", number)
                stage = stage_of(toxic, random, pipe.deliver, pipe.balance, self.abort)
            elif stage.toxic != toxic:
                stage.update(toxic)
            stages.append(stage)
        if stages != pipe.stages:
            pipe.relink(stages)
        pipe.balance()

    async def _dial_upstream(self) -> None:
        loop = asyncio.get_running_loop()
        side = _Side(self, self._down, self._up)
        try:
            host, port = split_address(self._proxy.upstream)
            async with asyncio.timeout(DIAL_TIMEOUT_SECONDS):
                await loop.create_connection(lambda: side, host, port)
        except (OSError, ValueError):
            self.abort()

    def _close_when_done(self) -> None:
        if self._up.done and self._down.done:
            for transport in self.transports:
                transport.close()


class TcpProxy:
    """One proxy: listens on `listen`, dials `upstream`, applies its toxics."""

    def __init__(self, name: str, listen: str, upstream: str, *, seed: int) -> None:
        self.name = name
        self.listen = listen
        self.upstream = upstream
        self.seed = seed
        self.enabled = False
        self.toxics: list[Toxic] = []
        self.connections: set[Connection] = set()
        self._numbers = itertools.count()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises OSError with the words of the real server."""
        listener = bound_socket(self.listen)
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

    def describe(self) -> dict[str, object]:
        """The proxy as the API shows it: upstream toxics first."""
        toxics = sorted(self.toxics, key=lambda toxic: not toxic.upstream)
        return {
            "name": self.name,
            "listen": self.listen,
            "upstream": self.upstream,
            "enabled": self.enabled,
            "toxics": [toxic.describe() for toxic in toxics],
        }

    def _accept(self) -> asyncio.Protocol:
        return Connection(self, next(self._numbers)).client


def split_address(address: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port` apart. Raises OSError in the words of the real server."""
    host, colon, port = address.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        raise OSError(f"listen tcp: address {address}: missing port in address")
    if not port.isdigit() or int(port) > 65535:
        raise OSError(f"listen tcp: address {port}: invalid port")
    return host.strip("[]"), int(port)


def bound_socket(listen: str) -> socket.socket:
    """A listening socket on `listen`; no host means 127.0.0.1, no port a free one.

    Raises OSError with the words of the real server.
    """
    host, port = split_address(listen or ":0")
    try:
        found = socket.getaddrinfo(host or "127.0.0.1", port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise OSError(f"listen tcp: lookup {host}: no such host") from error
    # asyncio switches Nagle off only for sockets that say that they are TCP.
    listener = socket.socket(found[0], socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(found[4])
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        words = (error.strerror or str(error)).lower()
        raise OSError(f"listen tcp {listen}: bind: {words}") from error
    listener.setblocking(False)
    return listener


def shown_address(listener: socket.socket) -> str:
    """`host:port` of a bound socket, IPv6 in brackets."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
