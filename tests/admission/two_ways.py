"""One app behind uvicorn's own protocol and behind the shedding one, and a client of bytes."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from launchday.admission.asgi import ASGIApp, Receive, Scope, Send
from launchday.admission.outside import Headers, RefusalAnswer
from launchday.admission.uvicorn import SheddingProtocol

DEADLINE_SECONDS = 20
COMPARED = "type method path raw_path query_string root_path headers scheme http_version"


REFUSED = b"HTTP/1.1 503 Service Unavailable\r\ndate\r\nserver: uvicorn\r\n"


class Shedder:
    """Refuses everything but `/in`, in the same words by both ways, and notes what it saw."""

    needs_headers = True

    def __init__(self, body: bytes = b'{"reason":"priority"}', more: Headers | None = None) -> None:
        self.refusing = True
        self.fast: list[dict[str, Any]] = []
        self.slow: list[dict[str, Any]] = []
        self.failure: Exception | None = None
        self.release = asyncio.Event()
        self.release.set()
        self._more = more or [(b"retry-after", b"3")]
        self.answer_with(body, 503)

    def answer_with(self, body: bytes, status: int) -> None:
        headers = [(b"content-length", b"%d" % len(body)), *self._more]
        self.answer = headers, body, status

    def refuse_now(self, scope: Scope) -> RefusalAnswer | None:
        if self.failure is not None:
            raise self.failure
        if scope["path"].endswith("/in"):
            return None
        self.fast.append(note(scope))
        return self.answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                message = await receive()
                await send({"type": message["type"] + ".complete"})
            return
        if self.failure is not None:
            raise self.failure
        self.slow.append(note(scope))
        await self.release.wait()
        headers, body, status = self.answer
        if scope["path"].endswith("/in"):
            status = 200
        start = {"type": "http.response.start", "status": status, "headers": headers.copy()}
        await send(start)
        await send({"type": "http.response.body", "body": body})


def note(scope: Scope) -> dict[str, Any]:
    client = scope["client"] and scope["client"][0]
    return {**{key: scope[key] for key in COMPARED.split()}, "client": client}


class Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(app: Any, http: Any = SheddingProtocol, **config: Any) -> AsyncIterator[Server]:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    quiet = {"timeout_graceful_shutdown": 1, "lifespan": "off", "log_config": None}
    config = {"ws": "none", "access_log": False, **quiet, **config}
    server = Server(uvicorn.Config(app, http=http, **config))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not server.started:  # noqa: ASYNC110  (uvicorn offers no event)
            await asyncio.sleep(0.005)
    server.port = listener.getsockname()[1]  # type: ignore[attr-defined]  # ours to note
    try:
        yield server
    finally:
        server.should_exit = True
        await running


@dataclass
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, *, head: bool = False) -> bytes:
        """Read one answer with a Content-Length; its date is taken out."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            raw = await self.reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", raw)
            if length is not None and not head:
                raw += await self.reader.readexactly(int(length[1]))
            return re.sub(rb"date: [^\r]+\r\n", b"date\r\n", raw)

    async def ask(self, data: bytes) -> bytes:
        self.send(data)
        return await self.answer(head=data.startswith(b"HEAD"))

    async def end(self) -> bytes:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.reader.read()


@asynccontextmanager
async def connection(server: Server) -> AsyncIterator[Connection]:
    port = server.port  # type: ignore[attr-defined]  # noted by `serving`
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def both_ways(
    wrap: Callable[[Shedder], ASGIApp] = lambda shedder: shedder, **config: Any
) -> AsyncIterator[Callable[[bytes], Awaitable[tuple[Shedder, Shedder, bytes]]]]:
    """Yield what sends a request to two servers, the protocol's and a plain uvicorn.

    Its result: the shedders with what both saw of that request, and the answer, the same by both.
    """
    shedders = Shedder(), Shedder()
    async with (
        serving(wrap(shedders[0]), **config) as shedding,
        serving(wrap(shedders[1]), "httptools", **config) as plain,
    ):

        async def ask(request: bytes) -> tuple[Shedder, Shedder, bytes]:
            answers = []
            for shedder, server in zip(shedders, (shedding, plain), strict=True):
                shedder.fast, shedder.slow = [], []
                async with connection(server) as client:
                    answers.append(await client.ask(request))
            assert answers[0] == answers[1]
            return *shedders, answers[0]

        yield ask


def head(line: str, *headers: str) -> bytes:
    return "\r\n".join([line + " HTTP/1.1", "Host: test", *headers, "", ""]).encode("latin-1")
