"""S22 through the whole middleware: refused uploads, and what is read of them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launchday.admission import QueueRules
from tests.admission.flood import Shed, answer
from tests.admission.test_uploads import CLIENTS, KIB, LARGE, MIB, curl

SIZES = [64 * KIB, MIB, LARGE, None]


class Full:
    """A service with one slot, which somebody holds as long as the test runs."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.handled = 0
        self.running = 0
        # The machine is busy with the uploads themselves: that is not what refuses here.
        self.shed = Shed(self.app, limit=1, queue=QueueRules(length=0), loop_lag=False)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.handled += 1
        await self.opened.wait()
        await answer(send, 200)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The whole service: what it reads of a refused body counts only when it has ended."""
        self.running += 1
        try:
            await self.shed.app(scope, receive, send)
        finally:
            self.running -= 1

    async def hold(self, holder: Any) -> None:
        holder.send("GET /")
        async with asyncio.timeout(20):
            while not self.handled:  # noqa: ASYNC110  (what is waited for knows no events)
                await asyncio.sleep(0.005)

    async def end(self, holder: Any, refused: int) -> None:
        """Let the holder go: the slot was its own all the time."""
        self.opened.set()
        assert (await holder.answer())[0] == 200
        assert self.handled == 1
        assert self.shed.outcomes()["rejected"] == refused
        self.shed.assert_nothing_is_left(1 + refused)


@pytest.mark.parametrize("ask", CLIENTS)
async def test_s22_every_client_sees_its_503_and_little_is_read(
    serve: Any, connect: Any, until: Any, ask: Callable[..., int]
) -> None:
    full = Full()
    async with serve(full) as port:
        holder = await connect(port)
        await full.hold(holder)
        statuses = [await asyncio.to_thread(ask, port, size) for size in SIZES]
        assert statuses == [503] * len(SIZES)
        await until(lambda: full.running == 1)  # the holder
        discarded = full.shed.value("shed_body_bytes_discarded_total")
        # Whole chunks of the server: each of the two large ones may exceed the plan by one.
        assert 64 * KIB + MIB <= discarded <= 64 * KIB + MIB + 2 * MIB
        await full.end(holder, len(SIZES))


async def test_s22_curl_sees_its_503_and_one_that_expects_100_sends_nothing(
    serve: Any, connect: Any, until: Any, tmp_path: Path
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    file = tmp_path / "large"
    file.write_bytes(b"x" * LARGE)
    full = Full()
    async with serve(full) as port:
        holder = await connect(port)
        await full.hold(holder)
        plain = [await curl(port, file, "-H", "expect:") for _ in range(3)]
        assert [line.split()[0] for line in plain] == ["503"] * 3
        assert all(int(line.split()[1]) < LARGE for line in plain)
        await until(lambda: full.running == 1)  # the holder
        before = full.shed.value("shed_body_bytes_discarded_total")
        assert await curl(port, file, "-H", "expect: 100-continue") == "503 0"
        await until(lambda: full.running == 1)
        assert full.shed.value("shed_body_bytes_discarded_total") == before
        await full.end(holder, 4)
