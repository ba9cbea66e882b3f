"""The generator of the live ladder against servers that answer, hang, hang up and refuse."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from benchmarks._ladder_load import ClosedLoop, End, OpenLoop
from benchmarks._ladder_measures import FELL_BEHIND, Trace, why_void

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SHED = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ntransfer-encoding: chunked\r\n"
    b"connection: close\r\n\r\n2\r\nno\r\n0\r\n\r\n"
)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(closing, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)


async def shed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(SHED)


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def test_sequential_requests_share_one_connection() -> None:
    async with serving(answer) as port:
        load = OpenLoop(port, [0.0, 0.3, 0.6], patience_seconds=20)
        await load.run(prepared=0)
    assert load.statuses == [200, 200, 200]
    assert load.opened == 1
    assert all(b >= a for a, b in zip(load.arrivals, load.begun, strict=True))
    assert all(0 < seconds < 20 for seconds in load.seconds)


async def test_connections_are_opened_before_the_first_request() -> None:
    async with serving(answer) as port:
        load = OpenLoop(port, [0.0] * 7, patience_seconds=20)
        await load.run(prepared=5)
    assert load.statuses == [200] * 7
    assert 5 <= load.opened <= 7


async def test_latency_counts_from_the_intended_time_and_a_late_generator_voids_the_row() -> None:
    async with serving(answer) as port:
        load = OpenLoop(port, [0.0, 0.05, 0.1], patience_seconds=20)
        asyncio.get_running_loop().call_later(0.02, time.sleep, 0.3)
        await load.run(prepared=0)
    assert load.statuses == [200, 200, 200]
    assert load.begun[1] >= 0.3
    assert load.seconds[1] >= 0.25
    assert why_void(recording(load)) == FELL_BEHIND


def recording(load: OpenLoop) -> Trace:
    return Trace(load.arrivals, load.begun, load.seconds, load.statuses, 0, 0, 0.0)


async def test_who_is_not_answered_in_time_gives_up_with_his_connection() -> None:
    async with serving(hang) as port:
        load = OpenLoop(port, [0.0, 0.01, 0.02], patience_seconds=0.2)
        await load.run(prepared=1)
    assert load.statuses == [End.TIMED_OUT] * 3
    assert load.seconds == [0.2] * 3
    assert load.opened == 3


async def test_a_connection_that_breaks_is_an_error() -> None:
    async with serving(hang_up) as port:
        load = OpenLoop(port, [0.0, 0.2], patience_seconds=20)
        await load.run(prepared=0)
    assert load.statuses == [End.LOST] * 2


async def test_a_port_where_nobody_listens_is_an_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        load = OpenLoop(unused.getsockname()[1], [0.0], patience_seconds=20)
        await load.run(prepared=3)
    assert load.statuses == [End.LOST]


async def test_a_refusal_that_closes_is_no_error_and_the_next_opens_another_connection() -> None:
    async with serving(shed) as port:
        load = OpenLoop(port, [0.0, 0.2], patience_seconds=20)
        await load.run(prepared=0)
    assert load.statuses == [503, 503]
    assert load.opened == 2
    assert load.bare_refusals == 0


async def test_refusals_without_retry_after_are_counted() -> None:
    async def bare(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SHED.replace(b"retry-after", b"x-else"))

    async with serving(bare) as port:
        load = OpenLoop(port, [0.0, 0.1], patience_seconds=20)
        await load.run(prepared=0)
        await asyncio.sleep(0.1)
    assert load.bare_refusals == 2


async def test_a_closed_loop_asks_as_often_as_it_was_told() -> None:
    asked = 0

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while True:
            await reader.readuntil(b"\r\n\r\n")
            asked += 1
            writer.write(OK)

    async with serving(counting) as port:
        load = ClosedLoop(port, connections=4, requests=50)
        await load.run()
    assert load.statuses == [200] * 50
    assert asked == 50
    assert load.answered_at == sorted(load.answered_at)


async def test_a_closed_loop_goes_on_when_refusals_close_its_connections() -> None:
    async with serving(shed) as port:
        load = ClosedLoop(port, connections=4, requests=20)
        await load.run()
    assert load.statuses == [503] * 20
