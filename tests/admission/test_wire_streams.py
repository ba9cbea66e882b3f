"""S20 and S21 on the wire: what stays open for long takes no slot of the short, and leaks none."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from tests.admission.flood import (
    Ask,
    Crowd,
    Shed,
    Slots,
    goodput_rps,
    served_in_a_thread,
    share,
    statuses,
)

STREAMS = 60
LARGE = 16 * 2**20


class WithStreams(Slots):
    """`/events` goes on until its client leaves, `/large` is more than sockets hold."""

    def __init__(self, count: int, seconds: float) -> None:
        super().__init__(count, seconds)
        self.open = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await self.echo(receive, send)
            return
        self.open += 1
        try:
            if scope["path"] in ("/events", "/large"):
                await self.stream(scope["path"], receive, send)
            else:
                await super().__call__(scope, receive, send)
        finally:
            self.open -= 1

    async def stream(self, path: str, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if path == "/large":
            await send({"type": "http.response.body", "body": bytes(LARGE), "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await receive()
        while (await receive())["type"] != "http.disconnect":
            pass

    async def echo(self, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})


async def test_s20_streams_move_to_their_pool_and_leave_the_slots_to_the_short(
    serve: Any, connect: Any, until: Any
) -> None:
    app = WithStreams(10, 0.1)
    shed = Shed(app, pool=10, stream_after_seconds=0.1, loop_lag=False)
    async with serve(shed.app) as port, Crowd(port) as crowd:
        listeners: list[Any] = []
        while len(listeners) < STREAMS:
            for _ in range(10):
                listeners.append(await connect(port))
                listeners[-1].send("GET /events")
            await until(lambda: shed.app.streams.open == len(listeners))
        assert [shed.limiter.inflight, app.open] == [0, STREAMS]
        assert shed.value("shed_long_lived", kind="stream") == STREAMS
        flood = asyncio.create_task(crowd.flood(200, 1.5))
        scrapes = []
        while not flood.done():
            scrapes.append((shed.inflight(), app.open))
            await asyncio.sleep(0.01)
        answers = await flood
        assert all(counted == opened for counted, opened in scrapes)
        assert len({opened for _, opened in scrapes}) > 3
        full_at = answers[0].due_at + 0.4
        # If the streams kept their slots it would be 0: there are more of them than slots.
        assert goodput_rps(answers, full_at, full_at + 1) >= 0.5 * app.capacity_rps
        for listener in listeners:
            listener.close()
        await until(lambda: app.open == shed.app.streams.open == 0)
    shed.assert_nothing_is_left(len(answers) + STREAMS)


async def test_s20_a_slow_reader_is_open_until_its_last_byte_but_takes_no_slot(
    serve: Any, connect: Any, until: Any
) -> None:
    app = WithStreams(10, 0.01)
    shed = Shed(app, limit=2, stream_after_seconds=0.1)
    async with serve(shed.app) as port, Crowd(port) as crowd:
        slow = [await connect(port) for _ in range(2)]
        for reader in slow:
            reader.send("GET /large")
            await reader.reader.readuntil(b"\r\n\r\n")
        await until(lambda: shed.app.streams.open == 2)
        assert (shed.limiter.inflight, shed.inflight(), app.open) == (0, 2, 2)
        assert (await crowd.ask(Ask())).status == 200
        while len(await slow[0].reader.read(2**20)) and shed.app.streams.open == 2:
            pass
        slow[1].close()
        await until(lambda: app.open == shed.app.streams.open == 0)
    shed.assert_nothing_is_left(3)


async def test_s21_a_websocket_storm_is_denied_and_disturbs_nobody(until: Any) -> None:
    app = WithStreams(10, 0.05)
    shed = Shed(app, pool=10, websockets=4)
    with served_in_a_thread(shed.app) as port:
        async with Crowd(port) as crowd:
            accepted = [await shake_hands(port) for _ in range(4)]
            assert [status for status, _, _ in accepted] == [101] * 4
            flood = asyncio.create_task(crowd.flood(100, 1))
            storm = await asyncio.gather(*(shake_hands(port) for _ in range(20)))
            answers = await flood
            for status, headers, (reader, _) in storm:
                assert (status, headers["retry-after"].isdigit()) == (503, True)
                assert json.loads(await reader.read())["reason"] == "limit"
            for _, _, connection in accepted:
                assert await echoed(connection, b"still here") == b"still here"
            assert share(answers) == 1.0, "what is open for long takes no slot"
            assert statuses(answers).total() == len(answers)
        assert shed.value("shed_long_lived", kind="websocket") == 4
        assert shed.value("shed_websocket_rejections_total", reason="limit") == 20
        for _, _, (_, writer) in [*accepted, *storm]:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await until(lambda: shed.app.websockets.open == 0)
    shed.assert_nothing_is_left(len(answers))


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def shake_hands(port: int) -> tuple[int, dict[str, str], Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET /ws HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with asyncio.timeout(20):
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    return int(lines[0].split()[1]), headers, (reader, writer)


async def echoed(connection: Connection, text: bytes) -> bytes:
    reader, writer = connection
    # A mask of zeros leaves the text as it is.
    writer.write(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
    async with asyncio.timeout(20):
        _, length = await reader.readexactly(2)
        return await reader.readexactly(length)
