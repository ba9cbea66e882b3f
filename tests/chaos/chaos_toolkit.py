"""Runs Chaos Toolkit's own command on an experiment, in a directory of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from launchday.chaos.experiment import Experiment
from launchday.chaos.toolkit.export import Surroundings, exported
from tests.chaos.support import DEADLINE_SECONDS

ROOT = Path(__file__).parent.parent.parent


def command() -> str:
    """The path of `chaos`; skips the test without it."""
    here = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    found = shutil.which("chaos", path=here)
    if found is None:
        pytest.skip("Chaos Toolkit is not installed: no `chaos` on PATH")
    return found


@dataclass
class ChaosRun:
    """One `chaos run`, under way or done."""

    process: subprocess.Popen[str]
    directory: Path

    def ended(self) -> str:
        """Wait for its end; what it said."""
        said, _ = self.process.communicate(timeout=3 * DEADLINE_SECONDS)
        return said

    @property
    def journal(self) -> dict[str, Any]:
        """What it wrote about itself."""
        journal: dict[str, Any] = json.loads((self.directory / "journal.json").read_text())
        return journal


def started(document: Mapping[str, Any], directory: Path, *options: str) -> ChaosRun:
    """Start `chaos run` on `document`."""
    path = directory / "experiment.json"
    path.write_text(json.dumps(document))
    process = subprocess.Popen(
        [command(), "--no-version-check", "--no-log-file", "run", *options, str(path)],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "XDG_STATE_HOME": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return ChaosRun(process, directory)


def document(experiment: Experiment, toxiproxy_url: str, target_url: str) -> dict[str, Any]:
    """The exported experiment for one Toxiproxy and one target."""
    around = Surroundings(toxiproxy_url=toxiproxy_url, target_url=target_url)
    return dict(exported(experiment, "test", around).document)
