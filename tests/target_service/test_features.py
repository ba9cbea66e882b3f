"""What owners do: unlock, look at the car, reserve, read the status page."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

VIN = "LAUNCHDAY00000007"
UNLOCK = f"/v1/vehicles/{VIN}/commands/unlock"
LOCK = f"/v1/vehicles/{VIN}/commands/lock"


def key() -> dict[str, str]:
    return {"idempotency-key": str(uuid.uuid4())}


def check_problem(answer: httpx.Response, status: int, reason: str) -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    problem = answer.json()
    assert (problem["status"], problem["reason"]) == (status, reason)
    assert problem["title"]


def test_a_command_reaches_the_car_and_changes_its_state(target: Any) -> None:
    for path, locked in ((UNLOCK, False), (LOCK, True), (UNLOCK, False)):
        answer = target.http.post(path)
        assert answer.status_code == 200
        assert answer.json()["state"] == "done"
        assert target.http.get(f"/v1/vehicles/{VIN}/state").json()["locked"] is locked


def test_the_car_executes_a_command_id_once(target: Any, gateway: Any) -> None:
    headers = key()
    done_before = target.metric("car_commands_total", outcome="done")
    first, second = (target.http.post(UNLOCK, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    executed = gateway.http.get(f"/vehicles/{VIN}/commands").json()["executed"]
    assert executed.count(headers["idempotency-key"]) == 1
    assert target.metric("car_commands_total", outcome="done") == done_before + 1
    assert target.metric("car_commands_total", outcome="replayed") >= 1
    assert gateway.metric("car_gateway_commands_total", outcome="duplicate") >= 1


def test_a_command_id_belongs_to_one_command(target: Any) -> None:
    headers = key()
    assert target.http.post(UNLOCK, headers=headers).status_code == 200
    check_problem(target.http.post(LOCK, headers=headers), 422, "idempotency_key_reused")


def test_a_command_can_be_looked_up(target: Any) -> None:
    headers = key()
    target.http.post(UNLOCK, headers=headers)
    found = target.http.get(f"/v1/commands/{headers['idempotency-key']}").json()
    assert (found["state"], found["vin"], found["command"]) == ("done", VIN, "unlock")


@pytest.mark.parametrize(("method", "path", "what"), [
    ("GET", "/v1/vehicles/%00/state", "vehicle"),
    ("GET", "/v1/vehicles/launchday00000001/state", "vehicle"),
    ("GET", "/v1/vehicles/LAUNCHDAY00000001%0A/state", "vehicle"),
    ("POST", "/v1/vehicles/LAUNCHDAY0000000%FF/commands/unlock", "vehicle"),
    ("GET", "/v1/reservations/a%00b", "reservation"),
    ("GET", f"/v1/reservations/{'a' * 129}", "reservation"),
    ("GET", "/v1/commands/a%00b", "command"),
])  # fmt: skip
def test_an_id_that_cannot_be_is_a_404_and_never_asks_the_database(
    target: Any, method: str, path: str, what: str
) -> None:
    asked = _database_calls(target)
    answer = target.http.request(method, path)
    check_problem(answer, 404, "not_found")
    assert answer.json()["title"] == f"Unknown {what}"
    assert _database_calls(target) == asked


def _database_calls(target: Any) -> float:
    counts: list[float] = [
        value
        for (name, labels), value in target.samples().items()
        if name == "car_dependency_seconds_count" and "database" in labels
    ]
    return sum(counts)


def test_vehicle_state_has_what_the_app_shows(target: Any) -> None:
    state = target.http.get("/v1/vehicles/LAUNCHDAY00000003/state").json()
    assert len(state["vin"]) == 17
    assert set(state) == {
        "vin", "battery_percent", "range_km", "locked", "climate_on", "charging", "odometer_km",
        "software_version",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "what"),
    [
        ("GET", "/v1/vehicles/LAUNCHDAY99999999/state", "vehicle"),
        ("POST", "/v1/vehicles/LAUNCHDAY99999999/commands/unlock", "vehicle"),
        ("POST", f"/v1/vehicles/{VIN}/commands/explode", "command"),
        ("GET", "/v1/commands/never-sent", "command"),
        ("GET", "/v1/reservations/never-made", "reservation"),
        ("GET", "/nowhere", "Not Found"),
    ],
)
def test_what_is_not_there_is_a_404_problem(target: Any, method: str, path: str, what: str) -> None:
    answer = target.http.request(method, path)
    check_problem(answer, 404, "not_found")
    assert what in answer.json()["title"]


def test_a_reservation_is_created_once_and_replayed_exactly(target: Any) -> None:
    headers = key()
    first = target.http.post("/v1/reservations", json={"model": "coupe"}, headers=headers)
    again = target.http.post("/v1/reservations", json={"model": "coupe"}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert first.json()["state"] == "reserved"
    assert target.http.get(first.headers["location"]).json() == first.json()


def test_a_key_belongs_to_one_reservation(target: Any) -> None:
    headers = key()
    target.http.post("/v1/reservations", json={"model": "coupe"}, headers=headers)
    other = target.http.post("/v1/reservations", json={"model": "truck"}, headers=headers)
    check_problem(other, 422, "idempotency_key_reused")


def test_concurrent_duplicates_make_one_reservation(target: Any) -> None:
    headers = key()

    def reserve(_: int) -> httpx.Response:
        with httpx.Client(base_url=target.url, trust_env=False, timeout=30) as client:
            return client.post("/v1/reservations", json={"model": "coupe"}, headers=headers)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(reserve, range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1


@pytest.mark.parametrize("wrong", [None, "", "a b", "x" * 129, "é".encode(), "a/b"])
def test_a_reservation_needs_a_well_formed_key(target: Any, wrong: Any) -> None:
    headers = {} if wrong is None else {"idempotency-key": wrong}
    check_problem(target.http.post("/v1/reservations", headers=headers), 400, "idempotency_key")


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b'"model"', b'{"model": ""}', b'{"model": 5}', b'{"model": "a\\u0000b"}',
        b'{"model": "\\ud800"}', b'{"model": "' + b"x" * 65 + b'"}', b"[" * 9000, b"\xff",
        b'{"n": ' + b"9" * 9000 + b"}",
    ],
    ids=range(11),
)  # fmt: skip
def test_a_malformed_reservation_is_a_422(target: Any, body: bytes) -> None:
    answer = target.http.post("/v1/reservations", content=body, headers=key())
    check_problem(answer, 422, "invalid")


def test_a_huge_body_is_a_413(target: Any) -> None:
    answer = target.http.post("/v1/reservations", content=b"x" * 20_000, headers=key())
    check_problem(answer, 413, "too_large")


def test_a_wrong_method_is_a_405_problem(target: Any) -> None:
    answer = target.http.delete("/v1/reservations")
    check_problem(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["allow"]


def test_the_status_page_is_for_people_and_machines(target: Any) -> None:
    page = target.http.get("/status", headers={"accept": "text/html,*/*"})
    assert page.headers["content-type"].startswith("text/html")
    assert 'name="viewport"' in page.text
    assert "Lock and unlock" in page.text
    status = target.http.get("/status").json()
    assert status["status"] == "operational"
    assert all(feature["works"] for feature in status["features"])


def test_live_and_ready(target: Any) -> None:
    assert target.http.get("/healthz").status_code == 200
    assert target.http.get("/readyz").status_code == 200


def test_the_server_does_not_say_what_it_runs_on(target: Any) -> None:
    assert "server" not in target.http.get("/healthz").headers


def test_capacity_and_label_sets_are_exported_from_the_start(start: Any) -> None:
    fresh = start("target_service", TARGET_SLOTS="8", TARGET_SERVICE_MEAN_SECONDS="0.02")
    samples = fresh.samples()
    assert samples["car_capacity_rps", ()] == 400
    assert samples["car_slots", ()] == 8
    assert samples["car_slots_busy", ()] == samples["car_slots_waiting", ()] == 0
    assert samples["shed_limit", ()] == 12
    for outcome in ("done", "pending", "replayed"):
        assert samples["car_commands_total", (outcome,)] == 0
    for outcome in ("created", "replayed", "conflict"):
        assert samples["car_reservations_total", (outcome,)] == 0
    for dependency in ("database", "gateway"):
        for outcome in ("ok", "error", "timeout"):
            assert samples["car_dependency_seconds_count", (dependency, outcome)] == 0
    created = ("201", "POST", "/v1/reservations")
    assert samples["car_request_seconds_count", created] == 0
    fresh.http.post("/v1/reservations", headers=key())
    samples = fresh.samples()
    assert samples["car_request_seconds_count", created] == 1
    assert samples["car_reservations_total", ("created",)] == 1
    assert samples["shed_requests_total", ("critical", "admitted")] == 1


def test_a_route_is_one_label_whatever_the_vin(target: Any) -> None:
    labels = {"route": "/v1/vehicles/{vin}/state", "method": "GET", "code": "200"}
    before = target.metric("car_request_seconds_count", **labels)
    for number in range(3):
        target.http.get(f"/v1/vehicles/LAUNCHDAY{number:08d}/state")
    assert target.metric("car_request_seconds_count", **labels) == before + 3
