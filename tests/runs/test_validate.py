"""What a validation drives, and at which target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launchday.errors import PreflightError, SettingsError
from launchday.load.curves import CURVES
from launchday.outcomes import Outcome
from launchday.record import Record, read_record
from launchday.runs.stack import LocalStack
from launchday.runs.stop import Stop
from launchday.runs.validate import (
    curve_parameters,
    drive,
    parameters_of,
    requests_per_arrival,
    scenario_of,
    stack_of,
)
from tests.capacity.staircase import plateau, staircase, write_steps

STEPS: dict[str, object] = {"--from-rps": 1, "--to-rps": 1, "--steps": 1, "--step-seconds": 1}


def record(path: Path, **settings: Any) -> Record:
    info = {"settings": settings}
    points = staircase((50, 200), 10)
    return read_record(write_steps(path / "run", plateau(100), points=points, info=info))


def test_the_curves_of_breakpoint_and_of_a_surge_hold_two_rates() -> None:
    given = curve_parameters(STEPS, 30.0, 40.0, 20.0, "breakpoint")
    curve = CURVES["breakpoint"].curve(given)
    assert [curve.rate(t) for t in (1, 19, 22, 40)] == [30, 30, 40, 40]
    surge: dict[str, object] = {
        "--" + each.name.replace("_", "-"): each.default for each in CURVES["launch_day"].parameters
    }
    curve = CURVES["launch_day"].curve(curve_parameters(surge, 30.0, 40.0, 20.0, "shop"))
    assert [curve.rate(t) for t in (1, 19, 22, 40)] == pytest.approx([30, 30, 40, 40])


def test_a_scenario_with_another_curve_cannot_hold_a_rate() -> None:
    with pytest.raises(SettingsError, match="with the scenario shop: its curve must take"):
        curve_parameters({"--peak-rps": 1}, 30.0, 40.0, 20.0, "shop")


def test_requests_of_an_arrival_are_counted_where_everybody_is_served(tmp_path: Path) -> None:
    def two_or_one(second: int, offered: int) -> Any:
        """A journey of two requests, cut short where the first is refused."""
        return {Outcome.OK: (2 * offered, 0.05)} if second < 10 else {Outcome.SHED: (offered, 0.01)}

    path = write_steps(tmp_path / "run", two_or_one, points=staircase((50, 200), 10))
    assert requests_per_arrival([read_record(path)]) == 2
    broken = write_steps(tmp_path / "bad", lambda s, n: {Outcome.SHED: (n, 0.01)})
    with pytest.raises(PreflightError, match="in no second"):
        requests_per_arrival([read_record(broken)])


def test_the_stack_of_a_record_is_that_of_its_settings_with_free_ports(tmp_path: Path) -> None:
    local = {
        "slots": 3, "profile": "bimodal", "target_port": 8000, "database_url": "sqlite",
        "toxiproxy_url": "http://127.0.0.1:1", "links": ["edge"], "regions": [], "new": 1,
    }  # fmt: skip
    assert stack_of(record(tmp_path, local=local)) == LocalStack(slots=3, profile="bimodal")
    assert stack_of(record(tmp_path / "other")) is None


@pytest.mark.parametrize(
    ("local", "words"),
    [
        ({"database_url": "postgresql"}, "cannot start the database"),
        ({"regions": ["us", "eu"]}, "a plan is made of one region"),
    ],
)
def test_a_stack_that_cannot_be_started_again_is_refused(
    tmp_path: Path, local: dict[str, Any], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        stack_of(record(tmp_path, local=local))


def test_parameters_and_scenario_are_those_of_the_record(tmp_path: Path) -> None:
    found = record(tmp_path, parameters={"shares": "look=1", "steps": 9})
    assert parameters_of(found) == {"shares": "look=1", "steps": "9"}
    assert parameters_of(record(tmp_path / "b")) == {}
    assert scenario_of(found, Path("locustfiles")) == "breakpoint"


@pytest.mark.parametrize("seconds", [9.9, 3601, float("nan")])
def test_a_time_that_measures_nothing_is_refused(tmp_path: Path, seconds: float) -> None:
    session: Any = None
    with pytest.raises(SettingsError, match="must be from 10 to 3600"):
        drive(session, [record(tmp_path)], (30, 40), seconds, lambda _: None, Stop())
