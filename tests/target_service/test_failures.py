"""When something behind the backend fails, or too many come: bounded, honest, nothing lost."""

from __future__ import annotations

import signal
import socket
import sqlite3
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

VIN = "LAUNCHDAY00000001"
UNLOCK = f"/v1/vehicles/{VIN}/commands/unlock"


def key() -> dict[str, str]:
    return {"idempotency-key": str(uuid.uuid4())}


def check_dependency_problem(answer: httpx.Response, dependency: str) -> None:
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert int(answer.headers["retry-after"]) >= 1
    assert (answer.json()["reason"], answer.json()["dependency"]) == ("dependency", dependency)


def test_a_slow_gateway_gets_a_promise_and_the_car_executes_once(
    start: Any, eventually: Any
) -> None:
    gateway = start("target_service.gateway", GATEWAY_LATENCY_SECONDS="1")
    target = start(
        "target_service",
        TARGET_GATEWAY_URL=gateway.url,
        TARGET_GATEWAY_PATIENCE_SECONDS="0.1",
    )
    headers = key()
    command = f"/v1/commands/{headers['idempotency-key']}"
    answer = target.http.post(UNLOCK, headers=headers)
    assert answer.status_code == 202
    assert answer.json() == {"state": "pending", "command_id": headers["idempotency-key"]}
    assert answer.headers["location"] == command
    assert target.http.get(command).json()["state"] == "pending"
    # An impatient owner presses again: the same command, not another one.
    again = target.http.post(UNLOCK, headers=headers)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
    eventually(lambda: target.http.get(command).json()["state"] == "done")
    executed = gateway.http.get(f"/vehicles/{VIN}/commands").json()["executed"]
    assert executed == [headers["idempotency-key"]]
    assert target.http.get(f"/v1/vehicles/{VIN}/state").json()["locked"] is False
    assert target.metric("car_commands_total", outcome="pending") == 1


def test_a_promise_that_the_database_does_not_take_is_no_failure(
    start: Any, eventually: Any, tmp_path: Any
) -> None:
    """The gateway has the command and the car will execute it: a 503 would be a lie."""
    file = tmp_path / "car.db"
    gateway = start("target_service.gateway", GATEWAY_LATENCY_SECONDS="2")
    target = start(
        "target_service",
        TARGET_DATABASE_URL=f"sqlite:///{file}",
        TARGET_DATABASE_PATIENCE_SECONDS="0.3",
        TARGET_GATEWAY_URL=gateway.url,
        TARGET_GATEWAY_PATIENCE_SECONDS="0.1",
    )
    headers = key()
    command = f"/v1/commands/{headers['idempotency-key']}"
    blocker = sqlite3.connect(file)
    blocker.execute("BEGIN EXCLUSIVE")
    answer = target.http.post(UNLOCK, headers=headers)
    assert (answer.status_code, answer.json()["state"]) == (202, "pending")
    assert target.http.get(command).json()["state"] == "pending"
    blocker.rollback()
    blocker.close()
    eventually(lambda: target.http.get(command).json().get("state") == "done")
    executed = gateway.http.get(f"/vehicles/{VIN}/commands").json()["executed"]
    assert executed == [headers["idempotency-key"]]


def test_a_slow_gateway_does_not_starve_the_slots(start: Any) -> None:
    gateway = start("target_service.gateway", GATEWAY_LATENCY_SECONDS="2.5")
    target = start(
        "target_service",
        TARGET_GATEWAY_URL=gateway.url,
        TARGET_GATEWAY_PATIENCE_SECONDS="2",
        TARGET_SLOTS="1",
        TARGET_SHED_LIMIT="50",
    )
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(httpx.post, target.url + UNLOCK, timeout=30) for _ in range(8)]
        states = [target.http.get(f"/v1/vehicles/{VIN}/state") for _ in range(5)]
        assert [state.status_code for state in states] == [200] * 5
        assert not any(future.done() for future in waiting), "the gateway answered first"
        assert {future.result().status_code for future in waiting} == {202}


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
        answer = target.http.post(UNLOCK, headers=key())
        assert answer.status_code == 202
        hanging.accept()[0].close()
    gateway = start("target_service.gateway", GATEWAY_PORT=str(port))
    eventually(lambda: target.http.get(answer.headers["location"]).json()["state"] == "done")
    assert gateway.metric("car_gateway_commands_total", outcome="executed") == 1


def test_a_promise_that_cannot_be_kept_ends_as_failed(start: Any, eventually: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        target = start(
            "target_service",
            TARGET_GATEWAY_URL=f"http://127.0.0.1:{hanging.getsockname()[1]}",
            TARGET_GATEWAY_PATIENCE_SECONDS="0.1",
            TARGET_COMMAND_TIME_LIMIT_SECONDS="0.5",
            TARGET_COMMANDS_IN_FLIGHT="1",
        )
        answer = target.http.post(UNLOCK)
        assert answer.status_code == 202
        # The number on their way is bounded.
        check_dependency_problem(target.http.post(UNLOCK), "gateway")
        where = answer.headers["location"]
        eventually(lambda: target.http.get(where).json()["state"] == "failed")
        labels = {"dependency": "gateway", "outcome": "timeout"}
        assert target.metric("car_dependency_seconds_count", **labels) == 1


def test_no_gateway_is_a_503_with_retry_after_and_shows_on_the_status_page(start: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    target = start("target_service", TARGET_GATEWAY_URL=url)
    check_dependency_problem(target.http.post(UNLOCK), "gateway")
    status = target.http.get("/status").json()
    assert status["status"] == "degraded"
    works = {feature["name"]: feature["works"] for feature in status["features"]}
    assert works == {"Lock and unlock": False, "Vehicle state": True, "Reservations": True}
    assert target.http.get(f"/v1/vehicles/{VIN}/state").status_code == 200
    labels = {"dependency": "gateway", "outcome": "error"}
    assert target.metric("car_dependency_seconds_count", **labels) == 1


def test_a_locked_database_is_a_503_within_bounds_and_heals(start: Any, tmp_path: Any) -> None:
    file = tmp_path / "car.db"
    target = start(
        "target_service",
        TARGET_DATABASE_URL=f"sqlite:///{file}",
        TARGET_DATABASE_PATIENCE_SECONDS="0.3",
    )
    headers = key()
    blocker = sqlite3.connect(file)
    blocker.execute("BEGIN EXCLUSIVE")
    answer = target.http.post("/v1/reservations", headers=headers)
    check_dependency_problem(answer, "database")
    assert "sqlite" not in answer.text.lower()
    # WAL: readers do not care.
    assert target.http.get(f"/v1/vehicles/{VIN}/state").status_code == 200
    blocker.rollback()
    blocker.close()
    for _ in range(100):
        answer = target.http.post("/v1/reservations", headers=headers)
        if answer.status_code == 201:
            break
    assert answer.status_code == 201
    assert _stored(file) == [headers["idempotency-key"]]


def _stored(file: Any) -> list[str]:
    connection = sqlite3.connect(file)
    try:
        rows = connection.execute("SELECT idempotency_key FROM reservations").fetchall()
    finally:
        connection.close()
    return [row[0] for row in rows]


def test_an_acknowledged_reservation_survives_kill_9(start: Any, tmp_path: Any) -> None:
    file = tmp_path / "car.db"
    url = f"sqlite:///{file}"
    target = start("target_service", TARGET_DATABASE_URL=url, TARGET_SHEDDING="off")
    acknowledged: list[str] = []

    def reserve_until_killed(_: int) -> None:
        with httpx.Client(base_url=target.url, trust_env=False, timeout=30) as client:
            while True:
                headers = key()
                try:
                    answer = client.post("/v1/reservations", headers=headers)
                except httpx.TransportError:
                    return
                assert answer.status_code == 201
                acknowledged.append(headers["idempotency-key"])
                if len(acknowledged) > 100:
                    target.popen.send_signal(signal.SIGKILL)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(reserve_until_killed, range(8)))
    target.popen.wait(30)
    stored = _stored(file)
    assert set(acknowledged) <= set(stored)
    assert len(stored) == len(set(stored))
    revived = start("target_service", TARGET_DATABASE_URL=url)
    again = revived.http.post("/v1/reservations", headers={"idempotency-key": acknowledged[0]})
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")


def test_above_capacity_the_shedder_refuses_completely_and_protects_the_rest(start: Any) -> None:
    target = start(
        "target_service",
        TARGET_SLOTS="2",
        TARGET_SERVICE_MEAN_SECONDS="0.1",
        TARGET_SHED_LIMIT="3",
    )

    def look(_: int) -> list[httpx.Response]:
        with httpx.Client(base_url=target.url, trust_env=False, timeout=30) as client:
            return [client.get(f"/v1/vehicles/{VIN}/state") for _ in range(10)]

    with ThreadPoolExecutor(12) as pool:
        answers = [answer for each in pool.map(look, range(12)) for answer in each]
        assert target.http.get("/healthz").status_code == 200
    refused = [answer for answer in answers if answer.status_code == 503]
    admitted = [answer for answer in answers if answer.status_code == 200]
    assert len(refused) + len(admitted) == 120
    assert refused
    assert admitted
    for answer in refused:
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["reason"] in ("queue_full", "queue_timeout")
    requests = {"class": "sheddable_plus"}
    assert target.metric("shed_requests_total", **requests, outcome="rejected") == len(refused)
    assert target.metric("shed_requests_total", **requests, outcome="admitted") == len(admitted)
    labels = {"route": "/v1/vehicles/{vin}/state", "method": "GET", "code": "200"}
    assert target.metric("car_request_seconds_count", **labels) == len(admitted)
    assert target.metric("car_slots_busy") == 0


def test_without_the_shedder_everybody_waits_and_there_are_no_shed_metrics(start: Any) -> None:
    target = start("target_service", TARGET_SHEDDING="off", TARGET_SLOTS="1")
    with ThreadPoolExecutor(12) as pool:
        url = f"{target.url}/v1/vehicles/{VIN}/state"
        answers = list(pool.map(lambda _: httpx.get(url, timeout=30), range(24)))
    assert {answer.status_code for answer in answers} == {200}
    with pytest.raises(KeyError):
        target.metric("shed_limit")


def test_a_client_that_leaves_before_its_body_is_complete_is_no_error_of_ours(
    start: Any, eventually: Any
) -> None:
    target = start("target_service")
    head = b"POST /v1/reservations HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\n"
    with socket.create_connection(("127.0.0.1", target.port)) as client:
        client.sendall(head + b"Content-Length: 100\r\n\r\n{")
        eventually(lambda: target.metric("shed_inflight", **{"class": "critical"}) == 1)
    eventually(lambda: target.metric("shed_inflight", **{"class": "critical"}) == 0)
    assert target.http.get("/healthz").status_code == 200
    assert "Traceback" not in target.log.read_text()
