"""What Prometheus finds during a run: the conductor, and each process of its generator."""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.support import SHORT, start
from tests.ports import free_port

pytestmark = pytest.mark.e2e


def ports_in_a_row(many: int) -> int:
    """The first of so many free ports: a process whose port is taken would take the next one."""
    while True:
        first = free_port()
        try:
            with ExitStack() as taken:
                for port in range(first, first + many):
                    taken.enter_context(socket.create_server(("127.0.0.1", port)))
        except OSError:
            continue
        return first


def scrape(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
            return text
    except (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException):
        return ""  # also one that was under way when the process ended


def follow(run: subprocess.Popen[str], port: int) -> tuple[list[str], dict[int, float], float]:
    """Phases in their order, what was started at each process of the generator, the peak's rate."""
    phases: list[str] = []
    started: dict[int, float] = {}
    planned = 0.0
    while run.poll() is None:
        conductor = scrape(port)
        now = re.findall(r'launchday_phase{phase="(\w+)",run="[^"]+"} 1\.0', conductor)
        assert len(now) <= 1, now
        phases += [phase for phase in now if phase not in phases]
        for rate in re.findall(r"^launchday_planned_rate (\S+)$", conductor, re.MULTILINE):
            planned = max(planned, float(rate))
        for worker in (1, 2):
            pattern = r'launchday_arrivals_total{outcome="started"} (\S+)'
            for count in re.findall(pattern, scrape(port + worker)):
                started[worker] = float(count)
        time.sleep(0.3)
    return phases, started, planned


@pytest.mark.slow
def test_phases_and_every_process_of_the_generator_are_there_while_a_run_lasts(
    tmp_path: Path,
) -> None:
    port = ports_in_a_row(3)
    run = start(
        "run", "launch_day", "--local", "--processes", "2", "--runs", str(tmp_path), *SHORT,
        LAUNCHDAY_RUN__METRICS_PORT=str(port),
    )  # fmt: skip
    try:
        phases, started, planned = follow(run, port)
        output = run.communicate(timeout=10)[0]
    finally:
        run.kill()
    # 3: on a busy machine the quiet seconds of so short a run may not be steady.
    assert run.returncode in (0, 1, 2, 3), output
    wanted = ["quiet", "peak", "tail"]
    assert [phase for phase in phases if phase in wanted] == wanted, phases
    assert planned == pytest.approx(120, rel=0.1)  # 15 a second, eightfold
    assert started.keys() == {1, 2}, "a port for each process"
    assert min(started.values()) > 0
    assert scrape(port) == ""
