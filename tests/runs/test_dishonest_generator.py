"""Generators that are really too slow: a real Locust, a real target, the verdict of launchday."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support import launchday, somebody_elses_service

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SCENARIO = """
import time

from gevent.monkey import get_original
from locust import task

from launchday.load.locust_user import ArrivalUser, SurgeShape
from launchday.rate_curve import Phase, RateCurve

block = get_original("time", "sleep")


class Steady(SurgeShape):
    def curve(self, options):
        return RateCurve(((0, 40), (6, 40)), (Phase("steady", 0, 6),))


def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


class Owner(ArrivalUser):
    @task
    def journey(self):
        {work}
        self.client.get("/")
"""


def verdict_of(tmp_path: Path, work: str) -> dict[str, Any]:
    (tmp_path / "locustfiles").mkdir()
    (tmp_path / "locustfiles" / "slow.py").write_text(SCENARIO.format(work=work))
    with somebody_elses_service() as url:
        done = launchday("run", "slow", "--target", url, "--json", cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["outcome"] == "inconclusive"
    return found


def broken(verdict: dict[str, Any]) -> dict[str, str]:
    return {c["name"]: c["sentence"] for c in verdict["checks"] if c["held"] is False}


def test_a_scenario_that_needs_more_than_a_core_is_told_to_use_more_processes(
    tmp_path: Path,
) -> None:
    verdict = verdict_of(tmp_path, work="spin(0.04)")
    if verdict["generator"]["cpu_share_when_late"] < 0.75:
        pytest.skip("somebody else used the cores of this machine")
    assert "Use --processes 2" in broken(verdict)["generator CPU"]


def test_a_scenario_that_blocks_the_event_loop_is_told_so(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path, work="block(0.04)")
    found = broken(verdict)
    assert "generator CPU" not in found
    assert "the scenario blocks" in found["arrivals on time"]
