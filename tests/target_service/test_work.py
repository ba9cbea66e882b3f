"""The known capacity: what a request costs is what the settings say, and slots are kept."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from typing import Any

import pytest

from target_service.routes import ROUTES
from target_service.settings import TargetSettings
from target_service.work import BusyTime, Work, bimodal, burn, lognormal

DRAWS = 50_000


def work(**settings: Any) -> Work:
    return Work(TargetSettings.model_validate(settings))


@pytest.mark.parametrize(("mean_seconds", "cv"), [(0.05, 0.5), (0.2, 1.0), (0.05, 0.0)])
def test_service_times_have_the_mean_and_spread_they_are_given(
    mean_seconds: float, cv: float
) -> None:
    seeded = random.Random(1)
    times = [lognormal(mean_seconds, cv)(seeded) for _ in range(DRAWS)]
    assert statistics.fmean(times) == pytest.approx(mean_seconds, rel=0.03)
    assert statistics.pstdev(times) == pytest.approx(cv * mean_seconds, rel=0.08, abs=1e-9)


def test_bimodal_times_keep_the_mean_and_one_in_ten_is_far_longer() -> None:
    seeded = random.Random(1)
    times = [bimodal(0.05, 0.0)(seeded) for _ in range(DRAWS)]
    assert statistics.fmean(times) == pytest.approx(0.05, rel=0.03)
    assert {round(seconds, 6) for seconds in times} == {0.02, 0.32}
    assert sum(seconds > 0.1 for seconds in times) / DRAWS == pytest.approx(0.1, rel=0.1)


def test_capacity_is_slots_over_mean_service_time() -> None:
    assert work(slots=20, service_mean_seconds=0.05).capacity_rps == pytest.approx(400)
    assert work(slots=20, service_mean_seconds=0.05, profile="bimodal").capacity_rps == 400
    # One process has one core to burn, however many slots.
    assert work(slots=20, service_mean_seconds=0.005, profile="cpu_bound").capacity_rps == 200
    assert work(slots=20, service_mean_seconds=0.05, cpu_seconds=0.01).capacity_rps == 100


def test_capacity_of_a_mix_weighs_the_routes() -> None:
    costs = {"state": 0.01, "reserve": 0.1}
    of = work(slots=10, service_mean_seconds_by_route=costs).capacity_of_mix
    assert of({"state": 1}) == pytest.approx(1000)
    assert of({"reserve": 1}) == pytest.approx(100)
    assert of({"state": 1, "reserve": 1}) == pytest.approx(10 / 0.055)
    assert of({"state": 2, "reserve": 2}) == pytest.approx(10 / 0.055)


@pytest.mark.parametrize("mix", [{"nothing": 1.0}, {}, {"state": 0.0}, {"state": -1.0}])
def test_a_mix_that_says_nothing_is_refused(mix: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="routes are: sign_in, "):
        work().capacity_of_mix(mix)


@pytest.mark.parametrize("profile", ["io_bound", "bimodal"])
async def test_requests_of_a_mix_take_the_slot_time_that_the_capacity_says(profile: str) -> None:
    """Work conserved: n requests on one slot last n / capacity, or longer on a busy machine."""
    costs = {"state": 0.002, "reserve": 0.006}
    served = work(
        slots=1, service_cv=0.0, seed=3, profile=profile, service_mean_seconds_by_route=costs
    )
    started_at = time.monotonic()

    async def request(route: str) -> None:
        async with served.slot(route):
            pass

    routes = ["state", "reserve"] * 40
    await asyncio.gather(*[request(route) for route in routes])
    seconds = len(routes) / served.capacity_of_mix({"state": 1, "reserve": 1})
    # 80 draws of a bimodal time stray by a quarter from their mean.
    assert time.monotonic() - started_at > 0.6 * seconds


async def test_cpu_bound_work_burns_its_service_time() -> None:
    served = work(slots=4, service_mean_seconds=0.005, service_cv=0.0, profile="cpu_bound")
    before = time.thread_time()
    async with served.slot("state"):
        pass
    assert time.thread_time() - before >= 0.005


def test_burning_uses_the_cpu_time_that_is_asked_for() -> None:
    before = time.thread_time()
    burn(0.02)
    assert time.thread_time() - before >= 0.02


async def test_slots_are_never_exceeded_and_served_in_order() -> None:
    served = work(slots=2, service_mean_seconds=0.001, service_cv=0.0)
    order: list[int] = []
    peak = 0

    async def request(number: int) -> None:
        nonlocal peak
        async with served.slot("state"):
            order.append(number)
            peak = max(peak, served.busy)

    await asyncio.gather(*[request(number) for number in range(20)])
    assert order == list(range(20))
    assert (peak, served.busy, served.waiting) == (2, 0, 0)


async def test_real_work_is_part_of_the_service_time() -> None:
    served = work(slots=1, service_mean_seconds=0.2, service_cv=0.0)
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    async with served.slot("state"):
        await asyncio.sleep(0.15)
        worked_until = loop.time()
    assert loop.time() - started_at >= 0.199
    assert loop.time() - worked_until < worked_until - started_at


async def test_a_failure_and_a_cancellation_give_the_slot_back() -> None:
    served = work(slots=1, service_mean_seconds=30.0, service_cv=0.0)

    async def crash() -> None:
        async with served.slot("state"):
            raise ZeroDivisionError

    async def request() -> None:
        async with served.slot("state"):
            pass

    with pytest.raises(ZeroDivisionError):
        await crash()
    working, waiting = asyncio.create_task(request()), asyncio.create_task(request())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (served.busy, served.waiting) == (1, 1)
    working.cancel()
    waiting.cancel()
    await asyncio.wait({working, waiting})
    assert (served.busy, served.waiting) == (0, 0)


def test_busy_seconds_are_exact_also_between_changes() -> None:
    now = 100.0
    held = BusyTime(lambda: now)
    held.change(1)
    now = 102.0
    assert held.seconds == 2.0
    held.change(1)
    now = 103.0
    held.change(-1)
    now = 105.5
    assert held.seconds == 2.0 + 2 * 1.0 + 2.5
    held.change(-1)
    now = 200.0
    assert (held.busy, held.seconds) == (0, 6.5)


async def test_busy_seconds_count_what_is_still_busy_and_what_was_cancelled() -> None:
    served = work(slots=1, service_mean_seconds=30.0, service_cv=0.0)

    async def request() -> None:
        async with served.slot("state"):
            pass

    task = asyncio.create_task(request())
    await asyncio.sleep(0.05)
    under_way = served.busy_seconds
    assert under_way >= 0.04
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.wait({task})
    ended = served.busy_seconds
    assert ended >= under_way + 0.01
    await asyncio.sleep(0.02)
    assert served.busy_seconds == ended


def test_every_working_route_has_a_cost() -> None:
    served = work(profile="cpu_bound")
    assert set(served.service_seconds) == set(served.cpu_seconds) == set(ROUTES)
