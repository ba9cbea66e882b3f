"""Measure, plan and validate, live: two slots of 50 ms, on whatever machine this is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support import launchday

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CURVE = [
    *("-p", "from_rps=5"), *("-p", "to_rps=50"), *("-p", "steps=8"), *("-p", "step_seconds=25"),
]  # fmt: skip
# So few requests prove no thousandth.
SLO = ["--slo", "p99=600ms", "--shed", "10%", "--errors", "10%"]


def document(path: Path) -> dict[str, Any]:
    found = json.loads((path / "capacity.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def test_a_plan_is_validated_refuted_or_nobody_can_tell_and_it_says_which(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    launchday("run", "breakpoint", "--local", *CURVE, "--runs", str(runs))
    (record,) = runs.iterdir()
    done = launchday(
        *("plan", str(record), *SLO, "--validate", "--validate-seconds", "15"),
        *("--runs", str(runs)),
    )
    words = done.stdout + done.stderr
    assert "Traceback" not in words
    if done.returncode == 2:  # a busy machine: then it says why, and claims nothing
        assert "No plan" in words or "could not tell" in words
        assert document(record)["status"] == "UNVALIDATED"
        return
    made = document(record)
    assert made["status"] == ("VALIDATED" if done.returncode == 0 else "REFUTED")
    assert made["status"] in done.stdout
    assert {row["what"] for row in made["validations"]} >= {"goodput"}
    proved = made["found"]["proved"]["value"]
    rates = sorted(row["rps"] for row in made["validations"])
    assert rates[-1] == pytest.approx(proved, rel=0.15)
    (validation,) = set(runs.iterdir()) - {record}
    again = launchday("plan", str(record), *SLO, "--against", str(validation))
    assert again.returncode == done.returncode
    own = launchday("plan", str(record), *SLO, "--against", str(record))
    assert own.returncode == 2
    assert "made from this record" in own.stdout
