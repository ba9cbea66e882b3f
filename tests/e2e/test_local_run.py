"""The whole flow on real parts: processes, sockets, SQLite, Toxiproxy, Locust."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from launchday.outcomes import Outcome
from launchday.record import Record, read_record
from launchday.timeline import by_second, whole
from tests.e2e.support import EXPERIMENT, SHORT, launchday, processes_mentioning

pytestmark = pytest.mark.e2e


def test_a_surge_with_a_fault_from_start_to_report(tmp_path: Path) -> None:
    experiment = tmp_path / "short.py"
    experiment.write_text(EXPERIMENT.format(duration_seconds=4))
    runs = tmp_path / "runs"
    done = launchday(
        "run", "launch_day", "--local", "--experiment", str(experiment), "--runs", str(runs), *SHORT
    )
    assert "Traceback" not in done.stdout + done.stderr
    # A busy machine may make the run inconclusive (2), never anything else.
    assert done.returncode in (0, 1, 2), done.stdout + done.stderr
    assert "left" in done.stdout, "live progress"
    (path,) = runs.iterdir()
    record = read_record(path)

    assert record.complete
    assert record.info.ended == "completed"
    assert "version" in (record.info.toxiproxy or "")
    events = [f["event"] for f in record.faults]
    assert events == ["planned", "applied", "verified", "used", "undone"]
    assert record.faults[2]["effect"] is True

    assert_every_arrival_is_accounted_for(record)
    assert whole(record).outcomes[Outcome.CLIENT_ERROR] == 0, "every owner had a session"
    assert launchday("audit", str(path)).returncode == 0, "and nothing was lost or doubled"
    assert_shed_with_retry_after(record)

    verdict = json.loads((path / "verdict.json").read_text())
    assert verdict["exit_code"] == done.returncode
    assert verdict["capacity_rps"] == 40
    assert (path / "report.html").stat().st_size > 10_000
    assert launchday("verdict", str(path)).returncode == done.returncode

    if sys.platform == "linux":
        assert processes_mentioning(str(path)) == []


@pytest.mark.slow
@pytest.mark.skipif("TOXIPROXY_SERVER" not in os.environ, reason="no $TOXIPROXY_SERVER")
def test_a_real_toxiproxy_server_on_the_path_is_used_and_named(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "toxiproxy-server").symlink_to(os.environ["TOXIPROXY_SERVER"])
    experiment = tmp_path / "short.py"
    experiment.write_text(EXPERIMENT.format(duration_seconds=2))
    arguments = ["--local", "--experiment", str(experiment), "--runs", str(tmp_path / "runs")]
    path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
    done = launchday("run", "launch_day", *arguments, *SHORT, PATH=path)
    assert "toxiproxy-server from PATH" in done.stdout
    assert "version 2." in done.stdout
    (run,) = (tmp_path / "runs").iterdir()
    record = read_record(run)
    events = [f["event"] for f in record.faults]
    assert events == ["planned", "applied", "verified", "used", "undone"]
    assert record.faults[2]["effect"] is True


def assert_every_arrival_is_accounted_for(record: Record) -> None:
    expected = record.schedules[0].expected_arrivals
    arrivals = record.arrivals.values()
    started, dropped = sum(a.started for a in arrivals), sum(a.dropped for a in arrivals)
    assert expected == sum(a.scheduled for a in arrivals) == started + dropped
    assert sum(w.offered for w in by_second(record)) >= started


def assert_shed_with_retry_after(record: Record) -> None:
    everything = whole(record)
    assert everything.outcomes[Outcome.OK] > 0
    assert everything.outcomes[Outcome.SHED] > 0, "three times the capacity was offered"
    assert everything.with_retry_after == everything.answers_503
    assert any("car_capacity_rps" in line["values"] for line in record.metrics)


@pytest.mark.slow
def test_a_run_without_shedding_is_recorded_the_same_way(tmp_path: Path) -> None:
    short = [*SHORT[:-1], "tail_seconds=2", "-p", "peak_seconds=4"]
    done = launchday(
        "run", "launch_day", "--local", "--no-shedding", "--runs", str(tmp_path), "--json", *short
    )
    verdict = json.loads(done.stdout)
    assert verdict["exit_code"] == done.returncode
    (path,) = tmp_path.iterdir()
    everything = whole(read_record(path))
    assert everything.outcomes[Outcome.SHED] == 0
    hurt = everything.errors + everything.outcomes[Outcome.SLOW]
    assert hurt > 0, "overload without shedding hurts"
