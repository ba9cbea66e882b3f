"""Runs scenarios with plain Locust, in seconds, and reads what they say and record."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from launchday.record import Record, RunInfo, read_record, write_run_info
from tests.target_service.processes import ROOT

SMALL = {
    "launch_day": [
        *("--baseline-rps=12", "--multiple=3", "--quiet-seconds=1", "--rise-seconds=0.5"),
        *("--peak-seconds=1", "--decay-seconds=0.5", "--tail-seconds=0.5"),
    ],
    "regional_incident": [
        *("--baseline-rps=12", "--multiple=3", "--quiet-seconds=1", "--rise-seconds=0"),
        *("--peak-seconds=1.5", "--decay-seconds=1", "--tail-seconds=0"),
    ],
    "reconnect_storm": [
        *("--baseline-rps=10", "--clients=40", "--backlog-multiple=3", "--quiet-seconds=1"),
        *("--blackout-seconds=0.5", "--jitter-seconds=1", "--backlog-seconds=2"),
        "--tail-seconds=0",
    ],
    "maintenance_return": [
        *("--baseline-rps=15", "--multiple=3", "--quiet-seconds=1", "--window-seconds=1.5"),
        *("--rise-seconds=0", "--peak-seconds=1", "--decay-seconds=0.5", "--tail-seconds=0"),
    ],
    "shared_deadline": [
        *("--baseline-rps=12", "--clients=40", "--quiet-seconds=1", "--spread-seconds=0.5"),
        *("--between-seconds=1", "--deadlines=2"),
    ],
    "app_release": [
        *("--baseline-rps=15", "--quiet-seconds=1", "--step-seconds=1", "--peak-seconds=1.5"),
        *("--rise-seconds=0", "--steps=2"),
    ],
    "evening_commute": [
        *("--baseline-rps=20", "--quiet-seconds=1", "--rise-seconds=1", "--peak-seconds=1"),
        *("--decay-seconds=1", "--tail-seconds=0"),
    ],
    "midnight_charging": [
        *("--baseline-rps=10", "--cars=40", "--quiet-seconds=1", "--spread-seconds=1"),
        "--charging-seconds=2",
    ],
    "breakpoint": [
        *("--from-rps=15", "--to-rps=30", "--steps=2", "--step-seconds=2", "--rise-seconds=0"),
    ],
}  # every scenario, with a curve of four seconds
FEW = ["--owners=8", "--seed=7"]
_TIME_LIMIT_SECONDS = 120


@dataclass
class Generator:
    """A scenario in a Locust process of its own; `finish` waits for its end."""

    scenario: str
    arguments: list[str]
    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    output: str = ""

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.began_unix = time.time()
        # Nothing of the tests' environment is to change what a user sees.
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("LAUNCHDAY_", "LOCUST_"))}
        file = str(ROOT / "locustfiles" / f"{self.scenario}.py")
        recorded = ["--launchday-record", str(self.home)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "locust", "-f", file, *recorded, *self.arguments],
            cwd=self.home,
            env=clean | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self) -> Generator:
        """Wait until it ended by itself."""
        if not self.output:
            self.output, _ = self.process.communicate(timeout=_TIME_LIMIT_SECONDS)
        return self

    def close(self) -> None:
        """End it, if it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    @property
    def endings(self) -> dict[str, int]:
        """How many journeys ended how, as the last lines say: `unlock: degraded` to a number."""
        (line,) = re.findall(r"launchday: journeys: (.*)", self.output)
        return {
            words.rpartition(" ")[0]: int(words.rpartition(" ")[2]) for words in line.split(", ")
        }

    @property
    def record(self) -> Record:
        """What it recorded."""
        write_run_info(self.home, RunInfo("test", self.scenario, "here", self.began_unix))
        return read_record(self.home)


def outcomes(record: Record) -> set[str]:
    """Every outcome that there was."""
    return {outcome for *_, outcome in record.cells}


def endpoints(record: Record) -> dict[str, set[str]]:
    """Every endpoint with the classes that were recorded for it."""
    found: dict[str, set[str]] = {}
    for _, endpoint, criticality, _ in record.cells:
        found.setdefault(endpoint, set()).add(criticality)
    return found
