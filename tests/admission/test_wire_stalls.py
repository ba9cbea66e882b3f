"""S18 and S19 on the wire: a loop that is blocked, and threads that are all taken."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import anyio.to_thread
import pytest
from fastapi import FastAPI

from launchday.admission import LoopLag, ThreadPool
from tests.admission.flood import (
    Answered,
    Ask,
    Crowd,
    Shed,
    Slots,
    between,
    goodput_rps,
    percentile,
    served_in_a_thread,
    share,
    statuses,
)

pytestmark = [pytest.mark.slow, pytest.mark.alone]

STALL_SECONDS = 0.3
THREADS = 8
HELD_SECONDS = 0.1


class Stalling(Slots):
    """`/stall` blocks the event loop."""

    async def work(self, path: str) -> int:
        if path == "/stall":
            time.sleep(STALL_SECONDS)  # noqa: ASYNC251  (that is the scenario)
            return 200
        return await super().work(path)


async def test_s18_a_loop_that_stalls_each_second_is_reported_at_once_and_serves_on() -> None:
    reports: list[float] = []
    lag = LoopLag(watchdog_seconds=0.1, on_stall=lambda stack, seconds: reports.append(seconds))
    app = Stalling(10, 0.01)
    shed = Shed(app, pool=10, loop_lag=lag)
    with served_in_a_thread(shed.app) as port:
        async with Crowd(port) as crowd, Crowd(port) as other:
            flood = asyncio.create_task(crowd.flood(100, 4))
            stalls = []
            for _ in range(4):
                stalls.append(await other.ask(Ask("GET /stall")))
                await asyncio.sleep(1 - STALL_SECONDS)
            answers = await flood
    assert share(stalls) == 1.0
    assert len(reports) >= 4
    assert min(reports) < STALL_SECONDS, "told while it lasted"
    assert lag.stalls >= 4
    assert statuses(answers).keys() <= {200, 503}
    assert share(answers) >= 0.9
    # Who is caught by a stall waits for its end, and then for no more than those before it.
    assert percentile(answers, 0.99) < 2 * STALL_SECONDS
    shed.assert_nothing_is_left(len(answers) + len(stalls))


def with_threads(shed_by: list[Any]) -> Shed:
    app = FastAPI()

    @app.get("/")
    def in_a_thread() -> str:
        time.sleep(HELD_SECONDS)
        return "ok"

    @app.get("/async")
    async def without_a_thread() -> str:
        await asyncio.sleep(HELD_SECONDS)
        return "ok"

    return Shed(app, limit=1000, signals=shed_by)


async def overloaded_threads(serve: Any, shed: Shed) -> tuple[list[Answered], list[Answered]]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    async with serve(shed.app) as port, Crowd(port) as crowd, Crowd(port) as other:
        free = asyncio.create_task(other.flood(40, 8, Ask("GET /async")))
        answers = await crowd.flood(3 * THREADS / HELD_SECONDS, 8)
        return answers, await free


async def test_s19_sync_handlers_keep_all_threads_busy_and_their_queue_short(serve: Any) -> None:
    shed = with_threads([ThreadPool(anyio.to_thread.current_default_thread_limiter)])
    answers, free = await overloaded_threads(serve, shed)
    assert goodput_rps(answers, 3, 8) >= 0.75 * THREADS / HELD_SECONDS
    assert statuses(answers).keys() == {200, 503}
    why = Counter(one.reason for one in answers if one.status == 503)
    # A stall of this process itself (its own garbage collection) is refused for what it is.
    assert why.keys() <= {"thread_pool", "priority", "loop_lag"}, why
    assert why["loop_lag"] <= 0.1 * why.total(), why
    assert percentile(between(answers, 3), 0.9) <= 8 * HELD_SECONDS
    assert percentile(free, 0.5) <= 1.2 * HELD_SECONDS


async def test_s19_without_the_signal_the_same_load_waits_for_seconds(serve: Any) -> None:
    answers, _ = await overloaded_threads(serve, with_threads([]))
    assert percentile(between(answers, 3), 0.5) > 30 * HELD_SECONDS
