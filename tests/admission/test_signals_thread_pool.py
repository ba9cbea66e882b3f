"""The pressure of a pool of threads: in a seeded simulation, and with real threads of anyio."""

from __future__ import annotations

import heapq
import math
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.admission.refusal import Refusal
from launchday.admission.signals import Signal, ThreadPool

THREADS = 40
SETTLED_SECONDS = 5.0


@dataclass
class Pool:
    """What a limiter shows; `total_tokens` makes it look like one."""

    total_tokens: Any = THREADS
    borrowed_tokens: Any = 0
    tasks_waiting: Any = 0

    def statistics(self) -> Any:
        return SimpleNamespace(**vars(self))

    def hold(self, demand: float) -> None:
        self.borrowed_tokens = min(self.total_tokens, demand)
        self.tasks_waiting = max(0, demand - self.total_tokens)


@dataclass
class Result:
    """Requests served after the first 5 s, and the waits for a thread in service times."""

    served: int = 0
    refused: int = 0
    waits: list[float] = field(default_factory=list)

    @property
    def refused_ratio(self) -> float:
        return self.refused / (self.refused + self.served)

    def wait(self, q: float) -> float:
        return sorted(self.waits)[int(q * (len(self.waits) - 1))]


class Simulation:
    """Offers `load(now)` times the rate of the pool, and refuses a share of it.

    The share follows the pressure by 0.2 a tick: as fast as the threshold of the gate moves.
    """

    def __init__(self, load: Callable[[float], float], service_seconds: float) -> None:
        self.result = Result()
        self._load = load
        self._service_seconds = service_seconds
        self._rng = random.Random(1)
        self._pool = Pool()
        self._signal = ThreadPool(self._pool)
        self._ends: list[float] = []
        self._waiting: deque[float] = deque()
        self._share = 0.0

    def run(self, seconds: float) -> Result:
        next_tick, next_arrival, now = 0.1, 0.0, 0.0
        while now < seconds:
            next_end = self._ends[0] if self._ends else math.inf
            now = min(next_arrival, next_tick, next_end)
            if now == next_tick:
                next_tick += 0.1
                self._tick(now)
            elif now == next_arrival:
                rate = self._load(now) * THREADS / self._service_seconds
                next_arrival += self._rng.expovariate(rate)
                self._arrive(now)
            else:
                self._end(now)
        return self.result

    def _tick(self, now: float) -> None:
        self._pool.hold(len(self._ends) + len(self._waiting))
        wanted = min(self._signal.pressure(now), 0.98)
        self._share = max(0.0, self._share + min(max(wanted - self._share, -0.2), 0.2))

    def _arrive(self, now: float) -> None:
        if self._rng.random() < self._share:
            self.result.refused += now > SETTLED_SECONDS
        elif len(self._ends) < THREADS:
            self._serve(now, now)
        else:
            self._waiting.append(now)

    def _serve(self, now: float, arrived_at: float) -> None:
        sigma = math.sqrt(math.log(1.25))  # lognormal, coefficient of variation 0.5
        mean = math.log(self._service_seconds) - sigma**2 / 2
        heapq.heappush(self._ends, now + self._rng.lognormvariate(mean, sigma))
        if now > SETTLED_SECONDS:
            self.result.waits.append((now - arrived_at) / self._service_seconds)

    def _end(self, now: float) -> None:
        heapq.heappop(self._ends)
        self.result.served += now > SETTLED_SECONDS
        if self._waiting:
            self._serve(now, self._waiting.popleft())


def simulate(
    load: Callable[[float], float], service_seconds: float, seconds: float = 20.0
) -> Result:
    return Simulation(load, service_seconds).run(seconds)


@pytest.mark.parametrize("service_seconds", [0.05, 0.2])
@pytest.mark.parametrize("load", [1.2, 3.0, 10.0])
def test_s19_the_pool_stays_full_and_its_queue_short(load: float, service_seconds: float) -> None:
    result = simulate(lambda now: load, service_seconds)
    rate = THREADS / service_seconds
    assert result.served >= 0.97 * rate * 15
    assert result.wait(0.5) <= 1.0
    assert result.wait(0.99) <= 2.5


def test_s19_very_short_and_very_long_services_are_kept_busy_too() -> None:
    for service_seconds, seconds in ((0.01, 20.0), (1.0, 60.0)):
        result = simulate(lambda now: 3.0, service_seconds, seconds)
        rate = THREADS / service_seconds
        assert result.served >= 0.9 * rate * (seconds - SETTLED_SECONDS)
        assert result.wait(0.5) <= 1.0


def test_s1_a_pool_that_copes_refuses_nothing() -> None:
    result = simulate(lambda now: 0.8, 0.05, 60.0)
    assert result.refused_ratio <= 0.001


def test_s3_two_seconds_after_an_overload_next_to_nothing_is_refused() -> None:
    # The overload ends two seconds before the first request that counts.
    result = simulate(lambda now: 3.0 if now < SETTLED_SECONDS - 2 else 0.7, 0.05)
    assert result.refused_ratio <= 0.01


def test_the_pressure_rises_with_those_who_wait_and_falls_with_idle_threads() -> None:
    pool = Pool()
    signal = ThreadPool(pool)

    def ask(demand: float, since: int) -> list[float]:
        pool.hold(demand)
        return [signal.pressure((since + i) / 10) for i in range(50)]

    assert isinstance(signal, Signal)
    assert signal.reason is Refusal.THREAD_POOL
    assert ask(THREADS, 0) == [0.0] * 50
    rising = ask(3 * THREADS, 50)
    assert rising == sorted(rising)
    assert rising[-1] > 0.9
    falling = ask(THREADS / 2, 100)
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == 0.0


async def test_a_real_pool_of_threads_is_read_while_it_is_too_small() -> None:
    limiter = anyio.CapacityLimiter(2)
    signal = ThreadPool(limiter)
    pressures = [signal.pressure(0.0)]
    async with anyio.create_task_group() as group:
        for _ in range(12):
            group.start_soon(lambda: anyio.to_thread.run_sync(time.sleep, 0.1, limiter=limiter))
        await anyio.sleep(0.05)
        pressures += [signal.pressure(float(second)) for second in (1, 2)]
    assert pressures[0] == 0.0
    assert 0.5 < pressures[1] < pressures[2]
    for second in (3, 4):
        pressures.append(signal.pressure(float(second)))
    assert pressures[-1] < pressures[2]


async def test_the_default_limiter_is_found_inside_the_loop() -> None:
    signal = ThreadPool(anyio.to_thread.current_default_thread_limiter)
    limiter = anyio.to_thread.current_default_thread_limiter()
    await anyio.to_thread.run_sync(time.sleep, 0)
    assert signal.pressure(0.0) == signal.pressure(1.0) == 0.0
    limiter.total_tokens = 1
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(anyio.to_thread.run_sync, time.sleep, 0.05)
        await anyio.sleep(0.02)
        assert signal.pressure(2.0) > 0.5
    assert signal.read_errors == 0


def test_outside_of_the_loop_there_is_no_default_limiter_and_no_pressure() -> None:
    signal = ThreadPool(anyio.to_thread.current_default_thread_limiter)
    assert [signal.pressure(now) for now in (0.0, 1.0, 2.0)] == [0.0, 0.0, 0.0]
    assert signal.read_errors == 2


def test_what_cannot_be_read_leaves_the_last_pressure_and_is_counted() -> None:
    pool = Pool()
    signal = ThreadPool(pool)
    pool.hold(3 * THREADS)
    before = [signal.pressure(now) for now in (0.0, 1.0)][-1]
    for broken in ("many", None, math.nan):
        pool.tasks_waiting = broken
        assert signal.pressure(2.0 + signal.read_errors) == before
    assert signal.read_errors == 3


@pytest.mark.parametrize("total", [0, -3, math.inf, math.nan])
def test_a_pool_without_threads_or_without_a_bound_does_not_divide_by_it(total: float) -> None:
    pool = Pool(total_tokens=total, tasks_waiting=7)
    signal = ThreadPool(pool)
    pressures = [signal.pressure(float(second)) for second in range(5)]
    assert pressures == sorted(pressures)
    assert (pressures[-1] > 0.9) is not math.isinf(total)


def test_a_clock_that_stands_or_jumps_changes_nothing_by_itself() -> None:
    pool = Pool()
    pool.hold(2 * THREADS)
    signal = ThreadPool(pool)
    first = [signal.pressure(now) for now in (10.0, 10.1)][-1]
    assert [signal.pressure(now) for now in (10.1, 3.0, math.nan, 2.0)] == [first] * 4
    assert first < signal.pressure(1e9) <= 1.0


@given(
    st.lists(
        st.tuples(st.floats(), st.floats(), st.integers(-10, 10**9), st.integers(-10, 10**9)),
        max_size=30,
    )
)
def test_the_pressure_is_always_from_0_to_1(asked: list[tuple[float, float, int, int]]) -> None:
    pool = Pool()
    signal = ThreadPool(pool)
    for now, pool.total_tokens, pool.borrowed_tokens, pool.tasks_waiting in asked:
        assert 0.0 <= signal.pressure(now) <= 1.0


@pytest.mark.parametrize("limiter", [None, 40, "default", object()])
def test_what_is_no_limiter_is_refused(limiter: Any) -> None:
    with pytest.raises(ValueError, match="limiter must be"):
        ThreadPool(limiter)
