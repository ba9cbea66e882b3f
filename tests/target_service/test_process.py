"""Starting and stopping: one line when ready, one line when not, no tracebacks, exit codes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]


def run(module: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TARGET_", "GATEWAY_"))}
    return subprocess.run(
        [sys.executable, "-m", module],
        env={**kept, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", **settings},
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
            {"TARGET_DATABASE_URL": "postgresql://u:secret@127.0.0.1:1/d"},
            "TARGET_DATABASE_URL: no database there",
        ),
        ({"TARGET_HOST": "203.0.113.1"}, "cannot listen on 203.0.113.1:0"),
    ],
    ids=["setting", "file", "server", "host"],
)
def test_what_cannot_start_says_why_in_one_line(
    settings: dict[str, str], words: str, tmp_path: Path
) -> None:
    ports = {"TARGET_PORT": "0", "TARGET_METRICS_PORT": "0"}
    done = run("target_service", tmp_path, **{**ports, **settings})
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
        ports = {f"{prefix}_PORT": "0", f"{prefix}_METRICS_PORT": "0", f"{prefix}_{which}": port}
        done = run(module, tmp_path, **ports)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"cannot listen on 127.0.0.1:{port} (Address already in use): "
        f"change {prefix}_{which.removesuffix('PORT')}HOST or {prefix}_{which}"
    ]


def test_sigterm_ends_an_idle_target_with_code_0(start: Any) -> None:
    target = start("target_service")
    assert target.http.post("/v1/reservations", headers={"idempotency-key": "k"}).is_success
    assert target.http.get("/v1/vehicles/LAUNCHDAY00000001/state").is_success
    assert target.stop(signal.SIGTERM) == 0
    assert len(target.log.read_text().splitlines()) == 1, target.log.read_text()


def test_ctrl_c_ends_the_gateway_with_code_0_and_a_misspelt_setting_was_named(start: Any) -> None:
    gateway = start("target_service.gateway", GATEWAY_LATENCY="1")
    assert gateway.http.get("/healthz").is_success
    assert gateway.stop(signal.SIGINT) == 0
    misspelt, ready = gateway.log.read_text().splitlines()
    assert "GATEWAY_LATENCY is not a setting" in misspelt
    assert "gateway ready on" in ready


def test_sigterm_under_load_ends_soon_without_tracebacks(start: Any, eventually: Any) -> None:
    target = start(
        "target_service",
        TARGET_SHEDDING="off",
        TARGET_SLOTS="1",
        TARGET_SERVICE_MEAN_SECONDS="30",
        TARGET_SERVICE_CV="0",
    )

    def look(_: int) -> None:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"{target.url}/v1/vehicles/LAUNCHDAY00000001/state", timeout=30)

    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(look, number) for number in range(20)]
        eventually(lambda: target.metric("car_slots_waiting") == 19)
        # Far less than the service time of 30 s: it did not wait for the requests.
        target.popen.send_signal(signal.SIGTERM)
        assert target.popen.wait(15) == 0
        for future in waiting:
            future.result()
    assert "Traceback" not in target.log.read_text()


def test_a_second_start_on_the_same_database_keeps_the_fleet(start: Any, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'car.db'}"
    first = start("target_service", TARGET_DATABASE_URL=url, TARGET_FLEET_SIZE="5")
    assert first.http.get("/v1/vehicles/LAUNCHDAY00000005/state").status_code == 404
    assert first.stop() == 0
    second = start("target_service", TARGET_DATABASE_URL=url, TARGET_FLEET_SIZE="2500")
    for vin in ("LAUNCHDAY00000000", "LAUNCHDAY00002499"):
        assert second.http.get(f"/v1/vehicles/{vin}/state").status_code == 200
