"""S21: WebSockets beyond the pool are refused with 503 and when to come back; others run on."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import uvicorn

from launchday import LoadSheddingMiddleware
from launchday.admission.asgi import ASGIApp, Message, Receive, Scope, Send
from launchday.admission.pool import Pool
from launchday.admission.websockets import deny

PROBLEM = b'{"status":503,"title":"Temporarily over capacity"}'
HEADERS = [
    (b"content-type", b"application/problem+json"),
    (b"content-length", b"%d" % len(PROBLEM)),
    (b"retry-after", b"3"),
    (b"cache-control", b"no-store"),
]
DEADLINE_SECONDS = 20
POOL = 4


def guarded(app: ASGIApp, websockets: int) -> tuple[ASGIApp, Pool]:
    """The app behind the shedder, and the pool of its WebSockets."""
    shedder = LoadSheddingMiddleware(app, limit=1, websockets=websockets)
    return shedder, shedder.websockets


class Echo:
    """Accepts and echoes; "raise" makes it raise; `tasks` are its handlers."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[Any]] = []
        self.most_open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.append(task)
        self.most_open = max(self.most_open, sum(not task.done() for task in self.tasks))
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            if message["text"] == "raise":
                raise ZeroDivisionError
            await send({"type": "websocket.send", "text": message["text"]})


Serve = Callable[[Any], AbstractAsyncContextManager[int]]


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


# uvicorn warns of this one, and it imports what websockets warns of.
DEPRECATED = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore:The `websockets` implementation:UserWarning"
)


@pytest.fixture(
    params=[
        "wsproto",
        "websockets-sansio",
        pytest.param("websockets", marks=DEPRECATED),
    ]
)
def serve(request: pytest.FixtureRequest, until: Any) -> Serve:
    """`async with serve(app) as port`, once for each of uvicorn's WebSocket implementations."""
    package = request.param.removesuffix("-sansio")
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")

    @asynccontextmanager
    async def running(app: Any) -> AsyncIterator[int]:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            app,
            ws=request.param,
            http="httptools",
            lifespan="off",
            log_level="critical",
            timeout_graceful_shutdown=1,
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await until(lambda: server.started)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await serving

    return running


class WebSocket:
    """A client that sees bytes: one handshake, then short text frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}

    async def shake_hands(self) -> None:
        self.writer.write(
            b"GET /ws HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)

    async def echo(self, text: str) -> str:
        self.send(text)
        async with asyncio.timeout(DEADLINE_SECONDS):
            opcode, length = await self.reader.readexactly(2)
            assert opcode == 0x81
            return (await self.reader.readexactly(length)).decode()

    def send(self, text: str, opcode: int = 1) -> None:
        # A mask of zeros leaves the text as it is.
        self.writer.write(bytes([0x80 | opcode, 0x80 | len(text), 0, 0, 0, 0]) + text.encode())

    def close(self) -> None:
        self.send("", opcode=8)
        self.writer.close()

    def reset(self) -> None:
        linger_not = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, linger_not
        )
        self.writer.transport.abort()


@pytest.fixture
async def handshake() -> AsyncIterator[Callable[[int], Any]]:
    """`websocket = await handshake(port)`, accepted or not."""
    websockets: list[WebSocket] = []

    async def shake(port: int) -> WebSocket:
        websocket = WebSocket(*await asyncio.open_connection("127.0.0.1", port))
        websockets.append(websocket)
        await websocket.shake_hands()
        return websocket

    yield shake
    for websocket in websockets:
        websocket.writer.close()
        with contextlib.suppress(OSError):
            await websocket.writer.wait_closed()


async def assert_denied(websocket: WebSocket) -> None:
    assert websocket.status == 503
    assert websocket.headers["retry-after"].isdigit()
    assert websocket.headers["content-type"] == "application/problem+json"
    assert websocket.headers["connection"] == "close"
    async with asyncio.timeout(DEADLINE_SECONDS):
        body = await websocket.reader.read()
    assert json.loads(body)["status"] == 503, "the whole body, then an end and no reset"


async def test_a_storm_of_five_times_the_pool_is_denied_and_disturbs_nobody(
    serve: Serve, handshake: Any
) -> None:
    echo = Echo()
    app, pool = guarded(echo, POOL)
    stormy = True
    echoed = 0

    async def talk(websocket: WebSocket) -> None:
        nonlocal echoed
        while stormy:
            text = f"message {echoed}"
            assert await websocket.echo(text) == text
            echoed += 1

    async with serve(app) as port:
        accepted = [await handshake(port) for _ in range(POOL)]
        assert [websocket.status for websocket in accepted] == [101] * POOL
        talking = [asyncio.create_task(talk(websocket)) for websocket in accepted]
        storm = await asyncio.gather(*(handshake(port) for _ in range(5 * POOL)))
        for websocket in storm:
            await assert_denied(websocket)
        before = echoed
        stormy = False
        await asyncio.gather(*talking)
        assert before > 0
        assert [await websocket.echo("still here") for websocket in accepted] == [
            "still here"
        ] * POOL
        assert (pool.open, echo.most_open) == (POOL, POOL)


async def leave_by_closing(websocket: WebSocket, echo: Echo) -> None:
    websocket.close()


async def leave_by_reset(websocket: WebSocket, echo: Echo) -> None:
    websocket.reset()


async def leave_by_raising(websocket: WebSocket, echo: Echo) -> None:
    websocket.send("raise")


async def leave_by_cancelling(websocket: WebSocket, echo: Echo) -> None:
    echo.tasks[0].cancel()


@pytest.mark.parametrize(
    "leave", [leave_by_closing, leave_by_reset, leave_by_raising, leave_by_cancelling]
)
async def test_a_slot_comes_back_however_its_websocket_ends(
    serve: Serve, handshake: Any, until: Any, leave: Any
) -> None:
    echo = Echo()
    app, pool = guarded(echo, 1)
    async with serve(app) as port:
        first = await handshake(port)
        assert await first.echo("hello") == "hello"
        assert (await handshake(port)).status == 503
        await leave(first, echo)
        await until(lambda: pool.open == 0)
        second = await handshake(port)
        assert await second.echo("hello again") == "hello again"
        assert pool.open == 1
    assert pool.open == 0, "and at shutdown"


async def test_a_server_without_denial_responses_closes_before_the_handshake(
    serve: Serve, handshake: Any
) -> None:
    refusing, _ = guarded(Echo(), 0)

    async def without_extension(scope: Scope, receive: Receive, send: Send) -> None:
        del scope["extensions"]
        await refusing(scope, receive, send)

    async with serve(without_extension) as port:
        assert (await handshake(port)).status == 403


async def denied(messages: list[Message], scope: Scope, sent: list[Message]) -> None:
    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await deny(scope, receive, send, HEADERS, PROBLEM)


CONNECT: Message = {"type": "websocket.connect"}
EXTENSIONS: dict[str, Any] = {"websocket.http.response": {}}


@pytest.mark.parametrize(("http_version", "closes"), [("1.1", True), ("2", False)])
async def test_only_http_1_is_told_that_its_connection_closes(
    http_version: str, closes: bool
) -> None:
    sent: list[Message] = []
    await denied([CONNECT], {"http_version": http_version, "extensions": EXTENSIONS}, sent)
    assert ((b"connection", b"close") in sent[0]["headers"]) == closes
    assert (b"connection", b"close") not in HEADERS


async def test_extensions_may_be_none() -> None:
    sent: list[Message] = []
    await denied([CONNECT], {"extensions": None}, sent)
    assert sent == [{"type": "websocket.close", "code": 1013}]


async def test_nobody_is_denied_after_leaving() -> None:
    sent: list[Message] = []
    await denied([{"type": "websocket.disconnect"}], {"extensions": EXTENSIONS}, sent)
    assert sent == []


async def test_a_client_that_leaves_while_it_is_denied_is_no_error() -> None:
    async def receive() -> Message:
        return CONNECT

    async def send(message: Message) -> None:
        raise ConnectionResetError

    await deny({"extensions": EXTENSIONS}, receive, send, HEADERS, PROBLEM)


@pytest.mark.parametrize("limit", [-1, 1.5, True, "4", float("nan")])
def test_a_pool_of_nonsense_is_refused(limit: Any) -> None:
    with pytest.raises(ValueError, match="websockets must be an integer of at least 0, not"):
        Pool("websockets", limit)


def test_a_pool_without_a_bound_still_counts() -> None:
    pool = Pool("websockets", None)
    assert all(pool.try_enter() for _ in range(1000))
    pool.leave()
    assert pool.open == 999


async def test_websockets_opened_while_nobody_is_refused_count_when_somebody_is(
    serve: Serve, handshake: Any
) -> None:
    shedder = LoadSheddingMiddleware(Echo(), limit=1, websockets=2, mode="observe")
    async with serve(shedder) as port:
        opened = [await handshake(port) for _ in range(4)]
        assert [websocket.status for websocket in opened] == [101] * 4
        assert shedder.websockets.open == 4
        shedder.configure(mode="enforce")
        assert (await handshake(port)).status == 503
