"""Some experiments of chaos/ for real: they hold, and what cannot hold is never green."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from launchday.record import FAULTS_FILE, read_lines

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.alone]

ROOT = Path(__file__).resolve().parents[2]
HOLD = ("gateway_truncated", "lossy_mobile")
# What two noisy cores can do for all of them at once, in the time that a test may take; and enough
# for ten commands in the window also where its first fault comes seconds late.
SHORT = {
    "quiet_seconds": 10, "rise_seconds": 1, "peak_seconds": 18, "decay_seconds": 1,
    "tail_seconds": 13, "baseline_rps": 12, "multiple": 1.05, "pollers": 30, "reporting_cars": 30,
    "owners": 10,
}  # fmt: skip
PATIENT = {
    "LAUNCHDAY_RULES__LATE_SECONDS_SHARE": "1",
    "LAUNCHDAY_RULES__KEPT_SHARE": "0.5",
    "LAUNCHDAY_RULES__UNSTARTED_SHARE": "0.1",
    "LAUNCHDAY_RULES__STEADY_SHARE": "0.9",
    # What is slow here is the machine, also where no experiment judges.
    "LAUNCHDAY_RULES__OBJECTIVE_SECONDS": "1.9",
    "LAUNCHDAY_RUN__REQUEST_TIMEOUT_SECONDS": "2",
}
NEVER_STEADY = 'steady=(Expectation("p50_seconds", at_most=0.000001),'
NO_SUCH_METRIC = 'during=(Expectation("metric_highest", metric="car_happiness", at_most=1),'


@dataclass(frozen=True)
class Ran:
    """How one run ended, and what it recorded."""

    code: int
    said: str
    verdict: dict[str, Any]
    events: list[str]


def shortened(name: str) -> str:
    """The experiment with its faults for 12 s: the same in all that it expects."""
    text = (ROOT / "chaos" / f"{name}.py").read_text(encoding="utf-8")
    text = re.sub(r"\n    duration_seconds=\d+", "\n    duration_seconds=12", text)
    text = text.replace("duration_seconds=9", "duration_seconds=5")
    return text.replace("start_seconds=10", "start_seconds=6")


def impossible(first: str) -> str:
    """`gateway_truncated` with one more expectation, the first of its window."""
    before, found, after = shortened("gateway_truncated").partition(first.partition("(")[0] + "(")
    assert found
    return before + first + after


def start(name: str, text: str, folder: Path) -> subprocess.Popen[str]:
    file = folder / f"{name}.py"
    file.write_text(text, encoding="utf-8")
    parameters = [f"--param={key}={value}" for key, value in SHORT.items()]
    return subprocess.Popen(
        [
            sys.executable, "-m", "launchday", "run", "evening_commute", "--local", "--json",
            f"--experiment={file}", f"--runs={folder / name}", *parameters,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **PATIENT, "XDG_STATE_HOME": str(folder)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Ran]]:
    """All runs at once: they mostly wait."""
    folder = tmp_path_factory.mktemp("runs")
    texts = {name: shortened(name) for name in HOLD}
    texts |= {"unsteady": impossible(NEVER_STEADY), "unmeasured": impossible(NO_SUCH_METRIC)}
    started = {name: start(name, text, folder) for name, text in texts.items()}
    results = {}
    try:
        for name, process in started.items():
            out, said = process.communicate(timeout=300)
            (run,) = (folder / name).iterdir()
            events = [str(line["event"]) for line in read_lines(run / FAULTS_FILE)]
            verdict = json.loads((run / "verdict.json").read_text(encoding="utf-8"))
            results[name] = Ran(process.returncode, said + out, verdict, events)
        yield results
    finally:
        for process in started.values():
            process.kill()
            process.wait()


@pytest.mark.parametrize("name", HOLD)
def test_an_experiment_holds_on_the_reference_backend(ran: dict[str, Ran], name: str) -> None:
    """Others, with their numbers, were run by hand: docs/experiments.md."""
    run = ran[name]
    assert run.code == 0, run.said
    assert run.verdict["hypothesis"]["recovery_held"]
    assert all(each["held"] for each in run.verdict["hypothesis"]["judged"])
    assert run.events.count("applied") == run.events.count("undone") >= 1


def test_nothing_is_injected_into_a_target_that_is_not_steady(ran: dict[str, Ran]) -> None:
    run = ran["unsteady"]
    assert (run.code, run.verdict["exit_code"]) == (3, 3), run.said
    assert set(run.events) == {"planned", "not_steady"}
    assert "No fault was injected. Before the faults: p50 seconds" in run.verdict["reasons"][0]


def test_a_metric_that_the_target_does_not_have_is_never_green(ran: dict[str, Ran]) -> None:
    run = ran["unmeasured"]
    assert (run.code, run.verdict["outcome"]) == (2, "inconclusive"), run.said
    assert any("the target has no such metric" in reason for reason in run.verdict["reasons"])
