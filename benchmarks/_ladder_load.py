"""The generator of the live ladder: `python -m benchmarks._ladder_load JSON`, one job a line.

An open-loop job sends at the times of a Poisson process whatever the server does; a closed-loop
job keeps a number of connections busy. Connections are kept and shared as by a reverse proxy: who
needs one takes the last that became free, or opens another.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import json
import math
import resource
import signal
import sys
import time
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from random import Random
from typing import Any, Protocol, cast

import httptools
import uvloop

from benchmarks._ladder_process import pin

REQUEST = (
    b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: */*\r\n"
    b"accept-encoding: gzip, deflate\r\nuser-agent: launchday-ladder\r\n\r\n"
)
# uvicorn closes what is idle for 5 s: sooner than that, so that no request is lost in the race.
REUSE_SECONDS = 4.0
TICK_SECONDS = 0.001
# Open before the first request: as many as are busy at once when an answer takes so long.
PREPARED_SECONDS = 0.1
MOST_CONNECTIONS = 8192
# Files that are not connections.
_OTHER_FILES = 64


class End(IntEnum):
    """How a request ended that got no answer; any other status is the one of HTTP."""

    PENDING = 0
    TIMED_OUT = 1
    LOST = 2
    UNSENT = 3


class Book(Protocol):
    """Who hears of connections and answers."""

    def made(self, connection: Connection) -> None: ...

    def answered(self, connection: Connection, index: int, status: int, reusable: bool) -> None: ...

    def lost(self, connection: Connection, index: int | None) -> None: ...


class Connection(asyncio.Protocol):
    """One kept connection: at most one request at a time."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._index: int | None = None
        self.used_at = time.perf_counter()
        self.bare_refusals = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio's only in what they can do.
        self._transport = cast(asyncio.Transport, transport)
        self._book.made(self)

    def ask(self, index: int) -> None:
        """Send a request."""
        self._index = index
        self._transport.write(REQUEST)

    def abandon(self) -> None:
        """Close the connection; its request no longer counts."""
        self._index = None
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        # A refusal of ours comes in one piece; a split one would be counted, never missed.
        if data.startswith(b"HTTP/1.1 503") and b"retry-after:" not in data.lower():
            self.bare_refusals += 1
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_message_complete(self) -> None:
        """One answer is whole (called by the parser)."""
        index, self._index = self._index, None
        if index is None:
            return
        self.used_at = time.perf_counter()
        reusable = self._parser.should_keep_alive()
        if not reusable:
            self._transport.close()
        self._book.answered(self, index, self._parser.get_status_code(), reusable)

    def connection_lost(self, error: Exception | None) -> None:
        index, self._index = self._index, None
        self._book.lost(self, index)


async def connect(book: Book, port: int) -> Connection:
    """Open one connection. Raises OSError."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(book), "127.0.0.1", port)
    return connection


class OpenLoop:
    """Requests at times that are known beforehand, each with the same patience.

    `arrivals`: seconds from the start, ascending. `patience_seconds`: after that long from the
    intended time the client is gone, and its connection with it.
    """

    def __init__(self, port: int, arrivals: list[float], patience_seconds: float) -> None:
        self._port = port
        self._patience_seconds = patience_seconds
        self.arrivals = arrivals
        self.begun = [math.inf] * len(arrivals)
        self.seconds = [patience_seconds] * len(arrivals)
        self.statuses: list[int] = [End.PENDING] * len(arrivals)
        self.opened = 0
        self.bare_refusals = 0
        self._open = 0
        self._most_open = most_connections()
        self._next = 0
        self._oldest = 0
        # Last in, first out: few connections are in use, as in the pool of a real client.
        self._idle: dict[Connection, None] = {}
        self._asking: dict[int, Connection] = {}
        self._connecting: dict[int, asyncio.Task[None]] = {}
        self._started_at = 0.0
        self._over = asyncio.Event()

    async def run(self, prepared: int) -> None:
        """Open `prepared` connections, send all; return when each was answered or given up."""
        prepared = min(prepared, self._most_open)
        await asyncio.gather(*(self._prepare() for _ in range(prepared)), return_exceptions=True)
        self._started_at = time.perf_counter()
        self._tick()
        await self._over.wait()
        await asyncio.gather(*self._connecting.values(), return_exceptions=True)
        for connection in list(self._idle):
            connection.abandon()
        await asyncio.sleep(0)

    def _now(self) -> float:
        return time.perf_counter() - self._started_at

    def _tick(self) -> None:
        now = self._now()
        while self._next < len(self.arrivals) and self.arrivals[self._next] <= now:
            self._begin(self._next)
            self._next += 1
        self._give_up(now)
        if self._oldest == len(self.arrivals):
            self._over.set()
            return
        due = self.arrivals[self._next] - self._now() if self._next < len(self.arrivals) else 0.0
        # Less than a tick would be no sleep at all, and the generator would use its whole core.
        asyncio.get_running_loop().call_later(min(max(due, TICK_SECONDS), 0.01), self._tick)

    def _begin(self, index: int) -> None:
        self.begun[index] = self._now()
        while self._idle:
            connection, _ = self._idle.popitem()
            if time.perf_counter() - connection.used_at < REUSE_SECONDS:
                self._asking[index] = connection
                connection.ask(index)
                return
            connection.abandon()
        if self._open + len(self._connecting) >= self._most_open:
            self._end(index, End.UNSENT)
            return
        self._connecting[index] = asyncio.create_task(self._connect(index))

    async def _prepare(self) -> None:
        self._idle[await connect(self, self._port)] = None

    async def _connect(self, index: int) -> None:
        try:
            connection = await connect(self, self._port)
        except OSError as error:
            ours = error.errno in (errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE)
            self._end(index, End.UNSENT if ours else End.LOST)
            return
        finally:
            self._connecting.pop(index, None)
        if self.statuses[index] != End.PENDING:
            self._idle[connection] = None
            return
        self._asking[index] = connection
        connection.ask(index)

    def _give_up(self, now: float) -> None:
        while self._oldest < self._next:
            index = self._oldest
            if self.statuses[index] == End.PENDING:
                if self.arrivals[index] + self._patience_seconds > now:
                    return
                self._end(index, End.TIMED_OUT)
                if connection := self._asking.pop(index, None):
                    connection.abandon()
                elif connecting := self._connecting.get(index):
                    connecting.cancel()
            self._oldest += 1

    def _end(self, index: int, status: int) -> None:
        self.statuses[index] = status

    def made(self, connection: Connection) -> None:
        """Count one more (called by the connection)."""
        self.opened += 1
        self._open += 1

    def answered(self, connection: Connection, index: int, status: int, reusable: bool) -> None:
        """Record an answer (called by the connection)."""
        del self._asking[index]
        self.seconds[index] = self._now() - self.arrivals[index]
        self._end(index, status)
        if reusable:
            self._idle[connection] = None

    def lost(self, connection: Connection, index: int | None) -> None:
        """Record that a connection is gone, with its request if there was one."""
        self._open -= 1
        self.bare_refusals += connection.bare_refusals
        self._idle.pop(connection, None)
        if index is not None:
            del self._asking[index]
            self._end(index, End.LOST)


class ClosedLoop:
    """A number of connections, each of which asks again as soon as it was answered."""

    def __init__(self, port: int, connections: int, requests: int) -> None:
        self._port = port
        self._connections = connections
        self._left = requests
        self.answered_at: list[float] = []
        self.statuses: list[int] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._open: set[Connection] = set()
        self._wanted = requests
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Ask until all were answered. Raises TimeoutError after a minute."""
        for _ in range(self._connections):
            self._reopen()
        async with asyncio.timeout(60):
            await self._over.wait()
        await asyncio.gather(*self._opening)
        for connection in list(self._open):
            connection.abandon()
        await asyncio.sleep(0)

    def _reopen(self) -> None:
        task = asyncio.create_task(self._connect())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        self._ask(await connect(self, self._port))

    def made(self, connection: Connection) -> None:
        """Know one more (called by the connection)."""
        self._open.add(connection)

    def _ask(self, connection: Connection) -> None:
        if self._left > 0:
            self._left -= 1
            connection.ask(self._left)

    def answered(self, connection: Connection, index: int, status: int, reusable: bool) -> None:
        """Record an answer (called by the connection)."""
        self.answered_at.append(time.perf_counter())
        self.statuses.append(status)
        if len(self.statuses) == self._wanted:
            self._over.set()
        elif reusable:
            self._ask(connection)

    def lost(self, connection: Connection, index: int | None) -> None:
        """Open another one; a request that was lost is asked again."""
        self._open.discard(connection)
        if index is not None:
            self._left += 1
        if self._left > 0 and not self._over.is_set():
            self._reopen()


def most_connections() -> int:
    """Return how many connections may be open at once; raises the soft limit of files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + _OTHER_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(MOST_CONNECTIONS, soft - _OTHER_FILES)


def poisson(phases: list[tuple[float, float]], seed: int) -> list[float]:
    """Return arrival times: for each (requests per second, seconds), one phase after the other."""
    random, began, arrivals = Random(seed), 0.0, []
    for rps, seconds in phases:
        at = began + random.expovariate(rps)
        while at < began + seconds:
            arrivals.append(at)
            at += random.expovariate(rps)
        began += seconds
    return arrivals


def in_microseconds(seconds: list[float]) -> list[float]:
    """Return what the clock can tell, in half as many digits."""
    return [round(value, 6) for value in seconds]


async def open_loop(job: dict[str, Any]) -> dict[str, Any]:
    """Do one open-loop job: port, phases, seed, patience_seconds."""
    arrivals = poisson(job["phases"], job["seed"])
    load = OpenLoop(job["port"], arrivals, job["patience_seconds"])
    began, cpu = time.perf_counter(), time.process_time()
    await load.run(math.ceil(job["phases"][0][0] * PREPARED_SECONDS))
    return {
        "intended": in_microseconds(load.arrivals),
        "begun": in_microseconds(load.begun),
        "seconds": in_microseconds(load.seconds),
        "statuses": load.statuses,
        "opened": load.opened,
        "bare_refusals": load.bare_refusals,
        "cpu_share": (time.process_time() - cpu) / (time.perf_counter() - began),
    }


async def closed_loop(job: dict[str, Any]) -> dict[str, Any]:
    """Do one closed-loop job: port, connections, requests."""
    load = ClosedLoop(job["port"], job["connections"], job["requests"])
    await load.run()
    return {"answered_at": load.answered_at, "statuses": load.statuses}


JOBS: dict[str, Callable[[dict[str, Any]], Any]] = {"open": open_loop, "closed": closed_loop}


def main() -> None:
    """Do jobs until stdin ends; each answer is a file, because it may be of megabytes."""
    settings = json.loads(sys.argv[1])
    pin(settings["core"])
    # Ctrl-C reaches the whole group; the parent ends this process, quietly.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A collection in the middle of a row would look like a slow server.
    gc.disable()
    for line in sys.stdin:
        job = json.loads(line)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            answer = runner.run(JOBS[job["kind"]](job))
        Path(settings["answer"]).write_text(json.dumps(answer))
        print("true", flush=True)  # noqa: T201  (the answer to the parent)
        gc.collect()


if __name__ == "__main__":
    main()
