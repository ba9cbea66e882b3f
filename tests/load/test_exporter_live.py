"""`/metrics` of each process of a real Locust, scraped while it runs."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from launchday.record import Record, RunInfo, absorb_samples_line, read_lines
from launchday.timeline import arrivals_of, expected_arrivals
from tests.e2e.support import environment, somebody_elses_service
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SCENARIO = """
from locust import task

from launchday.load.locust_user import ArrivalUser, SurgeShape
from launchday.rate_curve import RateCurve


class Steady(SurgeShape):
    def curve(self, options):
        return RateCurve(((0, 40), (6, 40)), ())


class Owner(ArrivalUser):
    @task
    def journey(self):
        self.client.get("/", name="home")
"""


def counts(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    return {
        sample.labels["outcome"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "launchday_arrivals_total"
    }


def last_counts(log: Path, locust: subprocess.Popen[bytes]) -> dict[str, dict[str, float]]:
    """What each process said at its last scrape, with a scrape of each at least."""
    found: dict[str, dict[str, float]] = {}
    while locust.poll() is None:
        for url in re.findall(r"metrics at (\S+)", log.read_text()):
            with suppress(
                urllib.error.URLError, ConnectionError, HTTPException
            ):  # it is about to end
                found[url] = counts(url)
        time.sleep(0.2)
    return found


def test_every_worker_serves_its_share_while_it_runs(tmp_path: Path) -> None:
    scenario, log, record_path = tmp_path / "steady.py", tmp_path / "log", tmp_path / "record"
    scenario.write_text(SCENARIO)
    record_path.mkdir()
    port = str(free_port())
    with somebody_elses_service() as service, log.open("wb") as output:
        command = [
            sys.executable, "-m", "locust", "-f", str(scenario), "--headless", "--host", service,
            "--processes", "2", "--master-bind-host", "127.0.0.1", "--master-bind-port", port,
            "--master-port", port, "--seed", "3", "--metrics-port", "0",
            "--launchday-record", str(record_path),
        ]  # fmt: skip
        locust = subprocess.Popen(
            command, cwd=tmp_path, env=environment(), stdout=output, stderr=output
        )
        try:
            found = last_counts(log, locust)
        finally:
            locust.kill()
            locust.wait()
    assert locust.returncode == 0, log.read_text()
    assert len(found) == 2, log.read_text()
    record = Record(record_path, RunInfo("x", "x", "", 0.0), [], 0, {}, {}, [], [])
    for path in record_path.glob("samples-*.jsonl"):
        for line in read_lines(path):
            absorb_samples_line(record, line)
    started = sum(said["started"] for said in found.values())
    assert all(said["started"] > 0 for said in found.values())
    assert 0 < started <= arrivals_of(record).started <= expected_arrivals(record)
