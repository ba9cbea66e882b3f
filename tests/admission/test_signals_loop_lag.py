"""`LoopLag` in real event loops, really blocked."""

from __future__ import annotations

import asyncio
import importlib
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from launchday.admission.signals import LoopLag
from launchday.admission.signals.watchdog import Watchdog

DEADLINE_SECONDS = 20.0
FACTORIES: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": lambda: importlib.import_module("uvloop").new_event_loop(),
}


@pytest.fixture(params=FACTORIES)
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    if request.param == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not made for this system")
    loop = FACTORIES[request.param]()
    yield loop
    loop.close()


@pytest.fixture
def stalls() -> list[tuple[str, float, float]]:
    """What the watchdog said: stack, seconds, and when it said so."""
    return []


@pytest.fixture
def lag(stalls: list[tuple[str, float, float]]) -> Iterator[LoopLag]:
    def note(stack: str, seconds: float) -> None:
        stalls.append((stack, seconds, time.monotonic()))

    lag = LoopLag(watchdog_seconds=0.1, on_stall=note)
    yield lag
    lag.stop()


def watchdogs() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "launchday-loop-watchdog"]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def a_blocking_call(seconds: float) -> float:
    time.sleep(seconds)
    return time.monotonic()


def test_s18_a_blocked_loop_is_reported_once_with_its_stack_while_it_is_blocked(
    loop: asyncio.AbstractEventLoop, lag: LoopLag, stalls: list[tuple[str, float, float]]
) -> None:
    async def main() -> float:
        lag.start(loop)
        await asyncio.sleep(0.1)
        ended_at = a_blocking_call(0.6)
        await asyncio.sleep(0.1)
        return ended_at

    ended_at = loop.run_until_complete(main())
    [(stack, seconds, reported_at)] = stalls
    assert "a_blocking_call" in stack
    assert "_watch" not in stack
    assert seconds >= 0.1
    assert reported_at < ended_at
    assert lag.stalls == 1
    assert lag.longest_seconds >= 0.5
    assert lag.lag_seconds > 0


async def test_each_stall_is_reported_even_when_the_last_report_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen = []

    def fail(stack: str, seconds: float) -> None:
        seen.append(stack)
        raise LookupError("nobody listens")

    lag = LoopLag(watchdog_seconds=0.1, on_stall=fail)
    lag.start(asyncio.get_running_loop())
    for _ in range(2):
        await asyncio.sleep(0.1)
        a_blocking_call(0.6)
    await asyncio.sleep(0.1)
    lag.stop()
    assert len(seen) == lag.stalls == 2
    assert [r.exc_info is not None for r in caplog.records] == [True, True]


async def test_by_default_a_stall_is_a_warning_with_the_stack(
    caplog: pytest.LogCaptureFixture, until: Callable[[Callable[[], bool]], Awaitable[None]]
) -> None:
    lag = LoopLag(watchdog_seconds=0.1)
    lag.start(asyncio.get_running_loop())
    await asyncio.sleep(0.1)
    a_blocking_call(0.6)
    await until(lambda: lag.stalls == 1)
    lag.stop()
    [record] = caplog.records
    assert (record.name, record.levelno) == ("launchday.admission", logging.WARNING)
    assert "a_blocking_call" in record.getMessage()


async def burst(lag: LoopLag, requests: int, seconds: float, criticality: int = 3) -> list[bool]:
    """Requests that are all there at once, each of which computes for `seconds`."""

    async def request() -> bool:
        if lag.refuses(criticality, time.monotonic()):
            return False
        a_blocking_call(seconds)
        return True

    return list(await asyncio.gather(*(request() for _ in range(requests))))


def test_what_an_iteration_cannot_serve_in_time_is_refused_and_the_next_is_admitted(
    loop: asyncio.AbstractEventLoop, lag: LoopLag
) -> None:
    async def main() -> tuple[list[bool], list[bool]]:
        lag.start(loop)
        await asyncio.sleep(0.1)
        first = await burst(lag, 200, 0.005)
        await asyncio.sleep(0.05)
        return first, await burst(lag, 1, 0.005)

    first, second = loop.run_until_complete(main())
    admitted = sum(first)
    # 70 ms of 5 ms each, had the machine nothing else to do.
    assert 1 <= admitted <= 15
    assert first == [True] * admitted + [False] * (200 - admitted)
    assert second == [True]


def test_the_least_critical_are_refused_first(
    loop: asyncio.AbstractEventLoop, lag: LoopLag
) -> None:
    async def main() -> list[int]:
        lag.start(loop)
        admitted = []
        for criticality in (0, 3):
            await asyncio.sleep(0.1)
            admitted.append(sum(await burst(lag, 100, 0.005, criticality)))
        return admitted

    admitted = loop.run_until_complete(main())
    assert admitted[0] > admitted[1]


def test_requests_of_a_loop_that_did_not_run_for_a_while_are_admitted(
    loop: asyncio.AbstractEventLoop, lag: LoopLag, stalls: list[tuple[str, float, float]]
) -> None:
    async def begin() -> None:
        lag.start(loop)
        await asyncio.sleep(0.1)

    loop.run_until_complete(begin())
    time.sleep(0.5)
    assert loop.run_until_complete(burst(lag, 3, 0.0)) == [True, True, True]
    assert stalls == []


def test_a_loop_that_others_keep_late_still_admits_some_of_each_iteration(
    loop: asyncio.AbstractEventLoop, lag: LoopLag
) -> None:
    async def main() -> list[list[bool]]:
        lag.start(loop)
        bursts = []
        for _ in range(3):
            a_blocking_call(0.2)
            bursts.append(await burst(lag, 50, 0.005))
        return bursts

    bursts = loop.run_until_complete(main())
    assert all(any(admitted) for admitted in bursts)
    assert not all(all(admitted) for admitted in bursts)


def test_stop_ends_ticker_and_watchdog_and_both_calls_may_be_repeated(
    loop: asyncio.AbstractEventLoop, lag: LoopLag
) -> None:
    async def main() -> None:
        before = watchdogs()
        lag.start(loop)
        lag.start(loop)
        [thread] = [thread for thread in watchdogs() if thread not in before]
        a_blocking_call(0.3)
        assert lag.overdue_seconds(time.monotonic()) > 0
        lag.stop()
        lag.stop()
        assert lag.overdue_seconds(time.monotonic()) == 0.0
        assert not lag.refuses(3, time.monotonic() + 10)
        wait_until(lambda: not thread.is_alive())
        lag.start(loop)
        await asyncio.sleep(0.1)
        a_blocking_call(0.3)
        assert lag.overdue_seconds(time.monotonic()) > 0

    loop.run_until_complete(main())


def test_a_loop_closed_without_stop_ends_the_watchdog_and_refuses_nothing(
    lag: LoopLag,
) -> None:
    before = watchdogs()

    async def begin() -> None:
        lag.start(asyncio.get_running_loop())

    with asyncio.Runner() as runner:
        runner.run(begin())
        [thread] = [t for t in watchdogs() if t not in before]
    later = time.monotonic() + 5
    assert [lag.refuses(3, later + i) for i in range(3)] == [False, False, False]
    wait_until(lambda: not thread.is_alive())

    async def again() -> float:
        lag.start(asyncio.get_running_loop())
        return lag.overdue_seconds(time.monotonic())

    assert asyncio.run(again()) == 0.0


def test_a_closed_loop_cannot_be_watched(lag: LoopLag) -> None:
    closed = asyncio.SelectorEventLoop()
    closed.close()
    with pytest.raises(RuntimeError, match="closed"):
        lag.start(closed)
    assert not lag.refuses(3, time.monotonic() + 10)


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_watchdog_does_not_keep_the_process_alive() -> None:
    done = run_script(
        "import asyncio\n"
        "from launchday.admission.signals import LoopLag\n"
        "loop = asyncio.new_event_loop()\n"
        "async def main(): LoopLag().start(loop)\n"
        "loop.run_until_complete(main())\n"
        "print('end', end='')\n"
    )
    assert (done.returncode, done.stdout) == (0, "end"), done.stderr


def test_a_forked_child_is_not_refused_and_can_start_and_stop_anew() -> None:
    done = run_script(
        "import asyncio, os, time\n"
        "from launchday.admission.signals import LoopLag\n"
        "lag = LoopLag()\n"
        "async def main(): lag.start(asyncio.get_running_loop())\n"
        "parent = asyncio.new_event_loop()\n"
        "parent.run_until_complete(main())\n"
        "pid = os.fork()\n"
        "if pid:\n"
        "    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "late = time.monotonic() + 9\n"
        "refused = [lag.refuses(3, late + i) for i in range(3)]\n"
        "async def child():\n"
        "    lag.start(asyncio.get_running_loop())\n"
        "    await asyncio.sleep(0.1)\n"
        "    before = lag.overdue_seconds(time.monotonic()) < 9\n"
        "    time.sleep(0.3)\n"
        "    during = lag.overdue_seconds(time.monotonic()) > 0.1\n"
        "    lag.stop()\n"
        "    return before, during\n"
        "print(refused, asyncio.new_event_loop().run_until_complete(child()), flush=True)\n"
        "os._exit(0)\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[False, False, False] (True, True)\n", done.stderr


async def test_a_watchdog_without_a_beat_reports_nothing() -> None:
    seen: list[str] = []
    watchdog = Watchdog(
        asyncio.get_running_loop(),
        seconds=0.01,
        clock=time.monotonic,
        on_stall=lambda stack, _: seen.append(stack),
    )
    watchdog.start()
    a_blocking_call(0.3)
    assert seen == []
    watchdog.beat(time.monotonic())
    a_blocking_call(0.3)
    watchdog.stop()
    assert len(seen) == 1
