"""Starting and stopping: one line when ready, one line when not, no tracebacks, exit codes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ports import free_port
from tests.target_service.processes import FREE_PORTS, environment

STATE = "/v1/vehicles/LAUNCHDAY00000000/state"


def run(module: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module],
        env=environment(**{**FREE_PORTS, **settings}),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"TARGET_SLOTS": "0"}, "TARGET_SLOTS: '0' is not allowed"),
        ({"TARGET_DATABASE_URL": "sqlite:////no/such/car.db"}, "no database there: unable to open"),
        (
            {
                "TARGET_DATABASE_URL": "postgresql://u:secret@127.0.0.1:1/d",
                "TARGET_DATABASE_WAIT_SECONDS": "0",
            },
            "TARGET_DATABASE_URL: no database there",
        ),
        ({"TARGET_HOST": "203.0.113.1"}, "cannot listen on 203.0.113.1:0"),
    ],
    ids=["setting", "file", "server", "host"],
)
def test_what_cannot_start_says_why_in_one_line(
    settings: dict[str, str], words: str, tmp_path: Path
) -> None:
    done = run("target_service", tmp_path, **settings)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert words in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("module", "prefix", "which"),
    [
        ("target_service", "TARGET", "PORT"),
        ("target_service.gateway", "GATEWAY", "METRICS_PORT"),
    ],
)
def test_a_taken_port_is_refused_in_one_line(
    module: str, prefix: str, which: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run(module, tmp_path, **{f"{prefix}_{which}": port})
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"cannot listen on 127.0.0.1:{port} (Address already in use): "
        f"change {prefix}_{which.removesuffix('PORT')}HOST or {prefix}_{which}"
    ]


def test_while_its_database_is_away_it_answers_and_says_so_and_stops_when_told_to(
    tmp_path: Path, eventually: Any
) -> None:
    port, nowhere = free_port(), free_port()
    settings = {
        **FREE_PORTS,
        "TARGET_PORT": str(port),
        "TARGET_DRAIN_DELAY_SECONDS": "300",  # not when there is nobody to notice it
        "TARGET_DATABASE_URL": f"postgresql://u:secret@127.0.0.1:{nowhere}/d",
    }
    log = tmp_path / "log"
    with log.open("w") as stderr:
        command = [sys.executable, "-m", "target_service"]
        target = subprocess.Popen(command, env=environment(**settings), stderr=stderr)
    try:
        eventually(lambda: "waiting for the database" in log.read_text())
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            assert http.get("/healthz").status_code == 200
            assert http.get("/readyz").status_code == 503
            refused = http.get(STATE)
        target.send_signal(signal.SIGTERM)
        assert target.wait(30) == 0
    finally:
        target.kill()
        target.wait()
    assert (refused.status_code, refused.headers["unavailable-cause"]) == (503, "dependency")
    assert refused.json()["dependency"] == "database"
    assert f"127.0.0.1:{nowhere}" in log.read_text()
    assert "secret" not in log.read_text()
    assert "ready on" not in log.read_text()


def test_sigterm_ends_an_idle_target_with_code_0(start: Any, sign_in: Any) -> None:
    target = start("target_service")
    owner = sign_in(target)
    keyed = {**owner, "idempotency-key": "k"}
    assert target.http.post("/v1/reservations", headers=keyed, json={"model": "coupe"}).is_success
    assert target.http.get(STATE, headers=owner).is_success
    assert target.stop(signal.SIGTERM) == 0
    assert len(target.log.read_text().splitlines()) == 1, target.log.read_text()


def test_ctrl_c_ends_the_gateway_with_code_0_and_a_misspelt_setting_was_named(start: Any) -> None:
    gateway = start("target_service.gateway", GATEWAY_LATENCY="1")
    assert gateway.http.get("/healthz").is_success
    assert gateway.stop(signal.SIGINT) == 0
    misspelt, ready = gateway.log.read_text().splitlines()
    assert "GATEWAY_LATENCY is not a setting" in misspelt
    assert "gateway ready on" in ready


def test_sigterm_under_load_answers_everybody_and_ends_soon(
    start: Any, sign_in: Any, eventually: Any
) -> None:
    target = start(
        "target_service",
        TARGET_SHEDDING="off",
        TARGET_SLOTS="1",
        TARGET_SERVICE_MEAN_SECONDS_BY_ROUTE='{"state": 60}',
        TARGET_SERVICE_CV="0",
        TARGET_DRAIN_SECONDS="1",
    )
    owner = sign_in(target)

    def look(_: int) -> httpx.Response:
        return httpx.get(target.url + STATE, headers=owner, timeout=90, trust_env=False)

    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(look, number) for number in range(20)]
        eventually(lambda: target.metric("car_slots_waiting") == 19)
        # Far less than the service time: it did not wait for the requests.
        target.popen.send_signal(signal.SIGTERM)
        assert target.popen.wait(30) == 0
        answers = [future.result() for future in waiting]
    assert {(answer.status_code, answer.json()["reason"]) for answer in answers} == {
        (503, "draining")
    }
    assert all(answer.headers["unavailable-cause"] == "maintenance" for answer in answers)
    assert "Traceback" not in target.log.read_text()


def test_a_second_start_on_the_same_database_keeps_the_fleet_and_adds_to_it(
    start: Any, sign_in: Any, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'car.db'}"
    first = start("target_service", TARGET_DATABASE_URL=url, TARGET_FLEET_SIZE="5")
    owner = sign_in(first, 4)
    vehicles = first.http.get("/v1/vehicles", headers=owner).json()
    assert first.stop() == 0
    second = start("target_service", TARGET_DATABASE_URL=url, TARGET_FLEET_SIZE="2500")
    assert second.http.get("/v1/vehicles", headers=owner).json() == vehicles
    assert sign_in(second, 2499)


@pytest.mark.parametrize("module", ["target_service", "target_service.gateway"])
def test_an_argument_starts_nothing_and_says_where_the_settings_are(
    module: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "there are no arguments: settings are the environment variables" in done.stderr
    assert list(tmp_path.iterdir()) == []
