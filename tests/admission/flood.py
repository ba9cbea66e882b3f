"""Open-loop load, a service of few slots, and what the observer counted: for scenarios on the wire.

A crowd sends at the times that it planned, whatever the service does, and measures from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any, NamedTuple

import uvicorn
from prometheus_client import CollectorRegistry

from launchday import LoadSheddingMiddleware
from launchday.admission.prometheus import PrometheusObserver
from launchday.metric_names import CRITICALITIES

CLIENT_TIMEOUT_SECONDS = 10.0
# uvicorn closes what is idle for 5 s, and may do so while the next request is on its way.
REUSE_SECONDS = 3.0
DEADLINE_SECONDS = 20.0
OUTCOMES = ("admitted", "rejected", "exempt", "cancelled")


class Ask(NamedTuple):
    """One request of a crowd."""

    line: str = "GET /"
    headers: tuple[str, ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of one request; `due_at` and `seconds` count from its planned time.

    `status` 0: no whole answer within the time limit of the client, or the connection broke.
    """

    ask: Ask
    due_at: float
    seconds: float
    status: int
    retry_after: str = ""
    reason: str = ""


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.used_at = time.monotonic()

    @property
    def fresh(self) -> bool:
        return time.monotonic() - self.used_at < REUSE_SECONDS and not self.reader.at_eof()


class Crowd:
    """Clients of one port with connections that they keep; `async with Crowd(port) as crowd`."""

    def __init__(
        self, port: int, *, timeout_seconds: float = CLIENT_TIMEOUT_SECONDS, seed: int = 1
    ) -> None:
        self.port = port
        self.began_at = time.monotonic()
        self._timeout_seconds = timeout_seconds
        self._random = Random(seed)
        self._idle: list[_Connection] = []

    async def __aenter__(self) -> Crowd:
        return self

    async def __aexit__(self, *_: object) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.writer.close()
        for connection in idle:
            with contextlib.suppress(OSError):
                await connection.writer.wait_closed()

    @property
    def now(self) -> float:
        """Seconds since this crowd was there."""
        return time.monotonic() - self.began_at

    async def flood(
        self, rate_rps: float, seconds: float, asks: Ask | Callable[[Random], Ask] | None = None
    ) -> list[Answered]:
        """Send a Poisson process of requests from now on; return when all are answered."""
        choose = asks if callable(asks) else (lambda _: asks or Ask())
        due_at, began_at = self.now, self.now
        tasks = []
        while (due_at := due_at + self._random.expovariate(rate_rps)) < began_at + seconds:
            await asyncio.sleep(due_at - self.now)
            tasks.append(asyncio.create_task(self.ask(choose(self._random), due_at)))
        await asyncio.sleep(began_at + seconds - self.now)
        return list(await asyncio.gather(*tasks))

    async def ask(self, ask: Ask, due_at: float | None = None) -> Answered:
        """Send one request over a connection that is idle, or a new one."""
        due_at = self.now if due_at is None else due_at
        status, headers, body = 0, dict[str, str](), b""
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(self._timeout_seconds):
                status, headers, body = await self._exchange(ask)
        reason = json.loads(body)["reason"] if status in (429, 503) and body[:1] == b"{" else ""
        seconds = self.now - due_at
        return Answered(ask, due_at, seconds, status, headers.get("retry-after", ""), reason)

    async def _exchange(self, ask: Ask) -> tuple[int, dict[str, str], bytes]:
        connection = await self._connection()
        try:
            found = await _exchange(connection, ask)
        except BaseException:
            connection.writer.transport.abort()
            raise
        if found[1].get("connection") == "close":
            connection.writer.close()
        else:
            connection.used_at = time.monotonic()
            self._idle.append(connection)
        return found

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.fresh:
                return connection
            connection.writer.close()
        return _Connection(*await asyncio.open_connection("127.0.0.1", self.port))


async def _exchange(connection: _Connection, ask: Ask) -> tuple[int, dict[str, str], bytes]:
    lines = [f"{ask.line} HTTP/1.1", "host: test", *ask.headers]
    if ask.body:
        lines.append(f"content-length: {len(ask.body)}")
    connection.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + ask.body)
    raw = (await connection.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in raw[1:] if line)
    length = 0 if ask.line.startswith("HEAD") else int(headers["content-length"])
    return int(raw[0].split()[1]), headers, await connection.reader.readexactly(length)


class Slots:
    """A service that works on `count` requests at once, each for `seconds`; the others wait inside.

    `/healthz` and what else is short answers at once. `slowdown` makes all of it slower.
    """

    def __init__(self, count: int, seconds: float) -> None:
        self.count, self.seconds, self.slowdown = count, seconds, 1.0
        self.inflight = self.peak = self.finished = 0
        self.held_seconds = 0.0
        self.body = b"ok"
        self.paths: Counter[str] = Counter()
        self._free = asyncio.Semaphore(count)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        self.paths[path] += 1
        if path in ("/healthz", "/readyz", "/metrics") or scope["method"] == "OPTIONS":
            await answer(send, 200)
            return
        self.inflight += 1
        self.peak = max(self.peak, self.inflight)
        try:
            status = await self.work(path)
        finally:
            self.inflight -= 1
        await answer(send, status, self.body)
        self.finished += 1

    async def work(self, path: str) -> int:
        """Hold one slot for the time of one service; return the status."""
        async with self._free:
            began_at = time.monotonic()
            await asyncio.sleep(self.seconds * self.slowdown)
            self.held_seconds += time.monotonic() - began_at
        return 200

    @property
    def capacity_rps(self) -> float:
        """What it can do by the clock of this machine: timers are late on a busy one."""
        held = self.held_seconds / self.finished if self.finished else self.seconds
        return self.count / held


async def answer(send: Any, status: int, body: bytes = b"ok") -> None:
    """Send a whole small answer."""
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Shed:
    """An app behind the middleware, with an observer of its own."""

    def __init__(self, app: Any, **arguments: Any) -> None:
        self.registry = CollectorRegistry()
        self.app = LoadSheddingMiddleware(
            app, observer=PrometheusObserver(self.registry), **arguments
        )
        self.limiter = self.app.limiter

    def value(self, name: str, **labels: str) -> float:
        """Return one sample of a scrape."""
        found = self.registry.get_sample_value(name, labels)
        assert found is not None, (name, labels)
        return found

    def outcomes(self) -> dict[str, int]:
        """Return how many requests ended in each way, by `shed_requests_total`."""
        return {outcome: self._sum("shed_requests_total", outcome=outcome) for outcome in OUTCOMES}

    def inflight(self) -> int:
        """Return what `shed_inflight` says."""
        return self._sum("shed_inflight")

    def queued(self) -> int:
        """Return what `shed_queue_length` says."""
        return self._sum("shed_queue_length")

    def assert_nothing_is_left(self, offered: int) -> None:
        """Every request was counted once, and nothing is held any more."""
        assert sum(self.outcomes().values()) == offered, self.outcomes()
        assert (self.limiter.inflight, self.limiter.queued, self.inflight()) == (0, 0, 0)
        assert self.limiter.gate.inflight_by_class == [0] * len(CRITICALITIES)
        assert self.queued() == 0
        assert (self.app.streams.open, self.app.websockets.open) == (0, 0)
        assert (self.value("shed_slot_leaks_total"), self.app.failures) == (0, 0)

    def _sum(self, name: str, **labels: str) -> int:
        return int(sum(self.value(name, **{"class": c}, **labels) for c in CRITICALITIES))


def between(answers: Iterable[Answered], begin: float, end: float = math.inf) -> list[Answered]:
    """Return those that were due in [begin, end) seconds."""
    return [one for one in answers if begin <= one.due_at < end]


def statuses(answers: Iterable[Answered]) -> Counter[int]:
    """Return how often each status was seen."""
    return Counter(one.status for one in answers)


def share(answers: Iterable[Answered], status: int = 200) -> float:
    """Return which share was answered so."""
    counts = statuses(answers)
    return counts[status] / counts.total()


def goodput_rps(answers: Iterable[Answered], begin: float, end: float) -> float:
    """Return how many per second were answered 200 in [begin, end) seconds."""
    ends = (one.due_at + one.seconds for one in answers if one.status == 200)
    return sum(begin <= at < end for at in ends) / (end - begin)


def percentile(answers: Iterable[Answered], part: float, status: int = 200) -> float:
    """Return the latency that `part` of those with this status do not exceed, in seconds."""
    ordered = sorted(one.seconds for one in answers if one.status == status)
    return ordered[math.ceil(part * len(ordered)) - 1]


def resident_bytes() -> int:
    """Return the memory of this process; 0 where /proc does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def served_in_a_thread(app: Any, **config: Any) -> Iterator[int]:
    """Serve from an event loop of its own, which may block; yields the port."""
    quiet: dict[str, Any] = {"log_level": "critical", "lifespan": "off", "ws": "wsproto"}
    config = {**quiet, "timeout_graceful_shutdown": 1, "port": 0, "loop": "asyncio", **config}
    server = _Server(uvicorn.Config(app, http="httptools", **config))
    thread = Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < deadline, "the server did not start in time"
            time.sleep(0.005)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
