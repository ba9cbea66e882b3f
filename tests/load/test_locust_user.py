"""Journeys that end in every way that Locust knows: each arrival is run, once, and counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from launchday.load.arrivals import schedule
from launchday.load.curves import RateCurve
from tests.load.crowd_service import Crowd, service

pytestmark = pytest.mark.e2e

SCENARIO = """
from locust import TaskSet, events, task
from locust.exception import RescheduleTask, StopUser
from launchday.load import RateCurve
from launchday.load.locust_user import ArrivalUser, SurgeShape

@events.user_error.add_listener
def note(exception, **_):
    print("user_error:", exception, flush=True)

class Flat(SurgeShape):
    def curve(self, options):
        return RateCurve(((0, 100), (2, 100)))

def scheduled(user):
    user.client.get(f"/scheduled/{user.arrival.index}", name="scheduled")

class Visitor(ArrivalUser):
    @task
    def visit(self):
        index = self.arrival.index
        self.client.get(f"/visit/{index}", name="visit")
        if index == 10:
            raise ValueError("broken")
        if index % 10 == 1:
            raise RescheduleTask
        if index % 10 == 2:
            self._taskset_instance.schedule_task(scheduled)
        if index % 10 == 3:
            raise StopUser

    @task
    class Stay(TaskSet):
        @task
        def look(self):
            self.user.client.get(f"/stay/{self.user.arrival.index}", name="stay")
            if self.user.arrival.index % 3:
                self.interrupt()

    def on_stop(self):
        print("on_stop", flush=True)
"""


def test_each_arrival_is_run_once_however_the_journeys_before_it_ended(tmp_path: Path) -> None:
    with service() as (url, seen), Crowd(tmp_path, url, SCENARIO) as crowd:
        process = crowd.alone("--seed=2")
        assert process.wait(60) == 0, crowd.log("alone")
        record, log = crowd.read(), crowd.log("alone")
    curve = RateCurve(((0.0, 100.0), (2.0, 100.0)))
    expected = len(list(schedule(curve, seed=2)))
    assert seen.indices == list(range(expected))
    assert sum(a.started for a in record.arrivals.values()) == expected
    kinds = {path.split("/")[1] for path, _ in seen.paths}
    assert kinds == {"visit", "scheduled", "stay"}
    assert log.count("user_error: broken") == 1
    assert "on_stop" in log
