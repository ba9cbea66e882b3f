"""Ctrl-C, SIGTERM and kill -9: no process, no port and no toxic stays behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from launchday.record import read_lines, read_record
from tests.e2e.support import (
    EXPERIMENT,
    SHORT,
    SIGNALS,
    environment,
    interrupt,
    launchday,
    processes_mentioning,
    start,
    wait_for,
)

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]


@pytest.fixture
def toxiproxy() -> Iterator[str]:
    """A Toxiproxy that somebody else runs: it outlives the run."""
    server = subprocess.Popen(
        [sys.executable, "-m", "launchday.chaos.embedded", "--port", "0"],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    line = server.stdout.readline()
    yield line.split("listening on ")[1].strip()
    server.terminate()
    server.wait()
    server.stdout.close()


def long_fault(tmp_path: Path) -> list[str]:
    experiment = tmp_path / "long.py"
    experiment.write_text(EXPERIMENT.format(duration_seconds=120))
    peak = [*SHORT, "-p", "peak_seconds=130"]
    where = ["--runs", str(tmp_path / "runs")]
    return ["run", "launch_day", "--local", "--experiment", str(experiment), *where, *peak]


def fault_is_active(tmp_path: Path) -> bool:
    logs = (tmp_path / "runs").glob("*/faults.jsonl")
    return any(line["event"] == "verified" for log in logs for line in read_lines(log))


def toxics(url: str) -> list[object]:
    proxies = httpx.get(f"{url}/proxies", trust_env=False).json()
    return [toxic for proxy in proxies.values() for toxic in proxy["toxics"]]


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_during_the_fault_undoes_everything(
    tmp_path: Path, toxiproxy: str, number: int
) -> None:
    process = start(*long_fault(tmp_path), TOXIPROXY_URL=toxiproxy)
    wait_for(lambda: fault_is_active(tmp_path))
    assert len(toxics(toxiproxy)) == 1
    output = interrupt(process, number)
    assert process.returncode == SIGNALS[signal.Signals(number)], output
    assert "Traceback" not in output
    assert httpx.get(f"{toxiproxy}/proxies", trust_env=False).json() == {}
    assert processes_mentioning(str(tmp_path)) == []
    (path,) = (tmp_path / "runs").iterdir()
    record = read_record(path)
    assert record.info.ended == "interrupted"
    assert record.faults[-1]["event"] == "undone"
    assert (path / "report.html").exists()


@pytest.mark.parametrize("delay_seconds", [0.0, 0.4, 1.0, 2.0, 3.0, 5.0])
def test_ctrl_c_at_any_moment_leaves_nothing(tmp_path: Path, delay_seconds: float) -> None:
    process = start(*long_fault(tmp_path))
    time.sleep(delay_seconds)
    output = interrupt(process, signal.SIGINT)
    # While Python itself starts, not a line of ours has run: it ends by the signal, or says so.
    before_us = process.returncode == -signal.SIGINT or "Fatal Python error: init_" in output
    assert before_us or process.returncode == 130, output
    if delay_seconds and not before_us:
        assert "Traceback" not in output
    assert processes_mentioning(str(tmp_path)) == []


@pytest.mark.slow
def test_kill_9_of_the_conductor_leaves_nothing_and_the_record_can_be_judged(
    tmp_path: Path, toxiproxy: str
) -> None:
    process = start(*long_fault(tmp_path), TOXIPROXY_URL=toxiproxy)
    wait_for(lambda: fault_is_active(tmp_path))
    process.kill()
    process.communicate()
    wait_for(lambda: toxics(toxiproxy) == [])
    wait_for(lambda: processes_mentioning(str(tmp_path)) == [])
    (path,) = (tmp_path / "runs").iterdir()
    judged = launchday("verdict", str(path))
    assert judged.returncode == 2, judged.stdout
    assert "s were seen" in judged.stdout
    assert launchday("report", str(path)).returncode == 0
    assert (path / "report.html").exists()
