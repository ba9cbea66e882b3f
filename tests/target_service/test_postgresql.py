"""The same backend on PostgreSQL, and what happens when the database goes away."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

VIN = "LAUNCHDAY00000004"


def _programs() -> Path:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("initdb")
    for folder in [*folders, *([Path(found).resolve().parent] if found else [])]:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    pytest.skip("no PostgreSQL server programs on this machine")


class Postgres:
    """A throw-away cluster; a user that is not root runs it, as PostgreSQL demands."""

    def __init__(self, folder: Path) -> None:
        self.programs = _programs()
        self.folder = folder
        self.prefix: list[str] = []
        if os.geteuid() == 0:
            if not shutil.which("setpriv"):
                pytest.skip("PostgreSQL does not run as root and there is no setpriv")
            self.prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
            os.chown(folder, 65534, 65534)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"postgresql://car@127.0.0.1:{self.port}/postgres"
        self.run("initdb", "-U", "car", "-A", "trust", "--no-sync", "-D", f"{folder}/data")
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -k {folder}"
        self.options = f"{options} -c max_connections=20"

    def run(self, program: str, *arguments: str) -> None:
        command = [*self.prefix, str(self.programs / program), *arguments]
        with (self.folder / "out").open("a") as out:
            done = subprocess.run(
                command, stdout=out, stderr=out, cwd=self.folder, timeout=60, check=False
            )
        if done.returncode:
            pytest.skip(f"{program} failed: {(self.folder / 'out').read_text()[-300:]}")

    def start(self) -> None:
        log = f"{self.folder}/log"
        self.run(
            "pg_ctl", "-D", f"{self.folder}/data", "-l", log, "-o", self.options, "-w", "start"
        )

    def stop(self) -> None:
        self.run("pg_ctl", "-D", f"{self.folder}/data", "-m", "immediate", "-w", "stop")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    # Not below pytest's own folder: that one is closed to the user that runs the server.
    folder = Path("/tmp") / f"launchday-pg-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    try:
        server = Postgres(folder)
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def target(start: Any, gateway: Any, postgres: Postgres) -> Any:
    return start("target_service", TARGET_DATABASE_URL=postgres.url, TARGET_GATEWAY_URL=gateway.url)


def key() -> dict[str, str]:
    return {"idempotency-key": str(uuid.uuid4())}


def test_everything_works_on_postgresql(start: Any, target: Any, postgres: Postgres) -> None:
    headers = key()
    answers = [target.http.post("/v1/reservations", headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content
    assert answers[1].headers["idempotency-replayed"] == "true"
    assert target.http.post(f"/v1/vehicles/{VIN}/commands/unlock").json()["state"] == "done"
    assert target.http.get(f"/v1/vehicles/{VIN}/state").json()["locked"] is False
    assert target.http.get("/readyz").status_code == 200
    # A second replica on the same database sees the reservation, and both stay up.
    other = start("target_service", TARGET_DATABASE_URL=postgres.url)
    replay = other.http.post("/v1/reservations", headers=headers)
    assert replay.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("path", ["vehicles/%00/state", "reservations/a%00b", "commands/%00"])
def test_an_id_that_postgresql_cannot_take_is_a_404(target: Any, path: str) -> None:
    answer = target.http.get(f"/v1/{path}")
    assert (answer.status_code, answer.json()["reason"]) == (404, "not_found")
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_database_that_goes_away_is_a_503_and_comes_back(
    target: Any, postgres: Postgres, eventually: Any
) -> None:
    headers = key()
    unlock = f"/v1/vehicles/{VIN}/commands/unlock"
    assert target.http.post("/v1/reservations", headers=headers).status_code == 201
    assert target.http.post(unlock).status_code == 200
    postgres.stop()
    for _ in range(3):
        answer = target.http.post("/v1/reservations", headers=key())
        assert answer.status_code == 503
        assert answer.json()["reason"] == "dependency"
        assert int(answer.headers["retry-after"]) >= 1
        assert target.http.get("/readyz").status_code == 503
    assert target.http.get("/healthz").status_code == 200
    # The car is known and needs no database: the door opens.
    assert target.http.post(unlock).status_code == 200
    postgres.start()
    eventually(lambda: target.http.get("/readyz").status_code == 200)
    again = target.http.post("/v1/reservations", headers=headers)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert "Traceback" not in target.log.read_text()


def test_a_pool_larger_than_the_database_allows_is_refused_at_start(
    start: Any, postgres: Postgres
) -> None:
    with pytest.raises(AssertionError) as refused:
        start("target_service", TARGET_DATABASE_URL=postgres.url, TARGET_DATABASE_POOL="30")
    words = "TARGET_DATABASE_POOL: 30 is not allowed: the database accepts 20 connections"
    assert words in str(refused.value)
