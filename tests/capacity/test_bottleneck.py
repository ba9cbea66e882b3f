from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.capacity.bottleneck import name_bottleneck
from launchday.capacity.loads import measure
from launchday.capacity.results import Bottleneck, Estimate, Found
from launchday.capacity.steps import Objective, Step
from launchday.record import read_record
from tests.capacity.staircase import RATES, plateau, served_by, staircase, write_steps

POINTS = staircase(RATES, 20)


def found(crossing_rps: float | None = None, refused: str | None = None) -> Found:
    crossing = Estimate(crossing_rps, None, None, 6, "test") if crossing_rps else None
    return Found(crossing, None, "", "", (), 50.0, 300.0, refused)


def of_plateau(
    path: Path, most_rps: int, demands: Mapping[str, float], gauges: Mapping[str, float]
) -> Bottleneck:
    """A target that serves `most_rps`; `demands` are seconds by counter and request served."""
    served = served_by(POINTS, most_rps)

    def metrics(second: int) -> Mapping[str, float]:
        return {name: d * served(second) for name, d in demands.items()} | dict(gauges)

    record = read_record(write_steps(path, plateau(most_rps), points=POINTS, metrics=metrics))
    steps = measure([record], Objective()).steps
    return name_bottleneck(steps, found(float(most_rps)))


CPU = "process_cpu_seconds_total"
SLOTS = "car_slots_busy_seconds_total"
SHED = 'shed_service_seconds_sum{class="critical"}'
DATABASE = 'car_dependency_seconds_%s{dependency="database",outcome="ok"}'


def test_the_cpu_is_named_with_its_demand_and_what_comes_next(tmp_path: Path) -> None:
    said = of_plateau(tmp_path / "run", 200, {CPU: 0.005, SLOTS: 0.05}, {"car_slots": 20.0})
    assert said.resource == "CPU"
    assert said.second == "worker slots"
    cpu, slots = said.demands[:2]
    assert cpu.seconds.value == pytest.approx(0.005, rel=0.01)
    assert cpu.saturates_rps.value == pytest.approx(200, rel=0.01)
    assert slots.saturates_rps.value == pytest.approx(400, rel=0.01)
    assert slots.units == 20
    assert said.sentence.startswith("CPU is the bottleneck (5 ms of CPU per request: full at 200")
    assert "next worker slots, at 400" in said.sentence


def test_rates_above_a_thousand_are_written_out(tmp_path: Path) -> None:
    said = of_plateau(tmp_path / "run", 200, {CPU: 0.005, SLOTS: 0.001}, {"car_slots": 20.0})
    assert "next worker slots, at 20,000 requests/s" in said.sentence


def test_a_pool_is_named(tmp_path: Path) -> None:
    demands = {CPU: 0.001, "orders_pool_busy_seconds_total": 0.02}
    said = of_plateau(tmp_path / "run", 150, demands, {"orders_pool": 3.0})
    assert said.resource == "orders pool"
    assert said.demands[0].saturates_rps.value == pytest.approx(150, rel=0.01)


def test_who_waits_for_a_worker_slot_does_not_make_the_admission_slots_the_cause(
    tmp_path: Path,
) -> None:
    demands = {SLOTS: 0.05, SHED: 0.075}
    gauges = {"car_slots": 10.0, "shed_limit": 14.0}
    said = of_plateau(tmp_path / "run", 190, demands, gauges)
    assert (said.resource, said.second) == ("worker slots", "admission slots")


def test_admission_slots_that_are_the_narrowest_by_far_are_named(tmp_path: Path) -> None:
    demands = {SLOTS: 0.05, SHED: 0.05}
    said = of_plateau(tmp_path / "run", 100, demands, {"car_slots": 20.0, "shed_limit": 5.0})
    assert said.resource == "admission slots"


def test_a_lock_is_no_measured_resource_and_it_is_said_so(tmp_path: Path) -> None:
    said = of_plateau(tmp_path / "run", 100, {CPU: 0.002, SLOTS: 0.03}, {"car_slots": 20.0})
    assert said.resource == ""
    assert said.second == "CPU"
    assert "The target gives out at 100 requests/s, 20% of what CPU allows" in said.sentence
    assert "a lock, a queue, a pool or something downstream" in said.sentence


def test_without_metrics_nobody_can_say_why(tmp_path: Path) -> None:
    served = plateau(100)
    steps = measure([read_record(write_steps(tmp_path / "run", served))], Objective()).steps
    bare = [Step(**{**vars(step), "utilisation": {}, "units": {}}) for step in steps]
    said = name_bottleneck(bare, found(100.0))
    assert said.resource == ""
    assert "no resource was measured" in said.sentence
    assert name_bottleneck([], found()).resource == ""


def test_slots_that_are_held_for_a_dependency_give_its_name(tmp_path: Path) -> None:
    demands = {SLOTS: 0.1, DATABASE % "sum": 0.09, DATABASE % "count": 1.5}
    said = of_plateau(tmp_path / "run", 200, demands, {"car_slots": 20.0})
    assert (said.resource, said.second) == ("downstream: database", "worker slots")


def test_the_pool_of_a_dependency_is_the_pool(tmp_path: Path) -> None:
    busy = "car_database_pool_busy_seconds_total"
    demands = {busy: 0.02, DATABASE % "sum": 0.02, DATABASE % "count": 1.0}
    said = of_plateau(tmp_path / "run", 100, demands, {"car_database_pool": 2.0})
    assert said.resource == "database pool"


def step(rps: float, throughput: float | None = None, **given: Any) -> Step:
    served = rps if throughput is None else throughput
    of: dict[str, Any] = {
        "source": f"{rps}",
        "offered_rps": rps,
        "goodput_rps": served,
        "throughput_rps": served,
        "concurrency": served * 0.05,
        "mean_seconds": 0.05,
        "latency_seconds": 0.1,
        "shed_share": 1 - served / rps,
    }
    return Step(**{**of, **given})


def using(rps: float, served: float | None = None, **busy: float) -> Step:
    """A step in which each resource, of one unit each, is busy for so many seconds a request."""
    done = rps if served is None else served
    used = {name: seconds * done for name, seconds in busy.items()}
    return step(rps, served, utilisation=used, units=dict.fromkeys(used, 1.0))


def test_a_dependency_that_makes_the_latency_is_named_though_nothing_is_full() -> None:
    steps = [
        step(
            rps,
            mean_seconds=0.3,
            latency_seconds=0.6,
            call_seconds={"gateway": 0.25, "database": 0.004},
            calls_per_request={"gateway": 1.0, "database": 1.0},
            utilisation={"CPU": rps * 0.001},
            units={"CPU": 1.0},
        )
        for rps in (20.0, 40.0, 60.0, 80.0)
    ]
    said = name_bottleneck(steps, found(refused="never met: p99 is above 500 ms at every load"))
    assert said.resource == "downstream: gateway"
    assert said.second == "CPU"
    assert "gateway behind the target" in said.sentence


def test_a_dependency_that_gets_slower_with_the_load_is_named() -> None:
    def at(rps: float, served: float, call: float, mean: float) -> Step:
        return step(
            rps,
            served,
            mean_seconds=mean,
            call_seconds={"database": call},
            calls_per_request={"database": 1.0},
            utilisation={"CPU": served * 0.001},
            units={"CPU": 1.0},
        )

    steps = [at(50, 50, 0.01, 0.05), at(100, 100, 0.012, 0.05), at(200, 120, 0.2, 0.25)]
    assert name_bottleneck(steps, found(120.0)).resource == "downstream: database"


def test_the_generator_is_named_when_it_is_full_before_the_target() -> None:
    steps = [using(float(rps), CPU=0.0002, generator=0.001) for rps in (200, 400, 600, 800)]
    said = name_bottleneck(steps, found(refused="always met up to 800 requests/s"))
    assert said.resource == "generator"
    assert said.second == "CPU"


def test_a_target_that_turned_requests_away_gave_out_itself() -> None:
    steps = [using(float(rps), min(rps, 500.0), CPU=0.002, generator=0.002) for rps in (200, 300)]
    steps += [using(400.0, CPU=0.002, generator=0.002), using(600.0, 480.0, CPU=0.002)]
    said = name_bottleneck(steps, found(480.0))
    assert said.resource == "CPU"


def test_background_work_is_the_intercept_and_takes_its_part() -> None:
    steps = [
        step(rps, utilisation={"CPU": 0.2 + 0.004 * rps}, units={"CPU": 1.0})
        for rps in (20.0, 60.0, 100.0, 140.0)
    ]
    (demand,) = name_bottleneck(steps, found(190.0)).demands
    assert demand.seconds.value == pytest.approx(0.004)
    assert demand.saturates_rps.value == pytest.approx(0.8 / 0.004)


def test_failures_that_are_as_frequent_at_every_load_are_no_overload() -> None:
    steps = [
        step(rps, error_share=0.05, utilisation={"CPU": 0.001 * rps}, units={"CPU": 1.0})
        for rps in (100.0, 200.0, 300.0)
    ]
    assert "Nothing gave out in the tested range" in name_bottleneck(steps, found()).sentence


def test_steps_beyond_the_knee_unsteady_or_held_out_do_not_make_the_demand() -> None:
    good = [using(rps, CPU=0.004) for rps in (50.0, 100.0, 150.0, 200.0)]
    odd: dict[str, Any] = {"utilisation": {"CPU": 0.99}, "units": {"CPU": 1.0}}
    odds = [
        step(120.0, unsteady=("the backlog grows",), **odd),
        step(130.0, held_out=True, **odd),
        step(400.0, 240.0, **odd),
    ]
    (demand,) = name_bottleneck([*good, *odds], found(240.0)).demands
    assert demand.seconds.value == pytest.approx(0.004)
    assert demand.highest_utilisation == pytest.approx(0.8)


@given(st.integers(min_value=0, max_value=10_000), st.floats(min_value=0.0, max_value=0.2))
def test_the_demand_is_found_in_noise(seed: int, background: float) -> None:
    rng = random.Random(seed)
    steps = [
        step(
            rps,
            utilisation={"CPU": (background + 0.003 * rps) * rng.gauss(1.0, 0.02)},
            units={"CPU": 1.0},
        )
        for rps in (30.0, 60.0, 90.0, 120.0, 150.0, 180.0, 210.0, 240.0)
    ]
    (demand,) = name_bottleneck(steps, found(250.0)).demands
    assert demand.seconds.value == pytest.approx(0.003, rel=0.15)
    assert demand.seconds.low is not None
    assert demand.seconds.high is not None
    assert demand.seconds.low < demand.seconds.value < demand.seconds.high


def test_one_step_gives_a_demand_without_an_interval() -> None:
    (demand,) = name_bottleneck([using(100.0, CPU=0.004)], found()).demands
    assert demand.seconds.value == pytest.approx(0.004)
    assert demand.seconds.low is None
    assert demand.saturates_rps.high is None


@pytest.mark.parametrize(("busy", "named"), [(0.97, "CPU"), (0.4, "")])
def test_with_every_step_beyond_the_knee_only_what_is_full_is_named(
    busy: float, named: str
) -> None:
    why = ("only 60.0% of the intended requests finished",)
    steps = [
        step(rps, 50.0, unsteady=why, utilisation={"CPU": busy}, units={"CPU": 1.0})
        for rps in (100.0, 200.0)
    ]
    said = name_bottleneck(steps, found(refused="never met"))
    assert said.resource == named
    assert "no steady step was below the knee" in said.sentence


@pytest.mark.parametrize(
    ("cpu", "others"), [(0.7, ()), (0.2, ("gateway",))], ids=["busy", "all of them"]
)
def test_calls_that_seem_slow_to_a_busy_target_are_no_finding(
    cpu: float, others: tuple[str, ...]
) -> None:
    def at(rps: float, served: float, times: float, mean: float) -> Step:
        calls = {"database": 0.01 * times} | dict.fromkeys(others, 0.001 * times)
        return step(
            rps,
            served,
            mean_seconds=mean,
            call_seconds=calls,
            calls_per_request=dict.fromkeys(calls, 1.0),
            utilisation={"CPU": cpu * served / 120},
            units={"CPU": 1.0},
        )

    steps = [at(50, 50, 1, 0.05), at(60, 60, 1, 0.05), at(200, 120, 20, 0.25)]
    assert name_bottleneck(steps, found(120.0)).resource in ("", "CPU")
