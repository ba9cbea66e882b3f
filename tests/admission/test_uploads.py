"""S22: a refused upload is answered where its client looks, and reads as little as it can."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import shutil
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from launchday import LoadSheddingMiddleware
from launchday.admission import QueueRules
from launchday.admission.asgi import Message, Receive, Scope, Send

KIB, MIB = 1024, 1024 * 1024
LARGE = 20_000_000
SMALL_ANSWER = [(b"content-length", b"2"), (b"retry-after", b"3")]
MANY_CURLS = 300


async def never_asked(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("a refused request came to the app")


class Watched:
    """Between server and shedder: what it asks for, gets and says, in order."""

    def __init__(self) -> None:
        self.app = LoadSheddingMiddleware(never_asked, limit=1, queue=QueueRules(length=0))
        self.held = self.app.limiter.try_acquire()  # so that everything is refused
        self.events: list[str] = []
        self.byte_count = 0
        self.asked = 0
        self.running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted() -> Message:
            self.events.append("receive")
            message = await receive()
            self.byte_count += len(message.get("body", b""))
            return message

        async def noted(message: Message) -> None:
            self.events.append(message["type"].removeprefix("http.response."))
            await send(message)

        self.asked += 1
        self.running += 1
        try:
            await self.app(scope, counted, noted)
        finally:
            self.running -= 1


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.mark.parametrize("size", [100, 64 * KIB, MIB])
@pytest.mark.parametrize("late", [False, True], ids=["at once", "after its headers"])
async def test_a_connection_whose_body_could_be_read_serves_the_next_request(
    serve: Any, connect: Any, until: Any, watched: Watched, size: int, late: bool
) -> None:
    async with serve(watched) as port:
        client = await connect(port)
        for turn in (1, 2):
            client.send("POST /", f"content-length: {size}")
            if late:
                await until(lambda turn=turn: watched.asked == turn)
            client.writer.write(b"x" * size)
            status, headers, body = await client.answer()
            assert (status, headers.get("connection")) == (503, None)
            assert body
        assert (await client.ask("GET /"))[0] == 503
    assert watched.byte_count == 2 * size


async def test_a_connection_is_closed_when_idle_after_a_late_body(
    serve: Any, connect: Any, until: Any, watched: Watched
) -> None:
    async with serve(watched, timeout_keep_alive=1) as port:
        client = await connect(port)
        client.send("POST /", "content-length: 5")
        await until(lambda: watched.asked == 1)
        client.writer.write(b"hello")
        assert (await client.answer())[0] == 503
        async with asyncio.timeout(20):
            assert await client.reader.read() == b"", "uvicorn's keep-alive timer still runs"


async def test_a_client_that_expects_100_is_refused_without_a_byte_of_its_body(
    serve: Any, connect: Any, watched: Watched
) -> None:
    async with serve(watched) as port:
        client = await connect(port)
        client.send("POST /", f"content-length: {LARGE}", "expect: 100-continue")
        async with asyncio.timeout(20):
            answer = await client.reader.read()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"100 Continue" not in answer
    assert b"connection: close" in answer
    assert "receive" not in watched.events


@pytest.mark.parametrize("framing", [f"content-length: {LARGE}", "transfer-encoding: chunked"])
async def test_a_body_that_is_not_read_to_its_end_is_answered_first(
    serve: Any, connect: Any, until: Any, watched: Watched, framing: str
) -> None:
    async with serve(watched) as port:
        client = await connect(port)
        client.send("POST /", framing)
        status, headers, _ = await client.answer()
        assert (status, headers["connection"]) == (503, "close")
        async with asyncio.timeout(20):
            assert await client.reader.read() == b"", "an end, not a reset"
        await until(lambda: watched.running == 0)
    assert watched.events[:3] == ["start", "body", "receive"]


@pytest.mark.parametrize("framing", ["content-length: 100", "transfer-encoding: chunked"])
async def test_a_trickling_client_holds_neither_its_refusal_nor_the_app(
    serve: Any, connect: Any, until: Any, watched: Watched, framing: str
) -> None:
    trickled: list[int] = []

    async def trickle(writer: asyncio.StreamWriter) -> None:
        piece = b"x" if "length" in framing else b"1\r\nx\r\n"
        for sent in range(99):
            trickled.append(sent)
            writer.write(piece)
            await asyncio.sleep(0.1)

    async with serve(watched) as port:
        client = await connect(port)
        client.send("POST /", framing)
        slow = asyncio.create_task(trickle(client.writer))
        status, headers, _ = await client.answer()
        await until(lambda: watched.running == 0)
        assert (status, headers["connection"]) == (503, "close")
        assert len(trickled) < 90, "answered long before the body was there"
        slow.cancel()
        gate = watched.app.limiter.gate
        gate.tick(watched.app.clock() + 1)
        assert not gate.threshold.active, "that one client is slow is no reason to refuse others"


async def test_a_client_that_leaves_within_its_body_ends_the_app(
    serve: Any, connect: Any, until: Any, watched: Watched
) -> None:
    async with serve(watched) as port:
        client = await connect(port)
        client.send("POST /", "content-length: 1000")
        await until(lambda: watched.asked == 1)
        client.close()
        await until(lambda: watched.running == 0)


def chunks() -> Iterator[bytes]:
    yield from (b"x" * 64 * KIB for _ in range(LARGE // (64 * KIB)))


def ask_http_client(port: int, size: int | None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    body, headers = (chunks(), {"transfer-encoding": "chunked"}) if size is None else (None, {})
    with contextlib.closing(connection):
        # It does not look up while it sends, but the answer is there when its caller asks.
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            connection.request(
                "POST",
                "/",
                body=body or b"x" * (size or 0),
                headers=headers,
                encode_chunked=size is None,
            )
        return connection.getresponse().status


def ask_requests(port: int, size: int | None) -> int:
    data = chunks() if size is None else b"x" * size
    return requests.post(f"http://127.0.0.1:{port}/", data=data, timeout=20).status_code


def ask_httpx(port: int, size: int | None) -> int:
    content = chunks() if size is None else b"x" * size
    return httpx.post(f"http://127.0.0.1:{port}/", content=content, timeout=20).status_code


def ask_raw(port: int, size: int | None) -> int:
    framing = "transfer-encoding: chunked" if size is None else f"content-length: {size}"
    body = b"%x\r\n" % LARGE + b"x" * LARGE if size is None else b"x" * size
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(f"POST / HTTP/1.1\r\nhost: test\r\n{framing}\r\n\r\n".encode())
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            client.sendall(body)
        return int(client.recv(64 * KIB).split()[1])


CLIENTS = [ask_raw, ask_http_client, ask_requests, ask_httpx]


async def curl(port: int, file: Path, *arguments: str) -> str:
    url = f"http://127.0.0.1:{port}/"
    write_out = ["-sS", "-o", "/dev/null", "-w", "%{http_code} %{size_upload}"]
    process = await asyncio.create_subprocess_exec(
        "curl",
        *write_out,
        *arguments,
        "--data-binary",
        f"@{file}",
        url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    out, _ = await process.communicate()
    return out.decode()


@pytest.fixture
def large_file(tmp_path: Path) -> Path:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    path = tmp_path / "large"
    path.write_bytes(b"x" * LARGE)
    return path


@pytest.mark.slow
async def test_no_curl_of_many_loses_its_503_to_a_reset(
    serve: Any, watched: Watched, large_file: Path
) -> None:
    async with serve(watched) as port:
        asked = [await curl(port, large_file, "-H", "expect:") for _ in range(MANY_CURLS)]
    assert Counter(answer.split()[0] for answer in asked) == {"503": MANY_CURLS}


@pytest.mark.parametrize("framing", ["content-length: 1000", "transfer-encoding: chunked"])
async def test_clients_that_send_slowly_hold_no_slot(
    serve: Any, connect: Any, until: Any, framing: str
) -> None:
    bodies: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        bodies.append(len(message.get("body", b"")))
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    shedder = LoadSheddingMiddleware(app, limit=2, queue=QueueRules(length=0))
    async with serve(shedder) as port:
        slow = [await connect(port) for _ in range(10)]
        for client in slow:
            client.send("POST /", framing)
            client.writer.write(b"5\r\nhello\r\n" if "chunked" in framing else b"hello")
        quick = await connect(port)
        assert [(await quick.ask("GET /"))[0] for _ in range(20)] == [200] * 20
        assert (shedder.limiter.inflight, len(bodies)) == (0, 20)
        for client in slow:
            client.close()
        assert (await quick.ask("GET /"))[0] == 200
        await until(lambda: shedder.limiter.inflight == 0)
