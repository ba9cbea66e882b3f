from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

import gevent
import pytest

from launchday.load.timer import FdTimer, SleepTimer, Timer, best_timer

TIMERS = [SleepTimer, pytest.param(FdTimer, marks=pytest.mark.skipif(
    sys.platform != "linux", reason="timerfd is Linux's"
))]  # fmt: skip


@pytest.fixture(params=TIMERS)
def timer(request: pytest.FixtureRequest) -> Iterator[Timer]:
    make: Callable[[], Timer] = request.param
    made = make()
    yield made
    made.close()


def test_it_never_wakes_early_and_errors_do_not_add_up(timer: Timer) -> None:
    began = time.perf_counter()
    instants = [began + 0.002 * number for number in range(1, 101)]
    early = []
    for instant in instants:
        timer.sleep_until(instant)
        early.append(instant - time.perf_counter())
    assert max(early) <= 0
    # 100 sleeps that are each a little late, one after the other, would end later than this.
    assert sorted(-each for each in early)[50] < 0.1


def test_an_instant_in_the_past_lets_the_loop_run_once(timer: Timer) -> None:
    ran: list[int] = []
    gevent.spawn(ran.append, 1)
    timer.sleep_until(time.perf_counter() - 10.0)
    assert ran == [1]


def test_a_sleeper_that_is_killed_leaves_the_timer_usable(timer: Timer) -> None:
    sleeper = gevent.spawn(timer.sleep_until, time.perf_counter() + 60.0)
    gevent.sleep(0.01)
    sleeper.kill()
    instant = time.perf_counter() + 0.01
    timer.sleep_until(instant)
    assert time.perf_counter() >= instant


def test_waiting_costs_no_cpu_time(timer: Timer) -> None:
    used = time.process_time()
    began = time.perf_counter()
    timer.sleep_until(began + 0.5)
    assert time.process_time() - used < 0.5 * (time.perf_counter() - began)


def test_linux_gets_the_precise_one() -> None:
    made = best_timer()
    assert made.kind == ("timerfd" if sys.platform == "linux" else "gevent.sleep")
    made.close()
