"""uvicorn's protocol refuses by itself what the middleware would refuse, with the same bytes."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from launchday.admission.uvicorn import SheddingProtocol
from target_service import protocol as limited
from tests.admission.two_ways import (
    REFUSED,
    Connection,
    Shedder,
    both_ways,
    connection,
    head,
    serving,
)

Until = Callable[[Callable[[], bool]], Awaitable[None]]


BROWSER = (
    "Connection: keep-alive",
    'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24"',
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
    "Accept: */*",
    "Accept-Language:  en-US,en;q=0.9",
    "X-Empty:",
    "X-Latin: \xe4",
    "Cookie: session=abc; theme=dark",
)

PLAIN = {
    "GET": head("GET /a/b"),
    "HEAD": head("HEAD /a"),
    "DELETE": head("DELETE /a"),
    "query": head("GET /a?b=c&d=%20e?f"),
    "empty query": head("GET /a?"),
    "percent-encoded": head("GET /caf%C3%A9%2Fx/%zz"),
    "brackets": head("GET /a?filter[b]=c|d"),
    "double slash": head("GET //a//b"),
    "browser": head("GET /a", *BROWSER),
    "no header": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": head("GET /", "Host: other"),
}

ORDINARY = {
    "content-length": head("GET /", "Content-Length: 3") + b"abc",
    "empty body": head("DELETE /", "content-length: 0"),
    "chunked": head("GET /", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "expect": head("GET /", "EXPECT: 100-continue"),
    "upgrade": head("GET /", "Upgrade: h2c", "Connection: upgrade"),
    "upgrade alone": head("GET /", "Upgrade: h2c"),
    "not chunked": head("GET /", "Transfer-Encoding: gzip"),
    "close": head("GET /", "Connection: close"),
    "keep-alive and close": head("GET /", "Connection: keep-alive, close"),
    "proxy-connection": head("GET /", "Proxy-Connection: close"),
    "HTTP/1.0": b"GET / HTTP/1.0\r\nhost: test\r\n\r\n",
    "origin": head("GET /", "oRiGiN: https://a.example"),
    "POST": head("POST /"),
    "OPTIONS": head("OPTIONS /"),
    "absolute form": head("GET http://test/"),
    "asterisk form": head("OPTIONS *"),
    "fragment": head("GET /a#b"),
    "space behind a value": head("GET /", "a: b "),
    "not ASCII": head("GET /\xe4"),
    "blank line before": b"\r\n" + head("GET /"),
    "folded header": head("GET /", "a: b", " c"),
    "space in a name": head("GET /", "a b: c"),
    "no colon": head("GET /", "abc"),
    "control character": head("GET /", "a: b\x01"),
    "bare carriage return": head("GET /", "a: b\rc: d"),
    "zero byte": head("GET /", "a: b\x00"),
    "bare line feeds": b"GET / HTTP/1.1\nhost: test\n\n",
    "nonsense": b"\x16\x03\x01\x00\r\n\r\n",
    "large": head("GET /", "a: " + "b" * 8192),
}


async def test_what_is_refused_in_the_protocol_has_the_bytes_and_the_scope_of_the_middleware() -> (
    None
):
    async with both_ways(root_path="/api") as ask:
        for name, request in PLAIN.items():
            fast, slow, answer = await ask(request)
            assert answer.startswith(REFUSED), name
            assert (len(fast.fast), fast.slow, slow.fast) == (1, [], []), name
            assert fast.fast == slow.slow, name


async def test_every_other_request_takes_the_ordinary_way() -> None:
    async with both_ways() as ask:
        for name, request in ORDINARY.items():
            fast, slow, _ = await ask(request)
            assert fast.fast == [], name
            assert fast.slow == slow.slow, name


async def test_one_connection_alternates_between_both_ways() -> None:
    shedder = Shedder()
    async with serving(shedder) as server, connection(server) as client:
        for _ in range(3):
            assert b" 503 " in await client.ask(head("GET /a"))
            assert b" 200 " in await client.ask(head("GET /in"))  # not refused: the app decides
            assert b" 503 " in await client.ask(head("POST /a", "content-length: 2") + b"ab")
            shedder.refusing = False
            assert b" 503 " in await client.ask(head("GET /b", "x: y"))
            shedder.refusing = True
    assert [scope["path"] for scope in shedder.fast] == ["/a"] * 3
    assert [scope["path"] for scope in shedder.slow] == ["/in", "/a", "/b"] * 3


async def test_behind_a_request_in_progress_nothing_is_refused_before_it_is_answered(
    until: Until,
) -> None:
    shedder = Shedder()
    shedder.release.clear()
    async with serving(shedder) as server, connection(server) as client:
        client.send(head("GET /in"))
        await until(lambda: len(shedder.slow) == 1)
        client.send(head("GET /second"))
        await asyncio.sleep(0.05)  # time for a wrong answer
        assert shedder.fast == []
        shedder.release.set()
        assert b" 200 " in await client.answer()
        assert b" 503 " in await client.answer()
        assert [scope["path"] for scope in shedder.slow] == ["/in", "/second"]
        await client.ask(head("GET /third"))
    assert [scope["path"] for scope in shedder.fast] == ["/third"]


@pytest.mark.parametrize("cut", [1, 20, -2])
async def test_a_head_in_pieces_and_pipelined_heads_go_to_the_parser(
    cut: int, until: Until
) -> None:
    shedder = Shedder()
    request = head("GET /pieces", "accept: */*")
    async with serving(shedder) as server, connection(server) as client:
        await client.ask(head("GET /before"))
        client.send(request[:cut])
        await asyncio.sleep(0.03)  # so that they are two pieces
        client.send(request[cut:])
        assert b" 503 " in await client.answer()
        client.send(head("GET /1") + head("GET /2"))
        assert await client.answer() == await client.answer()
        await client.ask(head("GET /after"))
    assert [scope["path"] for scope in shedder.fast] == ["/before", "/after"]
    assert [scope["path"] for scope in shedder.slow] == ["/pieces", "/1", "/2"]


async def test_the_rest_of_a_body_that_nobody_read_is_never_taken_for_a_request() -> None:
    shedder = Shedder()
    smuggled = head("GET /smuggled")
    async with serving(shedder) as server, connection(server) as client:
        await client.ask(head("POST /upload", f"content-length: {len(smuggled)}"))
        client.send(smuggled)
        await asyncio.sleep(0.03)  # so that they are two pieces
        await client.ask(head("GET /after"))
    seen = [scope["path"] for scope in [*shedder.slow, *shedder.fast]]
    assert seen == ["/upload", "/after"]


async def test_a_shedder_that_raises_is_uvicorns_500_and_not_a_lost_connection() -> None:
    shedder = Shedder()
    shedder.failure = RuntimeError("a wrong classifier")
    async with serving(shedder) as server, connection(server) as client:
        assert b" 500 " in await client.ask(head("GET /a"))


async def test_a_connection_that_was_only_refused_ends_one_timeout_after_the_last_refusal() -> None:
    shedder = Shedder()
    loop = asyncio.get_running_loop()
    ended_at = {}

    async def note_the_end(name: str, client: Connection) -> None:
        await client.end()
        ended_at[name] = loop.time()

    async with (
        serving(shedder, timeout_keep_alive=1) as server,
        connection(server) as idle,
        connection(server) as busy,
    ):
        await idle.ask(head("GET /a"))
        await busy.ask(head("GET /a"))
        idle_ends = asyncio.create_task(note_the_end("idle", idle))
        await asyncio.sleep(0.6)
        await busy.ask(head("GET /a"))
        last_refused_at = loop.time()
        await note_the_end("busy", busy)
        await idle_ends
    assert ended_at["idle"] < ended_at["busy"]
    assert ended_at["busy"] >= last_refused_at + 0.9
    assert len(shedder.fast) == 3


async def test_who_does_not_read_the_refusals_is_not_read_from(until: Until) -> None:
    shedder = Shedder(body=b"x" * 65536)
    async with serving(shedder) as server, connection(server) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a read transport
        await until(lambda: len(server.server_state.connections) == 1)
        (protocol,) = server.server_state.connections
        assert isinstance(protocol, SheddingProtocol)

        def is_refused_or_paused(sent: int) -> bool:
            return len(shedder.fast) >= sent or protocol.flow.write_paused

        sent = 0
        while not protocol.flow.write_paused and sent < 2000:
            client.send(head("GET /a"))
            sent += 1
            await until(partial(is_refused_or_paused, sent))
        assert protocol.flow.write_paused
        for _ in range(50):
            client.send(head("GET /a"))
            await asyncio.sleep(0.001)
        await until(lambda: protocol.flow.read_paused)
        assert len(shedder.fast) + len(shedder.slow) <= sent + 2
        assert protocol.transport.get_write_buffer_size() < 4 * 65536


async def test_a_blank_line_before_a_refusal_does_not_end_the_connection_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limited, "LONGEST_HEAD_SECONDS", 0.2)
    shedder = Shedder()
    async with (
        serving(shedder, limited.SheddingHttpProtocol) as server,
        connection(server) as client,
    ):
        client.send(b"\r\n")
        await asyncio.sleep(0.05)  # so that they are two pieces
        for _ in range(3):
            assert (await client.ask(head("GET /a"))).startswith(REFUSED)
            await asyncio.sleep(0.15)
    assert (len(shedder.slow), len(shedder.fast)) == (1, 2)


async def test_a_shutdown_closes_a_connection_that_was_only_refused() -> None:
    shedder = Shedder()
    async with serving(shedder, timeout_keep_alive=600) as server, connection(server) as client:
        await client.ask(head("GET /a"))
        server.should_exit = True
        assert await client.end() == b""
    assert len(shedder.fast) == 1


async def test_refusals_count_for_limit_max_requests() -> None:
    shedder = Shedder()
    async with serving(shedder, limit_max_requests=3) as server, connection(server) as client:
        for _ in range(3):
            await client.ask(head("GET /a"))
        assert await client.end() == b""
    assert server.server_state.total_requests == len(shedder.fast) == 3


async def test_uvicorns_limit_concurrency_comes_first() -> None:
    async with both_ways(limit_concurrency=1) as ask:
        fast, _, answer = await ask(head("GET /a"))

    assert b"connection: close" in answer
    assert fast.fast == fast.slow == []


async def test_the_access_log_has_the_same_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="uvicorn.access")

    async with both_ways(access_log=True) as ask:
        await ask(head("GET /caf%C3%A9?b=c"))

    logged = [each.getMessage() for each in caplog.records if each.name == "uvicorn.access"]
    first, second = (re.sub(r":\d+ ", " ", line) for line in logged)
    assert first == second == '127.0.0.1 - "GET /caf%C3%A9?b=c HTTP/1.1" 503'
