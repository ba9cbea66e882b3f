"""A real server on a free port, and a client that sees bytes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import uvicorn

Serve = Callable[..., AbstractAsyncContextManager[int]]
DEADLINE_SECONDS = 20


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def _serve(app: Any, **config: Any) -> AsyncIterator[int]:
    # With the protocol spelt out, asyncio sets TCP_NODELAY; without, each answer takes 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    quiet = {"log_level": "critical", "timeout_graceful_shutdown": 1, "lifespan": "off"}
    server = _Server(uvicorn.Config(app, http="httptools", ws="none", **{**quiet, **config}))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    await until(lambda: server.started)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await running


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110  (what is waited for knows no events)
            await asyncio.sleep(0.005)


class Client:
    """One connection; requests and answers as HTTP/1.1 bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, request_line: str, *headers: str, body: bytes = b"") -> None:
        lines = [f"{request_line} HTTP/1.1", "host: test", *headers]
        if body:
            lines.append(f"content-length: {len(body)}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def answer(self, *, head: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Read one answer with a Content-Length."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            raw = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in raw[1:] if line)
            length = 0 if head else int(headers["content-length"])
            return int(raw[0].split()[1]), headers, await self.reader.readexactly(length)

    async def ask(self, request_line: str, *headers: str) -> tuple[int, dict[str, str], bytes]:
        self.send(request_line, *headers)
        return await self.answer(head=request_line.startswith("HEAD"))

    def close(self) -> None:
        self.writer.close()


@pytest.fixture
def serve() -> Serve:
    """`async with serve(asgi_app) as port`."""
    return _serve


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[int], Awaitable[Client]]]:
    """`client = await connect(port)`."""
    clients: list[Client] = []

    async def open_one(port: int) -> Client:
        clients.append(Client(*await asyncio.open_connection("127.0.0.1", port)))
        return clients[-1]

    yield open_one
    for client in clients:
        client.close()
        with contextlib.suppress(OSError):
            await client.writer.wait_closed()


@pytest.fixture(name="until")
def until_fixture() -> Callable[[Callable[[], bool]], Any]:
    """`await until(condition)`, with a generous deadline."""
    return until
