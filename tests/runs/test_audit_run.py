"""The audit on the wire: a real generator against a target that is faithful, or is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launchday.ledger import read_ledger
from tests.e2e.support import launchday
from tests.runs.faithless import TOKEN, Target, serving

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SCENARIO = """
from locust import task
from launchday.load import Phase, RateCurve
from launchday.load.locust_user import ArrivalUser, SurgeShape

class Steps(SurgeShape):
    def curve(self, options):
        points = ((0, 30), (2, 30), (2, 60), (3, 60))
        return RateCurve(points, (Phase("quiet", 0, 2), Phase("peak", 2, 3)))

class Buyer(ArrivalUser):
    @task
    def buy(self):
        headers = {"Idempotency-Key": self.idempotency_key()}
        self.client.post("/things", headers=headers, name="buy")
"""


def run(tmp_path: Path, target: Target) -> tuple[Path, dict[str, Any], str]:
    """Run the scenario; the run directory, the verdict, and all that was printed."""
    scenario = tmp_path / "buyers.py"
    scenario.write_text(SCENARIO)
    runs = tmp_path / "runs"
    with serving(target):
        arguments = ["--target", target.url, "--runs", str(runs), "--json"]
        done = launchday("run", str(scenario), *arguments, LAUNCHDAY_TARGET__ADMIN_TOKEN=TOKEN)
    (path,) = runs.iterdir()
    verdict = json.loads(done.stdout)
    assert done.returncode == verdict["exit_code"]
    return path, verdict, done.stdout + done.stderr


def audit_check(verdict: dict[str, Any]) -> dict[str, Any]:
    (check,) = (c for c in verdict["checks"] if c["name"] == "nothing lost, nothing doubled")
    return dict(check)


def test_a_faithful_target_is_clean_and_the_token_is_nowhere(tmp_path: Path) -> None:
    path, verdict, printed = run(tmp_path, Target(refuse=10))
    assert audit_check(verdict)["held"] is True
    done = launchday("audit", str(path))
    assert done.returncode == 0
    assert "Nothing lost, nothing doubled, no ghost." in done.stdout
    ledger = read_ledger(path)
    assert len(ledger.told) > 50
    assert len({told.key for told in ledger.told}) == len(ledger.told)
    assert len(ledger.stored) == len(ledger.told) - 1, "one was refused"
    everything = "".join(p.read_text() for p in path.rglob("*") if p.is_file())
    assert TOKEN not in everything + printed


def test_each_word_is_found_and_breaches_whatever_else_the_run_was(tmp_path: Path) -> None:
    target = Target(lose=10, double=20, refuse_but_store=30)
    path, verdict, _ = run(tmp_path, target)
    assert (verdict["outcome"], verdict["exit_code"]) == ("breached", 1)
    assert audit_check(verdict)["held"] is False
    done = launchday("audit", str(path), "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    (lost,), (doubled,), (ghost,) = found["lost"], found["doubled"], found["ghost"]
    assert lost["sentence"] == "told 201 with id id 10 (kept), and nothing is stored"
    assert doubled["sentence"] == "stored 2 times (ids id 20, id 20)"
    assert ghost["sentence"] == "a thing is stored, but every answer refused it: 503 shed"
    words = launchday("audit", str(path))
    assert "1 lost, 1 doubled, 1 ghost" in words.stdout
    assert lost["key"] in words.stdout.replace("\n", "")
    assert "nothing lost, nothing doubled" in (path / "report.html").read_text()
