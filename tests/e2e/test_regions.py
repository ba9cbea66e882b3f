"""Three stacks of one machine, three regions: what happens to one happens to it alone."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from launchday.chaos.experiment import Experiment, load_experiment
from launchday.chaos.inject import injected
from launchday.chaos.toxiproxy import Toxiproxy
from launchday.ledger import STORED_FILE
from launchday.outcomes import Outcome
from launchday.record import Record, RunInfo, absorb_samples_line, read_lines
from launchday.runs.audit import audit_record
from launchday.runs.processes import Processes
from launchday.runs.stack import LocalStack, RunningStack, running
from launchday.runs.stop import Stop
from tests.e2e.support import ROOT, environment, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

REGIONS = ("us", "eu", "cn")
OTHERS = ("us", "cn")
SHORT = [
    "--rps=45", "--quiet-seconds=2", "--peak-seconds=6", "--tail-seconds=6", "--owners=6",
    "--request-timeout-seconds=5",
]  # fmt: skip
FAULT_BEGINS, FAULT_ENDS, END = 3, 8, 14  # seconds of the schedule
MARGIN_SECONDS = 2  # what was meant to start near an end of the fault may be on either side


@dataclass(frozen=True)
class Evening:
    """What the test's run left behind."""

    path: Path
    record: Record
    statuses_after: dict[str, int]
    status_during: int | None

    def outcomes(self, region: str, seconds: range) -> Counter[Outcome]:
        counts: Counter[Outcome] = Counter()
        for (second, endpoint, _, outcome), cell in self.record.cells.items():
            if second in seconds and endpoint.startswith(f"{region} "):
                counts[Outcome(outcome)] += cell.count
        return counts


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Evening:
    path = tmp_path_factory.mktemp("regions")
    experiment = load_experiment("region_down", ROOT / "chaos")
    stack = LocalStack(regions=REGIONS)
    with Processes(path / "logs") as processes, running(stack, processes, Stop()) as started:
        sessions = {region: sign_in(url, region) for region, url in started.edges.items()}
        command = [
            *(sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles/three_regions.py")),
            *("--headless", "--only-summary", "--exit-code-on-error=0"),
            *("--host", started.target_url),
            *("--launchday-record", str(path), *SHORT),
        ]
        env = environment(LAUNCHDAY_REGIONS=started.regions)
        generator = processes.start("generator", command, env=env, cwd=path)
        wait_for(lambda: read_samples(path).schedules)
        status_during = fault(experiment, started, read_samples(path).schedules[0].epoch_unix)
        statuses_after = {
            region: httpx.get(f"{url}/v1/vehicles", headers=sessions[region]).status_code
            for region, url in started.edges.items()
        }
        wait_for(lambda: not generator.running)
        assert generator.exit_code == 0, generator.log.read_text()
        write_ledger_of_all(path, started)
    return Evening(path, read_samples(path), statuses_after, status_during)


def fault(experiment: Experiment, started: RunningStack, epoch_unix: float) -> int | None:
    """Inject it at its time; what a client of the region gets meanwhile, None for no answer."""
    time.sleep(max(0.0, epoch_unix + FAULT_BEGINS - time.time()))
    events: list[Any] = []
    with (
        closing(Toxiproxy(started.toxiproxy_url)) as toxiproxy,
        injected(toxiproxy, experiment, events.append, run_id="regions", owned=True),
    ):
        time.sleep(max(0.0, epoch_unix + FAULT_ENDS - time.time()))
        try:
            status = httpx.get(f"{started.edges['eu']}/healthz").status_code
        except httpx.TransportError:
            status = None
    assert [event["event"] for event in events] == ["applied", "verified", "undone"]
    return status


def sign_in(url: str, region: str) -> dict[str, str]:
    email = f"owner9@{region}.example"
    password = hashlib.sha256(f"launchday:1:{email}".encode()).hexdigest()[:32]
    answer = httpx.post(f"{url}/v1/sessions", json={"email": email, "password": password})
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def read_samples(path: Path) -> Record:
    record = Record(path, RunInfo("x", "three_regions", "", 0.0), [], 0, {}, {}, [], [])
    for samples in path.glob("samples-*.jsonl"):
        for line in read_lines(samples):
            absorb_samples_line(record, line)
    return record


def write_ledger_of_all(path: Path, started: RunningStack) -> None:
    """What the conductor asks one target, asked of every region."""
    headers = {"Authorization": f"Bearer {started.admin_token}"}
    lines: list[dict[str, Any]] = []

    def settled() -> bool:
        lines.clear()
        for url in started.targets.values():
            text = httpx.get(f"{url}/admin/ledger", headers=headers).text
            lines.extend(json.loads(line) for line in text.splitlines())
        return not any(line.get("state") == "pending" for line in lines)

    wait_for(settled)
    things = [line for line in lines if line["kind"] != "end"]
    assert len(lines) == len(things) + len(REGIONS), "every region's ledger is whole"
    asked = {"kind": "asked", "since_unix": 0, "exclusive": True}
    whole = [asked, *things, {"kind": "end", "lines": len(things)}]
    (path / STORED_FILE).write_text("".join(json.dumps(line) + "\n" for line in whole))


def share_served(counts: Counter[Outcome]) -> float:
    # Slow is what a busy machine makes of it; it was served all the same.
    assert counts.total() >= 20
    return (counts[Outcome.OK] + counts[Outcome.SLOW]) / counts.total()


@pytest.mark.parametrize("region", OTHERS)
def test_the_regions_that_are_up_do_not_notice(evening: Evening, region: str) -> None:
    assert share_served(evening.outcomes(region, range(END + 1))) >= 0.999


def test_the_region_that_is_down_fails_and_comes_back(evening: Evening) -> None:
    assert evening.status_during is None
    before = evening.outcomes("eu", range(FAULT_BEGINS - MARGIN_SECONDS + 1))
    during = evening.outcomes("eu", range(FAULT_BEGINS + MARGIN_SECONDS, FAULT_ENDS))
    after = evening.outcomes("eu", range(FAULT_ENDS + MARGIN_SECONDS, END + 1))
    assert share_served(before) == 1
    assert during[Outcome.CONNECTION] == during.total() >= 20
    assert share_served(after) == 1


def test_no_session_is_lost_by_it(evening: Evening) -> None:
    assert evening.statuses_after == dict.fromkeys(REGIONS, 200)
    everything = evening.outcomes("eu", range(END + 1))
    assert everything[Outcome.CLIENT_ERROR] == 0


def test_nothing_is_lost_nothing_is_doubled_in_all_regions_together(evening: Evening) -> None:
    audit = audit_record(evening.path)
    assert audit.clean, audit
