"""The live ladder whole: rows of real servers, one JSON object, and no child left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks._ladder_apps import PEER, SYSTEMS, why_missing
from benchmarks._ladder_process import Load, Server
from benchmarks._ladder_report import show
from benchmarks._ladder_runs import PROFILES, Baseline, Ladder, capacity, costs
from benchmarks.admission_ladder import measure, parse

ROOT = Path(__file__).parent.parent.parent
LADDER = [sys.executable, "-m", "benchmarks.admission_ladder"]
DEADLINE_SECONDS = 30
ROW_KEYS = {
    "system",
    "profile",
    "offered_ratio",
    "goodput_ratio",
    "physics_ratio",
    "p99_admitted_over_unloaded",
    "connection_errors",
    "schedule_kept",
}


@pytest.fixture(scope="module")
def load() -> Iterator[Load]:
    with Load() as load:
        yield load


def test_a_row_of_an_overloaded_semaphore_has_goodput_and_refusals(load: Load) -> None:
    ladder = Ladder(load, 1.0, 0.5, 1, {}, [])
    row = ladder.row("semaphore", PROFILES["io_bound"], 2.0, Baseline(400.0, 0.125))
    assert row.keys() >= ROW_KEYS
    assert row["connection_errors"] == 0
    assert row["goodput_ratio"] > 0
    assert row["refused_share"] > 0
    assert row["physics_ratio"] == pytest.approx(row["goodput_ratio"])
    assert row["p99_admitted_over_unloaded"] * 0.125 == pytest.approx(row["p99_admitted_seconds"])


@pytest.mark.slow
@pytest.mark.alone
def test_physics_of_a_cpu_bound_row_takes_the_measured_cost_of_a_refusal(load: Load) -> None:
    ladder = Ladder(load, 0.5, 0.1, 1, {"refuse_semaphore": 500.0}, [])
    row = ladder.row("semaphore", PROFILES["cpu_bound"], 2.0, Baseline(200.0, 0.01))
    assert row["physics_ratio"] == pytest.approx(row["goodput_ratio"] * (1 - 0.1) / (1 - 0.2))


@pytest.mark.slow
@pytest.mark.alone
def test_the_capacity_of_a_cpu_bound_service_does_not_shrink_on_a_busy_machine(load: Load) -> None:
    assert 150 < capacity(load, PROFILES["cpu_bound"]) < 200


@pytest.mark.slow
@pytest.mark.alone
def test_a_row_that_fell_behind_is_void_after_one_more_try(load: Load) -> None:
    ladder = Ladder(load, 0.2, 0.1, 1, {}, [None])
    profile = replace(PROFILES["io_bound"], patience_seconds=0.1)
    # More than any generator can send.
    row = ladder.row("none", profile, 1.0, Baseline(50_000.0, 0.1))
    assert row["void"] == "generator fell behind"
    assert ladder.spare == []


def test_cpu_of_saturated_shedders_and_of_the_floor_is_measured(load: Load) -> None:
    found = costs(load, ["semaphore", "uvicorn_limit", "launchday"], rounds=1, requests=400)
    names = {"bare_503", "refuse", "refuse_semaphore", "refuse_uvicorn_limit", "bare_200", "accept"}
    assert {name for name in names if not found[name]} == set()
    assert found["accept_overhead"] is not None
    assert found["refuse_protocol"] is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_child_outlives_the_ladder(number: signal.Signals) -> None:
    process = subprocess.Popen(LADDER, cwd=ROOT, stderr=subprocess.PIPE)
    try:
        until(lambda: len(children(process.pid)) >= 2)
        born = children(process.pid)
        process.send_signal(number)
        assert process.wait(DEADLINE_SECONDS) == (130 if number != signal.SIGKILL else -number)
        until(lambda: not any(alive(pid) for pid in born))
    finally:
        process.kill()
        process.communicate()


def children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, check=True)
    pairs = (line.split() for line in listed.stdout.decode().splitlines())
    return [int(child) for child, parent in pairs if int(parent) == pid]


def alive(pid: int) -> bool:
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True)
    return listed.stdout.strip() not in (b"", b"Z", b"Zs")


def until(condition: Any) -> None:
    ends_at = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < ends_at
        time.sleep(0.05)


def test_a_server_that_cannot_start_is_an_error_at_once() -> None:
    with pytest.raises(RuntimeError, match="said nothing"):
        Server("launchday", "io_bound", limit=0)


def test_wrong_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--systems", "other"], ["--ratios", "0"], ["--seconds", "-1"]):
        with pytest.raises(SystemExit, match="2"):
            parse(words)
    assert "must be above 0" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.alone
def test_json_is_one_object_with_a_row_for_each_system_s2() -> None:
    """S2, S3 and S0, in short."""
    words = ["--quick", "--json", "--seconds", "1"]
    done = subprocess.run(LADDER + words, cwd=ROOT, capture_output=True, check=True)
    [line] = done.stdout.decode().splitlines()
    result = json.loads(line)
    present = [system for system in SYSTEMS if why_missing(system) is None]
    assert {row["system"] for row in result["rows"]} == set(present)
    assert all(row.keys() >= ROW_KEYS for row in result["rows"])
    assert {row["profile"] for row in result["rows"]} == {"io_bound", "cpu_bound"}
    assert result.keys() >= {"rows", "cpu_us", "recovery_seconds"}
    names = {"bare_503", "refuse", "refuse_protocol", "accept_overhead"}
    assert result["cpu_us"].keys() >= names
    assert show(result).count("capacity") >= 2


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.skipif(why_missing(PEER) is None, reason="the peer is installed")
def test_a_system_that_is_not_installed_is_left_out_and_named() -> None:
    result = measure(parse(["--quick", "--systems", PEER, "--profiles", "io_bound"]))
    assert result["rows"] == []
    assert "not installed" in result["skipped"][PEER]
    assert f"{PEER}: no rows" in show(result)
