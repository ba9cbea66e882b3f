from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from launchday.capacity.resources import usage_of
from launchday.capacity.scrapes import Reading, Scrapes
from launchday.record import METRICS_FILE
from tests.records import IDLE

SERVICE = 'shed_service_seconds_sum{class="critical"}'


def write(path: Path, *lines: Mapping[str, object]) -> Scrapes:
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    (path / METRICS_FILE).write_text(text)
    return Scrapes(path)


def line(unix: float, **values: float) -> dict[str, object]:
    return {"unix": unix, "values": values}


def test_a_counter_is_read_between_the_first_and_the_last_scrape_inside(tmp_path: Path) -> None:
    scrapes = write(
        tmp_path, *(line(100.2 + k, busy_total=k * k, size=float(k)) for k in range(10))
    )
    reading = scrapes.read(103.0, 107.0)
    assert reading is not None
    assert reading.seconds == pytest.approx(3.0)
    assert reading.rises == {"busy_total": 36 - 9}
    assert reading.gauges == {"size": 4.5}


def test_scrapes_that_failed_are_passed_over(tmp_path: Path) -> None:
    failed: dict[str, object] = {"unix": 100.0, "values": {}, "error": "ReadTimeout: timed out"}
    lines = [failed, line(101, a_total=1), line(102, a_total=2), line(103, a_total=4)]
    reading = write(tmp_path, *lines, {**failed, "unix": 104.0}).read(100, 105)
    assert reading is not None
    assert reading.rises == {"a_total": 3}
    assert reading.seconds == 2


@pytest.mark.parametrize("lines", [[], [line(100, a_total=1)]], ids=["none", "one"])
def test_fewer_than_two_scrapes_tell_nothing(
    tmp_path: Path, lines: list[dict[str, object]]
) -> None:
    assert write(tmp_path, *lines).read(0, 1000) is None
    assert Scrapes(tmp_path / "nowhere").read(0, 1000) is None


def test_a_counter_that_began_anew_has_counted_since(tmp_path: Path) -> None:
    counts = [10, 20, 2, 5, 30]
    lines = [line(100 + k, a_total=count) for k, count in enumerate(counts)]
    reading = write(tmp_path, *lines).read(100, 110)
    assert reading is not None
    assert reading.rises == {"a_total": 10 + 2 + 3 + 25}
    # The last value is above the first all the same: the start of the process gives it away.
    started = [
        {"unix": k, "values": {"a_total": count, "process_start_time_seconds": k // 2}}
        for k, count in enumerate(counts)
    ]
    reading = write(tmp_path, *started).read(0, 10)
    assert reading is not None
    assert reading.rises == {"a_total": 10 + 2 + 3 + 25}


def test_nan_and_infinity_are_no_values(tmp_path: Path) -> None:
    lines = line(1, a=float("nan"), b=1), line(2, a=float("inf"), b=1)
    reading = write(tmp_path, *lines).read(0, 10)
    assert reading is not None
    assert reading.gauges == {"b": 1}


def reading(rises: Mapping[str, float], gauges: Mapping[str, float] | None = None) -> Reading:
    return Reading(10.0, rises, gauges or {})


def test_a_target_with_nothing_but_the_cpu_of_its_process() -> None:
    usage = usage_of(reading({"process_cpu_seconds_total": 4.0}), {})
    assert usage.utilisation == {"CPU": 0.4}
    assert usage.units == {"CPU": 1}


def test_each_process_is_a_unit_of_cpu() -> None:
    name = 'process_cpu_seconds_total{instance="%d"}'
    usage = usage_of(reading({name % 1: 9.0, name % 2: 5.0}), {})
    assert usage.utilisation == {"CPU": pytest.approx(0.7)}
    assert usage.units == {"CPU": 2}


def test_a_process_on_many_cores_is_judged_only_if_they_are_known() -> None:
    rises = {"process_cpu_seconds_total": 30.0}
    unknown = usage_of(reading(rises), {})
    assert unknown.utilisation == {}
    assert unknown.unknown == ("CPU",)
    known = usage_of(reading(rises, {"go_sched_gomaxprocs_threads": 4.0}), {})
    assert known.utilisation == {"CPU": 0.75}


def test_admission_slots_are_read_from_seconds_never_from_the_gauge() -> None:
    gauges = {"shed_limit": 30.0, 'shed_inflight{class="critical"}': 29.0}
    usage = usage_of(reading({SERVICE: 60.0}, gauges), {})
    assert usage.utilisation == {"admission slots": 0.2}
    assert usage.in_flight == 6.0


def test_a_limit_that_is_only_observed_limits_nothing() -> None:
    gauges = {"shed_limit": 30.0, 'shed_info{algorithm="fixed",mode="observe",version="1"}': 1.0}
    assert usage_of(reading({SERVICE: 60.0}, gauges), {}).utilisation == {}


def test_worker_slots_and_any_pool_that_counts_its_seconds() -> None:
    rises = {"car_slots_busy_seconds_total": 100.0, 'jdbc_busy_seconds_total{pool="a"}': 20.0}
    gauges = {"car_slots": 20.0, 'jdbc{pool="a"}': 4.0}
    usage = usage_of(reading(rises, gauges), {})
    assert usage.utilisation == {"worker slots": 0.5, "jdbc": 0.5}
    assert usage.units == {"worker slots": 20, "jdbc": 4}


def test_a_pool_without_a_size_is_left_out() -> None:
    assert usage_of(reading({"jdbc_busy_seconds_total": 20.0}), {}).utilisation == {}


def test_calls_to_dependencies_are_counted_over_all_outcomes() -> None:
    labels = '{dependency="database",outcome="%s"}'
    rises: dict[str, float] = {}
    for outcome, calls, seconds in (("ok", 90, 4.0), ("timeout", 10, 6.0)):
        rises["car_dependency_seconds_count" + labels % outcome] = calls
        rises["car_dependency_seconds_sum" + labels % outcome] = seconds
    usage = usage_of(reading(rises), {})
    assert usage.calls_rps == {"database": 10.0}
    assert usage.busy_calls == {"database": 1.0}


def test_the_busiest_process_of_the_generator_counts() -> None:
    quiet, busy = IDLE, type(IDLE)(**{**vars(IDLE), "cpu_share": 0.8})
    usage = usage_of(None, {"0": [quiet], "1": [busy]})
    assert usage.utilisation == {"generator": 0.8}
    assert usage.units == {"generator": 2}


def test_no_metrics_are_no_error() -> None:
    usage = usage_of(None, {})
    assert usage.utilisation == {}
    assert usage.in_flight is None
