"""One Locust process on the wire: what it refuses, what it says, what it measures."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import httpx
import pytest

from launchday.histogram import LogHistogram
from launchday.load.arrivals import schedule
from launchday.load.curves import RateCurve
from launchday.record import Record
from tests.load.crowd_service import SCENARIO, Crowd, Seen, service, wait_for

pytestmark = pytest.mark.e2e


def assert_refused(tmp_path: Path, words: str, *options: str, scenario: str = SCENARIO) -> None:
    with service() as (url, seen), Crowd(tmp_path, url, scenario) as crowd:
        process = crowd.alone("--seconds=1", *options)
        assert process.wait(60) == 2, crowd.log("alone")
        log = crowd.log("alone")
    (line,) = [line for line in log.splitlines() if "ERROR" in line]
    assert f"launchday: {words}" in line
    assert "Traceback" not in log
    assert not seen.paths


def test_a_target_that_is_not_ours_is_one_line_and_no_load(tmp_path: Path) -> None:
    words = "target 8.8.8.8 (8.8.8.8) is neither loopback nor private"
    assert_refused(tmp_path, words, "--host=http://8.8.8.8")


def test_tags_that_leave_nobody_a_task_are_one_line_and_no_load(tmp_path: Path) -> None:
    assert_refused(tmp_path, "no ArrivalUser has a task left", "--tags", "nothing")


def test_arrivals_without_a_curve_are_one_line_and_no_load(tmp_path: Path) -> None:
    scenario = SCENARIO.replace("Flat(SurgeShape)", "Flat")
    assert_refused(tmp_path, "the scenario has Often, Seldom but no SurgeShape", scenario=scenario)


@pytest.mark.slow
def test_a_seed_that_nobody_chose_is_said_and_recorded_and_the_metrics_are_there(
    tmp_path: Path,
) -> None:
    with service() as (url, seen), Crowd(tmp_path, url) as crowd:
        process = crowd.alone("--rps=100", "--seconds=2", "--metrics-port=0")
        wait_for(lambda: len(seen.paths) > 50)
        metrics = re.search(r"metrics at (http://127\.0\.0\.1:\d+/metrics)", crowd.log("alone"))
        assert metrics
        shown = httpx.get(metrics[1], trust_env=False, timeout=10).text
        assert process.wait(60) == 0, crowd.log("alone")
        (told,) = crowd.read().schedules
        log = crowd.log("alone")
    assert f"seed {told.seed} was chosen" in log
    curve = RateCurve(((0.0, 100.0), (2.0, 100.0)))
    expected = len(list(schedule(curve, seed=told.seed)))
    assert seen.indices == list(range(expected))
    assert f"{expected} arrivals: {expected} started" in log
    assert 'launchday_users{state="' in shown


@pytest.mark.slow
def test_who_logs_in_before_the_first_arrival_is_no_load_of_the_record(tmp_path: Path) -> None:
    scenario = SCENARIO.replace(
        "class Often(ArrivalUser):\n    weight = 3",
        "class Often(ArrivalUser):\n    weight = 3\n\n    def on_start(self):\n"
        "        self.client.get('/login/0', name='login')\n        super().on_start()",
    )
    with service() as (url, seen), Crowd(tmp_path, url, scenario) as crowd:
        process = crowd.alone("--rps=50", "--seconds=2", "--seed=1")
        assert process.wait(60) == 0, crowd.log("alone")
        record, log = crowd.read(), crowd.log("alone")
    logins = [path for path in seen.journeys if path.startswith("/login")]
    assert len(logins) > 10
    started = sum(a.started for a in record.arrivals.values())
    assert {key[1] for key in record.cells} == {"look", "buy", "complain"}
    assert sum(cell.count for cell in record.cells.values()) == started
    assert re.search(rf"GET +login +{len(logins)} ", log), "Locust's statistics have them"


@pytest.mark.slow
def test_a_process_that_is_asked_to_end_says_what_became_of_every_arrival_until_then(
    tmp_path: Path,
) -> None:
    with service() as (url, seen), Crowd(tmp_path, url) as crowd:
        process = crowd.alone("--rps=200", "--seconds=60", "--seed=1")
        wait_for(lambda: len(seen.paths) > 200)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, crowd.log("alone")
        record = crowd.read()
    assert record.finished_workers == 1
    started = sum(a.started for a in record.arrivals.values())
    scheduled = sum(a.scheduled for a in record.arrivals.values())
    assert started == len(seen.indices)
    assert seen.indices == list(range(started))
    assert scheduled - started <= 50, "dropped is only what was due while it ended"


def latencies(record: Record) -> tuple[LogHistogram, LogHistogram]:
    """Corrected and service."""
    cells = record.cells.values()
    corrected = LogHistogram.merged(cell.corrected for cell in cells)
    return corrected, LogHistogram.merged(cell.service for cell in cells)


class _Stall:
    """The service stands still from 4 s to 6 s after its first request."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def __call__(self) -> float:
        at = time.perf_counter() - self._seen.paths[0][1]
        return 6.0 - at if 4.0 <= at < 6.0 else 0.0


@pytest.mark.slow
def test_a_stall_of_2_s_is_in_the_corrected_p99_and_not_in_the_naive_one(tmp_path: Path) -> None:
    # 20 % of the arrivals of 10 s fall into the stall and wait U(0 s, 2 s): 5 % of those, 1 % of
    # all, wait longer than 1.9 s. Only 10 users can see it, 0.5 % of the requests.
    options = ["--rps=200", "--seconds=10", "--arrivals=even", "--seed=1"]
    few = ["--max-users=10", "--queue-limit=1000", "--objective-seconds=0.04"]
    scenario = SCENARIO.replace("class Seldom(ArrivalUser)", "class Seldom(Often)").replace(
        "class Often(ArrivalUser):\n    weight = 3",
        "class Often(ArrivalUser):\n    abstract = True",
    )
    with service() as (url, seen), Crowd(tmp_path, url, scenario) as crowd:
        seen.stalls = _Stall(seen)
        process = crowd.alone(*options, *few, "--request-timeout-seconds=5")
        assert process.wait(90) == 0, crowd.log("alone")
        record = crowd.read()
    corrected, service_time = latencies(record)
    assert corrected.total == service_time.total == 2000
    p99, naive = corrected.quantile(0.99), service_time.quantile(0.99)
    assert p99 == pytest.approx(1.9, rel=0.02)
    assert naive is not None
    assert naive < 0.2
    assert sum(a.queued for a in record.arrivals.values()) >= 300
    assert sum(a.started for a in record.arrivals.values()) == 2000
