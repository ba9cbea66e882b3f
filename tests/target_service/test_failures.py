"""When something behind the backend fails, or too many come: bounded, honest, nothing lost."""

from __future__ import annotations

import resource
import signal
import socket
import sqlite3
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from target_service.database.fleet import vin_of
from tests.ports import free_port
from tests.target_service.processes import Process, sign_in

OWNER = 1
VIN = vin_of("us", OWNER)
STATE = f"/v1/vehicles/{VIN}/state"
UNLOCK = f"/v1/vehicles/{VIN}/commands/unlock"
RESERVATIONS = "/v1/reservations"
CLIENTS = 12


def key() -> dict[str, str]:
    return {"idempotency-key": str(uuid.uuid4())}


def client_of(target: Process, number: int = OWNER) -> httpx.Client:
    """The app of one owner, signed in."""
    headers = sign_in(target, number)
    return httpx.Client(base_url=target.url, headers=headers, timeout=30, trust_env=False)


def check_dependency_problem(answer: httpx.Response, dependency: str) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["unavailable-cause"] == "dependency"
    assert int(answer.headers["retry-after"]) >= 1
    assert (answer.json()["reason"], answer.json()["dependency"]) == ("dependency", dependency)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Nobody else can write; in WAL mode everybody can read."""
    with closing(sqlite3.connect(file)) as blocker:
        blocker.execute("BEGIN EXCLUSIVE")
        yield


def stored_keys(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return [key for (key,) in connection.execute("SELECT idempotency_key FROM reservations")]


def executions(gateway: Process, command_id: str) -> int:
    executed: list[str] = gateway.http.get(f"/vehicles/{VIN}/commands").json()["executed"]
    return executed.count(command_id)


@pytest.fixture(scope="module")
def slow_gateway(start: Any) -> Process:
    process: Process = start("target_service.gateway", GATEWAY_LATENCY_SECONDS="1")
    return process


def test_a_slow_gateway_gets_a_promise_and_the_car_executes_once(
    start: Any, slow_gateway: Process, eventually: Any
) -> None:
    url = slow_gateway.url
    target = start("target_service", TARGET_GATEWAY_URL=url, TARGET_GATEWAY_PATIENCE_SECONDS="0.1")
    headers = key()
    where = f"/v1/commands/{headers['idempotency-key']}"
    with client_of(target) as http:
        answer = http.post(UNLOCK, headers=headers)
        assert (answer.status_code, answer.headers["location"]) == (202, where)
        assert answer.json()["command_id"] == headers["idempotency-key"]
        assert answer.json() == http.get(where).json()
        assert answer.json()["state"] == "pending"
        # An impatient owner presses again: the same command, not another one.
        again = http.post(UNLOCK, headers=headers)
        assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
        eventually(lambda: http.get(where).json()["state"] == "done")
        assert executions(slow_gateway, headers["idempotency-key"]) == 1
        assert http.get(STATE).json()["locked"] is False
    assert target.metric("car_commands_total", outcome="pending") == 1


def test_a_promise_that_the_database_does_not_take_is_no_failure(
    start: Any, slow_gateway: Process, eventually: Any, tmp_path: Path
) -> None:
    """The gateway has the command and the car will execute it: a 503 would be a lie."""
    file = tmp_path / "car.db"
    target = start(
        "target_service",
        TARGET_DATABASE_URL=f"sqlite:///{file}",
        TARGET_DATABASE_PATIENCE_SECONDS="0.3",
        TARGET_GATEWAY_URL=slow_gateway.url,
        TARGET_GATEWAY_PATIENCE_SECONDS="0.1",
    )
    headers = key()
    where = f"/v1/commands/{headers['idempotency-key']}"
    with client_of(target) as http:
        with locked(file):
            answer = http.post(UNLOCK, headers=headers)
            assert (answer.status_code, answer.json()["state"]) == (202, "pending")
            assert http.get(where).json()["state"] == "pending"
        eventually(lambda: http.get(where).json().get("state") == "done")
    assert executions(slow_gateway, headers["idempotency-key"]) == 1


def test_a_slow_gateway_does_not_starve_the_slots(start: Any, slow_gateway: Process) -> None:
    target = start(
        "target_service",
        TARGET_GATEWAY_URL=slow_gateway.url,
        TARGET_GATEWAY_PATIENCE_SECONDS="0.8",
        TARGET_SLOTS="1",
        TARGET_SHED_LIMIT="50",
    )
    with client_of(target) as http, ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(http.post, UNLOCK) for _ in range(8)]
        states = [http.get(STATE) for _ in range(5)]
        assert [state.status_code for state in states] == [200] * 5
        assert not any(future.done() for future in waiting), "the gateway answered first"
        assert {future.result().status_code for future in waiting} == {202}


def test_while_the_gateway_is_slow_nobody_waits_in_vain_and_then_answers_are_final_again(
    start: Any, eventually: Any
) -> None:
    settings = {"GATEWAY_SLEEPING_SHARE": "1", "GATEWAY_WAKE_SECONDS": "4"}
    gateway = start("target_service.gateway", **settings)
    target = start(
        "target_service", TARGET_GATEWAY_URL=gateway.url, TARGET_GATEWAY_PATIENCE_SECONDS="1"
    )
    owners = [sign_in(target, number) for number in range(10)]

    def unlock(number: int) -> httpx.Response:
        path = UNLOCK.replace(VIN, vin_of("us", number))
        return httpx.post(target.url + path, headers=owners[number], timeout=30, trust_env=False)

    with ThreadPoolExecutor(5) as pool:
        waited = list(pool.map(unlock, range(5)))
    began_at = time.monotonic()
    told_at_once = [unlock(number) for number in range(5, 10)]
    assert time.monotonic() - began_at < 2.5, "half of what waiting for all would take"
    assert {answer.status_code for answer in (*waited, *told_at_once)} == {202}
    # The cars are awake by and by, and the gateway answers in time.
    eventually(lambda: all(unlock(number).status_code == 200 for number in range(5)))


def test_a_promise_outlives_a_broken_connection(start: Any, eventually: Any) -> None:
    """The gateway hangs, dies and comes back: the promised command is sent again."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        port = hanging.getsockname()[1]
        target = start(
            "target_service",
            TARGET_GATEWAY_URL=f"http://127.0.0.1:{port}",
            TARGET_GATEWAY_PATIENCE_SECONDS="0.1",
            TARGET_COMMAND_TIME_LIMIT_SECONDS="30",
        )
        with client_of(target) as http:
            answer = http.post(UNLOCK, headers=key())
        assert answer.status_code == 202
        hanging.accept()[0].close()
    gateway = start("target_service.gateway", GATEWAY_PORT=str(port))
    with client_of(target) as http:
        eventually(lambda: http.get(answer.headers["location"]).json()["state"] == "done")
    assert gateway.metric("car_gateway_commands_total", outcome="executed") == 1


def test_a_promise_outlives_kill_9(
    start: Any, slow_gateway: Process, eventually: Any, tmp_path: Path
) -> None:
    settings = {
        "TARGET_DATABASE_URL": f"sqlite:///{tmp_path / 'car.db'}",
        "TARGET_GATEWAY_URL": slow_gateway.url,
        "TARGET_GATEWAY_PATIENCE_SECONDS": "0.1",
        "TARGET_COMMAND_TIME_LIMIT_SECONDS": "30",
    }
    target = start("target_service", **settings)
    with client_of(target) as http:
        headers = dict(http.headers)
        answer = http.post(UNLOCK)
    assert answer.status_code == 202
    assert target.stop(signal.SIGKILL) == -signal.SIGKILL
    revived = start("target_service", **settings)

    def state() -> Any:
        return revived.http.get(answer.headers["location"], headers=headers).json()["state"]

    assert state() in ("pending", "done")
    eventually(lambda: state() == "done")
    assert executions(slow_gateway, answer.json()["command_id"]) == 1


def test_a_promise_that_cannot_be_kept_ends_as_failed(start: Any, eventually: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        target = start(
            "target_service",
            TARGET_GATEWAY_URL=f"http://127.0.0.1:{hanging.getsockname()[1]}",
            TARGET_GATEWAY_PATIENCE_SECONDS="0.1",
            TARGET_COMMAND_TIME_LIMIT_SECONDS="0.5",
            TARGET_COMMANDS_IN_FLIGHT="1",
        )
        with client_of(target) as http:
            answer = http.post(UNLOCK)
            assert answer.status_code == 202
            # The number on their way is bounded.
            refused = http.post(UNLOCK)
            assert (refused.status_code, refused.json()["reason"]) == (503, "overload")
            assert refused.headers["unavailable-cause"] == "overload"
            assert int(refused.headers["retry-after"]) >= 1
            where = answer.headers["location"]
            eventually(lambda: http.get(where).json()["state"] == "failed")


def test_without_the_gateway_commands_are_refused_soon_at_once_and_the_rest_works(
    start: Any,
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    target = start("target_service", TARGET_GATEWAY_URL=url)
    with client_of(target) as http:
        for _ in range(7):  # more than it takes to open the circuit breaker
            check_dependency_problem(http.post(UNLOCK), "gateway")
        assert http.get(STATE).json()["stale"] is False
        assert http.post(RESERVATIONS, headers=key()).status_code == 201
    assert target.metric("car_breaker_opened_total", dependency="gateway") >= 1
    labels = {"dependency": "gateway", "outcome": "refused"}
    assert target.metric("car_dependency_seconds_count", **labels) >= 1
    unavailable = {"cause": "dependency", "reason": "gateway"}
    assert target.metric("car_unavailable_total", **unavailable) == 7


def test_a_locked_database_is_a_503_within_bounds_and_heals(
    start: Any, eventually: Any, tmp_path: Path
) -> None:
    file = tmp_path / "car.db"
    target = start(
        "target_service",
        TARGET_DATABASE_URL=f"sqlite:///{file}",
        TARGET_DATABASE_PATIENCE_SECONDS="0.2",
    )
    headers = key()
    with client_of(target) as http:
        known = http.get(STATE).json()
        with locked(file):
            answer = http.post(RESERVATIONS, headers=headers)
            check_dependency_problem(answer, "database")
            assert "sqlite" not in answer.text.lower()
            assert http.get(STATE).json() == known, "readers do not care"
            for _ in range(3):
                check_dependency_problem(http.post(RESERVATIONS, headers=key()), "database")
            assert http.get(STATE).status_code == 200, "fresh, or the last known one"
        eventually(lambda: http.post(RESERVATIONS, headers=headers).status_code == 201)
    assert stored_keys(file).count(headers["idempotency-key"]) == 1


def test_a_full_disk_is_a_503_loses_nothing_and_heals(
    start: Any, eventually: Any, tmp_path: Path
) -> None:
    file = tmp_path / "car.db"
    target = start("target_service", TARGET_DATABASE_URL=f"sqlite:///{file}")
    acknowledged: list[str] = []
    with client_of(target) as http:

        def reserve() -> httpx.Response:
            headers = key()
            answer = http.post(RESERVATIONS, headers=headers)
            if answer.status_code == 201:
                acknowledged.append(headers["idempotency-key"])
            return answer

        assert reserve().status_code == 201
        full = file.with_name("car.db-wal").stat().st_size + 10_000
        old = resource.prlimit(target.popen.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(target.popen.pid, resource.RLIMIT_FSIZE, (full, old[1]))
        eventually(lambda: reserve().status_code == 503)
        check_dependency_problem(reserve(), "database")
        resource.prlimit(target.popen.pid, resource.RLIMIT_FSIZE, old)
        eventually(lambda: reserve().status_code == 201)
    assert set(acknowledged) <= set(stored_keys(file))
    assert "Traceback" not in target.log.read_text()


def test_an_acknowledged_reservation_survives_kill_9(start: Any, tmp_path: Path) -> None:
    file = tmp_path / "car.db"
    url = f"sqlite:///{file}"
    target = start("target_service", TARGET_DATABASE_URL=url, TARGET_SHEDDING="off")
    owner = sign_in(target, OWNER)
    acknowledged: dict[str, bytes] = {}

    def reserve_until_killed(_: int) -> None:
        with httpx.Client(base_url=target.url, trust_env=False, timeout=30) as client:
            while True:
                headers = owner | key()
                try:
                    answer = client.post(RESERVATIONS, headers=headers)
                except httpx.TransportError:
                    return
                assert answer.status_code == 201
                acknowledged[headers["idempotency-key"]] = answer.content
                if len(acknowledged) > 100:
                    target.popen.send_signal(signal.SIGKILL)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(reserve_until_killed, range(8)))
    target.popen.wait(30)
    stored = stored_keys(file)
    assert set(acknowledged) <= set(stored)
    assert len(stored) == len(set(stored))
    revived = start("target_service", TARGET_DATABASE_URL=url)
    for one in list(acknowledged)[:: len(acknowledged) // 10]:
        # With the session from before, too.
        again = revived.http.post(RESERVATIONS, headers=owner | {"idempotency-key": one})
        assert (again.status_code, again.content) == (201, acknowledged[one])
        assert again.headers["idempotency-replayed"] == "true"


def test_above_capacity_the_shedder_refuses_completely_and_protects_the_rest(start: Any) -> None:
    target = start(
        "target_service",
        TARGET_SLOTS="2",
        TARGET_SERVICE_MEAN_SECONDS="0.05",
        TARGET_SHED_LIMIT="3",
    )
    owner = sign_in(target, OWNER)

    def look(_: int) -> list[httpx.Response]:
        with httpx.Client(base_url=target.url, trust_env=False, timeout=30) as client:
            return [client.get(STATE, headers=owner) for _ in range(5)]

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = [answer for each in pool.map(look, range(CLIENTS)) for answer in each]
        assert target.http.get("/healthz").status_code == 200
    refused = [answer for answer in answers if answer.status_code == 503]
    admitted = [answer for answer in answers if answer.status_code == 200]
    assert len(refused) + len(admitted) == 5 * CLIENTS
    assert refused
    assert admitted
    for answer in refused:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["unavailable-cause"] == "overload"
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["reason"] in ("queue_full", "queue_timeout", "priority")
    requests = {"class": "sheddable_plus"}
    assert target.metric("shed_requests_total", **requests, outcome="rejected") == len(refused)
    assert target.metric("shed_requests_total", **requests, outcome="admitted") == len(admitted)
    labels = {"route": "/v1/vehicles/{vin}/state", "method": "GET", "code": "200"}
    assert target.metric("car_requests_total", **labels) == len(admitted)
    assert target.metric("car_slots_busy") == 0


def test_with_the_shedder_off_everybody_waits_and_is_counted(start: Any) -> None:
    target = start("target_service", TARGET_SHEDDING="off", TARGET_SLOTS="1")
    with client_of(target) as http, ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda _: http.get(STATE), range(2 * CLIENTS)))
    assert {answer.status_code for answer in answers} == {200}
    looked = {"class": "sheddable_plus", "outcome": "admitted"}
    assert target.metric("shed_requests_total", **looked) == len(answers)


def test_who_sends_slowly_and_leaves_has_taken_nobodys_place(start: Any) -> None:
    target = start("target_service", TARGET_SLOTS="1", TARGET_SHED_LIMIT="1")
    owner = sign_in(target, OWNER)
    head = f"POST {RESERVATIONS} HTTP/1.1\r\nHost: x\r\nIdempotency-Key: slow\r\n"
    head += f"Authorization: {owner['authorization']}\r\nContent-Length: 100\r\n\r\n{{"
    with socket.create_connection(("127.0.0.1", target.port)) as client:
        client.sendall(head.encode())
        for _ in range(5):
            assert target.http.get(STATE, headers=owner).status_code == 200
    assert target.http.get(RESERVATIONS, headers=owner).json() == {"reservations": []}
    assert target.metric("shed_inflight", **{"class": "critical"}) == 0
    assert "Traceback" not in target.log.read_text()
