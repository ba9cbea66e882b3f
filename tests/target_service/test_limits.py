"""What a client may send: heads and bodies of bounded size and time; refusals in words."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from target_service import body_limit, protocol
from target_service.body_limit import LARGEST_BODY_BYTES, BodyLimit
from target_service.protocol import LARGEST_HEAD_BYTES, LimitedHttpProtocol

TINY = "tests.target_service.tiny_service"


@pytest.fixture(scope="module")
def tiny(start: Any) -> Any:
    return start(TINY)


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        yield connection


def answer_to(process: Any, *pieces: bytes) -> bytes:
    """Send pieces, each by itself, and return everything until the service closes."""
    with connected(process.port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            try:
                connection.sendall(piece)
            except ConnectionError:
                break  # it may close as soon as it has answered
            time.sleep(0.01)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def problem_of(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    problem: dict[str, Any] = json.loads(body)
    assert head.startswith(b"HTTP/1.1 %d " % problem["status"])
    return problem


def head(*headers: bytes) -> bytes:
    return b"\r\n".join([b"GET /echo HTTP/1.1", b"host: x", *headers, b"", b""])


FILL = b"x" * (LARGEST_HEAD_BYTES - 200)
MUCH = b"x" * LARGEST_HEAD_BYTES


# ---- heads


def test_a_head_just_below_the_limit_is_served(tiny: Any) -> None:
    assert tiny.http.get("/echo", headers={"x-fill": FILL.decode()}).status_code == 200


@pytest.mark.parametrize(
    "pieces",
    [
        (head(b"x-fill: " + MUCH),),
        (head(*[b"x-%d: y" % number for number in range(5000)]),),
        (b"GET /echo?" + MUCH + b" HTTP/1.1\r\nhost: x\r\n\r\n",),
        (head()[:-2] + b"x-fill: ", MUCH[:20_000], MUCH[:20_000], b"\r\n\r\n"),
        (b"GET /echo HTTP/1.1\r\nx-endless: ", *[b"x" * 10_000] * 20),
    ],
    ids=["one header", "many headers", "url", "pieces", "endless"],
)
def test_a_head_over_the_limit_is_refused_and_the_connection_closed(
    pieces: tuple[bytes, ...], tiny: Any
) -> None:
    problem = problem_of(answer_to(tiny, *pieces))
    assert (problem["status"], problem["reason"]) == (431, "head_too_large")
    assert tiny.http.get("/echo").status_code == 200


def test_the_head_after_a_large_body_has_the_whole_limit(tiny: Any) -> None:
    size = 60_000
    post = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size
    last = head(b"connection: close", b"x-fill: " + FILL)
    answer = answer_to(tiny, post + b"y" * size + last[:100], last[100:])
    assert answer.count(b"HTTP/1.1 200") == 2
    assert b'{"bytes":60000}' in answer


def test_a_refused_head_behind_a_request_lets_that_one_be_answered(tiny: Any) -> None:
    slow = b"GET /slow?seconds=0.3 HTTP/1.1\r\nhost: x\r\n\r\n"
    answer = answer_to(tiny, slow + head(b"x-fill: " + MUCH))
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "sent",
    [b"NONSENSE\r\n\r\n", head(b"content-length: many"), b"\x16\x03\x01\x02\x00\x01\x00" * 9],
    ids=["words", "length", "tls"],
)
def test_what_is_no_http_is_refused_in_words(sent: bytes, tiny: Any) -> None:
    assert problem_of(answer_to(tiny, sent))["reason"] == "bad_request"


def test_what_is_refused_is_no_traceback_in_the_log(tiny: Any) -> None:
    answer_to(tiny, head(b"x-fill: " + MUCH))
    assert "Traceback" not in tiny.log.read_text()


async def _hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def listen(app: Any = _hello) -> asyncio.Server:
    """Serve in this event loop, so that a test can shorten the time limits."""
    config = uvicorn.Config(
        app, http=LimitedHttpProtocol, ws="none", lifespan="off", log_config=None
    )
    state = ServerState()
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: LimitedHttpProtocol(config, state, {}), "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("sent", "status"), [(b"GET / HTTP/1.1\r\nx-slow: ", b"408"), (b"\r\n\r\n", None)]
)
async def test_a_head_that_takes_too_long_ends_the_connection(
    sent: bytes, status: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LONGEST_HEAD_SECONDS", 0.2)
    async with await listen() as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        began_at = time.monotonic()
        writer.write(sent)
        for _ in range(5):  # a byte now and then does not help
            await asyncio.sleep(0.03)
            writer.write(sent[:1] if status is None else b"x")
        answer = await reader.read()
        assert time.monotonic() - began_at >= 0.2
        writer.close()
    assert answer.split(b" ")[1:2] == ([status] if status else [])


async def test_a_kept_connection_waits_longer_than_a_head_may_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(protocol, "LONGEST_HEAD_SECONDS", 0.1)
    async with await listen() as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\n")
            await asyncio.sleep(0.01)
            writer.write(b"host: x\r\n\r\n")
            assert b"204" in await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.3)
        writer.close()


# ---- trailers


def chunked(path: bytes, *headers: bytes) -> bytes:
    first = [b"POST " + path + b" HTTP/1.1", b"host: x", b"transfer-encoding: chunked", *headers]
    return b"\r\n".join([*first, b"", b"2", b"{}", b"0", b""])


LAST = b"connection: close"


@pytest.mark.parametrize(
    "piece",
    [b"x" * 10_000, b"x-many: y\r\n" * 1000],
    ids=["one without end", "many"],
)
def test_trailers_over_the_limit_are_refused_and_the_connection_closed(
    piece: bytes, tiny: Any
) -> None:
    problem = problem_of(answer_to(tiny, chunked(b"/echo") + b"x-first: ", *[piece] * 200))
    assert (problem["status"], problem["reason"]) == (431, "trailers_too_large")
    assert tiny.http.get("/echo").status_code == 200
    assert "Traceback" not in tiny.log.read_text()


def test_trailers_over_the_limit_behind_an_answer_get_no_second_one(tiny: Any) -> None:
    get = chunked(b"/nowhere").replace(b"POST", b"GET") + b"x-first: "  # its body nobody reads
    answer = answer_to(tiny, get, *[b"x" * 10_000] * 20)
    assert answer.startswith(b"HTTP/1.1 404")
    assert answer.count(b"HTTP/1.1") == 1


def test_trailers_below_the_limit_and_large_chunks_in_pieces_are_no_matter(tiny: Any) -> None:
    answer = answer_to(tiny, chunked(b"/echo", LAST), b"x-fill: ", FILL, b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'{"bytes":2}' in answer
    begun = chunked(b"/echo", LAST).removesuffix(b"0\r\n") + b"ea60\r\n"
    answer = answer_to(tiny, begun, *[b"x" * 10_000] * 6, b"\r\n0\r\n\r\n")
    assert b'{"bytes":60002}' in answer


async def test_trailers_are_no_headers_of_the_request() -> None:
    async def names(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send(
            {"type": "http.response.body", "body": b",".join(n for n, _ in scope["headers"])}
        )

    trailers = [b"authorization: Bearer x\r\nidempotency-", b"key: y\r\n\r\n"]
    async with await listen(names) as server:
        for pieces in (
            [chunked(b"/", LAST), *trailers],
            [chunked(b"/", LAST) + b"".join(trailers)],
        ):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0.01)
            answer = await reader.read()
            writer.close()
            assert b"host,transfer-encoding,connection" in answer
            assert b"authorization" not in answer
            assert b"idempotency-key" not in answer


# ---- bodies


def test_a_body_up_to_the_limit_is_read(tiny: Any) -> None:
    body = b"x" * LARGEST_BODY_BYTES
    assert tiny.http.post("/echo", content=body).json() == {"bytes": LARGEST_BODY_BYTES}
    pieces = iter([body[:40_000], body[40_000:]])
    assert tiny.http.post("/echo", content=pieces).json() == {"bytes": LARGEST_BODY_BYTES}


@pytest.mark.parametrize("size", [LARGEST_BODY_BYTES + 1, 2 * 1024 * 1024, 20 * 1024 * 1024])
@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_limit_is_refused_and_the_client_gets_to_know(
    size: int, declared: bool, tiny: Any
) -> None:
    body = b"x" * 65536

    def pieces() -> Iterator[bytes]:
        for sent in range(0, size, len(body)):
            yield body[: size - sent]

    headers = {"content-length": str(size)} if declared else {}
    answer = httpx.post(
        f"{tiny.url}/echo", content=pieces(), headers=headers, timeout=30, trust_env=False
    )
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["connection"] == "close"
    assert answer.json()["reason"] == "too_large"


def test_a_length_over_the_limit_is_refused_before_anything_is_sent(tiny: Any) -> None:
    size = LARGEST_BODY_BYTES + 1
    head = b"POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n"
    with connected(tiny.port) as connection:
        connection.sendall(head % size)
        assert problem_of(read_all(connection))["status"] == 413


def test_a_client_that_waits_for_100_continue_gets_it(tiny: Any) -> None:
    head = b"POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n"
    with connected(tiny.port) as connection:
        connection.sendall(head + b"connection: close\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(b"ok")
        assert b'{"bytes":2}' in read_all(connection)


def test_a_body_cut_short_by_its_client_is_nobodys_error(tiny: Any) -> None:
    with connected(tiny.port) as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf")
    assert tiny.http.get("/echo").status_code == 200
    assert "ERROR" not in tiny.log.read_text()


class Wire:
    """What a client sends, piece by piece; after it silence, or the client leaves."""

    def __init__(self, pieces: list[bytes], ends: bool = True) -> None:
        last = len(pieces) - 1
        self._messages = [
            {"type": "http.request", "body": piece, "more_body": not ends or number < last}
            for number, piece in enumerate(pieces)
        ]
        self.received: list[dict[str, Any]] = []
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if not self._messages:
            await asyncio.sleep(3600)
        message = self._messages.pop(0)
        self.received.append(message)
        return message

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def through(self, limit: Any, headers: list[tuple[bytes, bytes]]) -> int:
        await limit({"type": "http", "method": "POST", "headers": headers}, self.receive, self.send)
        status: int = self.sent[0]["status"]
        return status


async def _read_all(scope: Any, receive: Any, send: Any) -> None:
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


CHUNKED = [(b"transfer-encoding", b"chunked")]


@given(st.lists(st.binary(max_size=9), min_size=1), st.integers(0, 40))
@settings(deadline=None)
def test_a_chunked_body_is_refused_exactly_above_the_limit(pieces: list[bytes], most: int) -> None:
    wire = Wire(pieces)
    body = b"".join(pieces)
    status = asyncio.run(wire.through(BodyLimit(_read_all, largest_bytes=most), CHUNKED))
    assert status == (413 if len(body) > most else 200)
    if status == 200:
        assert wire.sent[1]["body"] == body
    assert not wire.sent[-1].get("more_body", False)


async def test_a_declared_length_over_the_limit_is_answered_before_it_is_read() -> None:
    wire = Wire([b"x"])
    read_before: list[int] = []

    async def send(message: Any) -> None:
        read_before.append(len(wire.received))

    scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"11")]}
    await BodyLimit(_read_all, largest_bytes=10)(scope, wire.receive, send)
    assert read_before[:2] == [0, 0]  # the head and the body of the answer


async def test_a_body_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limit, "LONGEST_BODY_SECONDS", 0.05)
    assert await Wire([b"x"], ends=False).through(BodyLimit(_read_all), CHUNKED) == 408


async def test_the_rest_of_a_refused_body_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(body_limit, "LINGER_SECONDS", 0.05)
    wire = Wire([b"x" * 20], ends=False)
    assert await wire.through(BodyLimit(_read_all, largest_bytes=10), CHUNKED) == 413
