"""`launchday up`: starts, says where, and leaves nothing however it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.support import (
    free_port,
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
ANY_PORT = ("--port", "0", "--prometheus-port", "0")
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="no prometheus on PATH"
)


@contextmanager
def up(
    tmp_path: Path, path: str = os.environ["PATH"]
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Start it, its files below `tmp_path`; yield it and the addresses that it says."""
    process = start("up", *ANY_PORT, "--json", TMPDIR=str(tmp_path), PATH=path)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("{"), line + process.stdout.read()
        yield process, json.loads(line)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def without_programs(tmp_path: Path) -> str:
    """A PATH on which there is nothing."""
    empty = tmp_path / "empty"
    empty.mkdir()
    return str(empty)


def test_everything_answers_and_is_gone_after_sigterm(tmp_path: Path) -> None:
    with up(tmp_path, without_programs(tmp_path)) as (process, where):
        urls = [where["docs"], where["status"], where["metrics"], f"{where['toxiproxy']}/proxies"]
        assert all(answers(url) for url in urls)
        assert httpx.get(urls[-1], trust_env=False).json().keys() == {"gateway"}
        assert where["prometheus"] is None
        output = interrupt(process, signal.SIGTERM)
        assert process.returncode == 0, output
        assert not any(answers(url) for url in urls)
    assert processes_mentioning(str(tmp_path)) == []
    assert list(tmp_path.glob("launchday-up-*")) == []


@needs_prometheus
def test_with_prometheus_the_series_of_every_part_are_there(tmp_path: Path) -> None:
    with up(tmp_path) as (process, where):
        url = where["prometheus"]

        def series(query: str) -> list[dict[str, Any]]:
            answer = httpx.get(f"{url}/api/v1/query", params={"query": query}, trust_env=False)
            found: list[dict[str, Any]] = answer.json()["data"]["result"]
            return found

        own = 'up{job=~"target|gateway|toxiproxy|prometheus"} == 1'
        wait_for(lambda: len(series(own)) >= 3)  # the embedded Toxiproxy may have no metrics
        assert series("car_capacity_rps")
        rules = httpx.get(f"{url}/api/v1/rules", trust_env=False).json()["data"]["groups"]
        assert "launchday-alerts" in [group["name"] for group in rules]
        output = interrupt(process, signal.SIGINT)
        assert process.returncode == 0, output
        assert not answers(f"{url}/-/ready")
    assert processes_mentioning(str(tmp_path)) == []
    assert list(tmp_path.glob("launchday-up-*")) == []


def test_kill_9_leaves_no_process_and_the_next_one_removes_its_files(tmp_path: Path) -> None:
    with up(tmp_path) as (process, where):
        process.kill()
        wait_for(lambda: processes_mentioning(str(tmp_path)) == [])
        assert not answers(where["status"])
    process.wait()
    left = list(tmp_path.glob("launchday-up-*"))
    assert len(left) == 1
    with up(tmp_path, without_programs(tmp_path)):
        assert not left[0].exists()
        assert len(list(tmp_path.glob("launchday-up-*"))) == 1, "its own"


@pytest.mark.slow
def test_what_is_shown_runs_a_scenario_with_its_fault_and_audit(tmp_path: Path) -> None:
    short = ["-p", "baseline_rps=5", "-p", "quiet_seconds=3", "-p", "peak_seconds=13"]
    with up(tmp_path, without_programs(tmp_path)) as (_, where):
        _, _, command = where["run"].partition(" -m launchday ")
        env = {**where["environment"], "LAUNCHDAY_RUN__METRICS_PORT": str(free_port())}
        arguments = [*command.split(), *short, "--runs", str(tmp_path / "runs")]
        done = launchday(*arguments, **env)
    # 3: so short a run may have too few requests before its surge to call it steady.
    assert done.returncode in (0, 1, 2, 3), done.stdout + done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert '"event":"undone"' in (run / "faults.jsonl").read_text()
    assert (run / "stored.jsonl").stat().st_size > 0


@pytest.mark.parametrize(
    ("option", "purpose"),
    [
        ("--port", "the reference backend"),
        pytest.param("--prometheus-port", "Prometheus", marks=needs_prometheus),
    ],
)
def test_a_port_in_use_is_an_error_before_anything_starts(
    tmp_path: Path, option: str, purpose: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        done = launchday("up", *ANY_PORT, option, port, TMPDIR=str(tmp_path))
    assert done.returncode == 2, done.stdout
    assert f"port {port} for {purpose} is taken" in done.stderr
    assert f"{option} 0" in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == [], "nothing was started"


def test_people_get_a_table_with_commands_to_copy(tmp_path: Path) -> None:
    process = start("up", *ANY_PORT, TMPDIR=str(tmp_path), PATH=without_programs(tmp_path))
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            break
    interrupt(process, signal.SIGTERM)
    shown = "".join(lines)
    for words in ("API docs", "Status page", "Prometheus          not on PATH", "export TOXIPROXY"):
        assert words in shown
    assert "run launch_day --target http://127.0.0.1:" in shown
