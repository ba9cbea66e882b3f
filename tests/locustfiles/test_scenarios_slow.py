"""Scenarios with worker processes, in the web UI, and through `launchday run`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from launchday.metric_names import CRITICALITIES
from launchday.outcomes import Outcome
from launchday.record import read_record
from launchday.runs.audit import audit_record
from launchday.timeline import whole
from tests.e2e.support import launchday, start
from tests.locustfiles.generators import FEW, SMALL, Generator, endpoints, outcomes
from tests.ports import free_port
from tests.target_service.processes import ADMIN, ADMIN_TOKEN, FAST, FREE_PORTS, Process, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TOKEN = {"LAUNCHDAY_TARGET__ADMIN_TOKEN": ADMIN_TOKEN}


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Process]:
    gateway = Process("target_service.gateway", tmp_path / "gateway", FREE_PORTS)
    settings = {
        **FREE_PORTS,
        **FAST,
        "TARGET_GATEWAY_URL": gateway.url,
        "TARGET_ADMIN_TOKEN": ADMIN_TOKEN,
        "TARGET_SHEDDING": "off",  # a machine that is busy must not make it refuse
        "TARGET_DATABASE_URL": f"sqlite:///{tmp_path / 'car.db'}",
    }
    started = Process("target_service", tmp_path / "target", settings)
    yield started
    started.close()
    gateway.close()


def common(target: Process) -> list[str]:
    return ["--host", target.url, *FEW, "--fleet-size=20", "--request-timeout-seconds=5"]


def two_processes() -> list[str]:
    port = str(free_port())  # Locust's own may be another test's
    bind = ["--master-bind-host", "127.0.0.1", "--master-bind-port", port]
    workers = ["--processes=2", "--master-port", port, *bind]
    return ["--headless", "--exit-code-on-error=0", *workers]


def test_worker_processes_share_the_schedule_and_the_master_adds_up_how_journeys_ended(
    target: Process, tmp_path: Path
) -> None:
    names = ("evening_commute", "reconnect_storm")
    running = [
        Generator(
            name,
            [*two_processes(), "--only-summary", *common(target), *SMALL[name]],
            tmp_path / name,
        )
        for name in names
    ]
    for generator in running:
        assert generator.finish().process.returncode == 0, generator.output
        assert "Traceback" not in generator.output
        record = generator.record
        assert record.complete
        assert len(record.schedules) == 2
        started = sum(each.started for each in record.arrivals.values())
        assert sum(generator.endings.values()) == started > 0
        assert not outcomes(record) & {"client_error", "server_error", "invalid", "throttled"}
        classes = endpoints(record)
        classes.pop("status", None)
        assert set.union(*classes.values()) <= set(CRITICALITIES)


def test_an_announced_window_closes_the_doors_for_its_phase_and_no_longer(
    target: Process, tmp_path: Path
) -> None:
    curve = [
        *("--baseline-rps=15", "--multiple=3", "--trying-share=1", "--quiet-seconds=2"),
        *("--window-seconds=3", "--rise-seconds=0", "--peak-seconds=3", "--decay-seconds=1"),
        *("--tail-seconds=0", "--retry-policy=none", "--pull-share=0", "--restart-share=0"),
    ]
    arguments = [*two_processes(), *common(target), *curve]
    generator = Generator("maintenance_return", arguments, tmp_path / "run", TOKEN).finish()
    assert generator.process.returncode == 0, generator.output
    record = generator.record
    closed = dict.fromkeys(range(10), 0)
    served = dict(closed)
    for (second, endpoint, _, outcome), cell in record.cells.items():
        if endpoint not in ("status", "unlock"):
            closed[second] += cell.count if outcome == Outcome.MAINTENANCE else 0
            served[second] += cell.count if outcome in ("ok", "slow") else 0
    assert closed[3] + closed[4] > 10, "the whole window"
    assert served[3] == 0
    assert closed[0] == closed[1] == closed[6] == closed[7] == 0
    assert min(served[0] + served[1], served[6] + served[7]) > 10
    assert generator.endings["watch_status: done"] > 0, "the status page stays open"
    assert target.http.get("/admin/maintenance", headers=ADMIN).json()["phase"] == "none"


def test_a_token_that_the_target_does_not_take_is_refused_before_there_is_load(
    target: Process, tmp_path: Path
) -> None:
    wrong = {"LAUNCHDAY_TARGET__ADMIN_TOKEN": "not-the-admin-token-of-it"}
    arguments = ["--headless", *common(target), *SMALL["maintenance_return"]]
    generator = Generator("maintenance_return", arguments, tmp_path / "run", wrong).finish()
    assert generator.process.returncode == 2
    (line,) = [line for line in generator.output.splitlines() if "ERROR" in line]
    assert "cannot be asked with it (it answers 401)" in line
    assert "Traceback" not in generator.output


def test_stopped_in_the_web_ui_it_opens_the_doors_again(target: Process, tmp_path: Path) -> None:
    port = free_port()
    where = ["--web-host", "127.0.0.1", "--web-port", str(port)]
    curve = ["--baseline-rps=10", "--quiet-seconds=1", "--window-seconds=60"]
    arguments = [*where, *common(target), *curve]
    generator = Generator("maintenance_return", arguments, tmp_path / "run", TOKEN)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as ui:
        try:
            eventually(lambda: answers(ui))
            form = {"host": target.url, "shares_maintenance": "look=1"}
            assert ui.post("/swarm", data=form).json()["success"]
            eventually(lambda: phase_of(target) == "closed")
            assert ui.post("/stop").json()["success"]
            eventually(lambda: phase_of(target) == "none")
        finally:
            generator.process.terminate()
            generator.finish()
    assert "Traceback" not in generator.output


def answers(ui: httpx.Client) -> bool:
    try:
        return ui.get("/").status_code == 200
    except httpx.TransportError:
        time.sleep(0.2)
        return False


def phase_of(target: Process) -> str:
    return str(target.http.get("/admin/maintenance", headers=ADMIN).json()["phase"])


RUNS: dict[str, dict[str, object]] = {
    "reconnect_storm": {
        "owners": 12, "baseline_rps": 12, "clients": 200, "quiet_seconds": 4, "blackout_seconds": 1,
        "jitter_seconds": 2, "backlog_seconds": 3, "tail_seconds": 1, "pull_share": 0.3,
        "shares_peak": "reserve=4,unlock=3,cold_start=2,charge=1",
    },
    "breakpoint": {
        "owners": 12, "from_rps": 10, "to_rps": 70, "steps": 8, "step_seconds": 7,
        "rise_seconds": 0,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, int, str]]:
    """By scenario: the record, the exit code and the words of `launchday run --local`.

    Both at once: with a capacity of 40 requests a second neither needs much of the machine.
    """
    home = tmp_path_factory.mktemp("runs")
    started = {}
    for name, values in RUNS.items():
        parameters = [part for pair in values.items() for part in ("-p", "{}={}".format(*pair))]
        directory = str(home / name)
        started[name] = start("run", name, "--local", "--runs", directory, *parameters)
    found = {}
    for name, process in started.items():
        output, _ = process.communicate(timeout=180)
        assert (home / name).exists(), output
        (path,) = (home / name).iterdir()
        found[name] = (path, process.returncode, output)
    return found


def test_a_storm_with_retries_loses_nothing_and_doubles_nothing(
    runs: dict[str, tuple[Path, int, str]],
) -> None:
    path, code, output = runs["reconnect_storm"]
    assert code in (0, 1, 2, 3), output  # how well it held is not what this is about
    record = read_record(path)
    assert record.info.ended == "completed"
    everything = whole(record)
    assert everything.outcomes[Outcome.SHED] > 0, "a capacity of 40 a second is not enough"
    assert everything.with_retry_after == everything.answers_503
    assert everything.outcomes[Outcome.CLIENT_ERROR] == 0
    audit = audit_record(path)
    assert audit.keys > 50
    assert audit.clean, audit


def test_the_record_of_the_breakpoint_is_what_a_plan_is_made_of(
    runs: dict[str, tuple[Path, int, str]],
) -> None:
    path, code, output = runs["breakpoint"]
    assert code in (0, 1, 2), output
    plan = launchday("plan", str(path), "--forecast", "200")
    words = plan.stdout + plan.stderr
    if plan.returncode == 2:  # on a busy machine: steps without a generator that kept up are none
        assert "generator" in words + output or "distinct load" in words
        return
    assert plan.returncode == 0, words
    assert "replica" in plan.stdout
