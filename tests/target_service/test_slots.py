"""The known capacity: service times have their mean and spread, slots are never exceeded."""

from __future__ import annotations

import asyncio
import statistics

import pytest

from target_service.slots import SlotPool, lognormal_service_times


@pytest.mark.parametrize(("mean_seconds", "cv"), [(0.05, 0.5), (0.2, 1.0), (0.05, 0.0)])
def test_service_times_have_the_mean_and_spread_they_are_given(
    mean_seconds: float, cv: float
) -> None:
    draw = lognormal_service_times(mean_seconds, cv, seed=1)
    times = [draw() for _ in range(50_000)]
    assert statistics.fmean(times) == pytest.approx(mean_seconds, rel=0.03)
    assert statistics.pstdev(times) == pytest.approx(cv * mean_seconds, rel=0.08, abs=1e-9)


def test_the_same_seed_draws_the_same_times() -> None:
    one, two = (lognormal_service_times(0.05, 0.5, seed=7) for _ in range(2))
    assert [one() for _ in range(20)] == [two() for _ in range(20)]


async def test_slots_are_never_exceeded_and_served_in_order() -> None:
    pool = SlotPool(2, lambda: 0.001)
    order: list[int] = []
    peak = 0

    async def work(number: int) -> None:
        nonlocal peak
        async with pool.slot():
            order.append(number)
            peak = max(peak, pool.busy)

    await asyncio.gather(*[work(number) for number in range(20)])
    assert order == list(range(20))
    assert (peak, pool.busy, pool.waiting) == (2, 0, 0)


async def test_real_work_is_part_of_the_service_time() -> None:
    pool = SlotPool(1, lambda: 0.2)
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    async with pool.slot():
        await asyncio.sleep(0.15)
        worked_until = loop.time()
    assert loop.time() - started_at >= 0.199
    assert loop.time() - worked_until < worked_until - started_at


async def test_a_failure_and_a_cancellation_give_the_slot_back() -> None:
    pool = SlotPool(1, lambda: 30.0)

    async def crash() -> None:
        async with pool.slot():
            raise ZeroDivisionError

    async def work() -> None:
        async with pool.slot():
            pass

    with pytest.raises(ZeroDivisionError):
        await crash()
    working, waiting = asyncio.create_task(work()), asyncio.create_task(work())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (pool.busy, pool.waiting) == (1, 1)
    working.cancel()
    waiting.cancel()
    await asyncio.wait({working, waiting})
    assert (pool.busy, pool.waiting) == (0, 0)
