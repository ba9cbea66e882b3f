"""A test for each defect that a review found, named by what must hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from target_service.database.fleet import email_of, password_of
from tests.target_service.processes import Process

ADMIN_TOKEN = "a-token-of-the-admin"
ADMIN = {"authorization": f"Bearer {ADMIN_TOKEN}"}
CAR = "/v1/vehicles/LAUNCHDAY00000000"


def window(begins_in: float, ends_in: float) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "starts_at": (now + timedelta(seconds=begins_in)).isoformat(),
        "ends_at": (now + timedelta(seconds=ends_in)).isoformat(),
        "sentence": "Back soon",
    }


def test_a_window_that_ends_by_the_clock_does_not_take_the_next_one_along(
    start: Any, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    target: Process = start("target_service", TARGET_ADMIN_TOKEN=ADMIN_TOKEN)
    ids = [
        target.http.post("/admin/maintenance", json=window(*times), headers=ADMIN).json()["id"]
        for times in ((0.2, 1.2), (1.2, 300))
    ]

    def planned() -> list[str]:
        listed = target.http.get("/admin/maintenance", headers=ADMIN).json()["windows"]
        return [each["id"] for each in listed]

    eventually(lambda: planned() == ids[1:])
    time.sleep(2.5)  # two polls, which ended both windows once
    assert planned() == ids[1:]
    assert target.http.get("/v1/vehicles").status_code == 503


def test_half_a_surrogate_in_a_password_is_a_422(target: Process) -> None:
    for path, body in (
        ("/v1/sessions", '{"email": "a@b.example", "password": "\\ud800"}'),
        ("/v1/sessions/refresh", '{"refresh_token": "\\ud800"}'),
    ):
        headers = {"content-type": "application/json"}
        answer = target.http.post(path, content=body, headers=headers)
        assert (answer.status_code, answer.json()["reason"]) == (422, "invalid")


def test_nobody_evades_the_limit_on_wrong_passwords_by_claiming_other_addresses(start: Any) -> None:
    target: Process = start("target_service")
    codes = set()
    for number in range(110):
        body = {"email": f"nobody{number}@us.example", "password": "wrong"}
        headers = {"x-forwarded-for": f"203.0.113.{number}"}
        codes.add(target.http.post("/v1/sessions", json=body, headers=headers).status_code)
    assert codes == {401, 429}


def test_a_ledger_that_lacks_the_executions_is_a_503(start: Any) -> None:
    target: Process = start(
        "target_service", TARGET_ADMIN_TOKEN=ADMIN_TOKEN, TARGET_GATEWAY_URL="http://127.0.0.1:9"
    )
    answer = target.http.get("/admin/ledger", headers=ADMIN)
    assert (answer.status_code, answer.json()["dependency"]) == (503, "gateway")
    assert int(answer.headers["retry-after"]) >= 1


def test_commands_that_fail_open_the_breaker_however_healthy_the_gateway_says_it_is(
    start: Any, sign_in: Any, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    gateway: Process = start("target_service.gateway", GATEWAY_FAILURE_SHARE="1")
    target: Process = start("target_service", TARGET_GATEWAY_URL=gateway.url)
    owner = sign_in(target)

    def opened() -> bool:
        time.sleep(0.3)  # slower than the probes of the status page
        assert target.http.post(f"{CAR}/commands/unlock", headers=owner).status_code == 503
        opened_total = target.metric("car_breaker_opened_total", dependency="gateway")
        # Asked in the same turn: it stays open for half a second at least, and then the probe of
        # a healthy gateway closes it.
        return bool(opened_total) and target.http.get("/status").json()["status"] == "degraded"

    eventually(opened)


def test_an_appointment_asked_for_again_after_its_time_is_the_first_one(
    target: Process, sign_in: Any
) -> None:
    headers = sign_in(target) | {"idempotency-key": "appointment-of-a-moment"}
    soon = datetime.now(UTC) + timedelta(seconds=2)
    body = {"vin": CAR.rpartition("/")[2], "starts_at": soon.isoformat(), "concern": "noise"}
    made = target.http.post("/v1/service/appointments", json=body, headers=headers)
    assert made.status_code == 201, made.text
    time.sleep(2.1)
    again = target.http.post("/v1/service/appointments", json=body, headers=headers)
    assert (again.status_code, again.json()) == (201, made.json())
    late = headers | {"idempotency-key": "another"}
    assert target.http.post("/v1/service/appointments", json=body, headers=late).status_code == 422


def test_whose_session_runs_out_while_only_the_doors_are_open_still_gets_to_the_car(
    start: Any, gateway: Process
) -> None:
    target: Process = start(
        "target_service",
        TARGET_ADMIN_TOKEN=ADMIN_TOKEN,
        TARGET_SESSION_SECONDS="1",
        TARGET_GATEWAY_URL=gateway.url,
    )
    email = email_of("us", 0)
    credentials = {"email": email, "password": password_of(1, email)}
    session = target.http.post("/v1/sessions", json=credentials).json()
    doors = window(-1, 300) | {"open_classes": ["critical_plus"]}
    assert target.http.post("/admin/maintenance", json=doors, headers=ADMIN).status_code == 201
    time.sleep(2.5)
    old = {"authorization": f"Bearer {session['access_token']}"}
    assert target.http.post(f"{CAR}/commands/unlock", headers=old).status_code == 401
    wanted = {"refresh_token": session["refresh_token"]}
    renewed = target.http.post("/v1/sessions/refresh", json=wanted).json()
    owner = {"authorization": f"Bearer {renewed['access_token']}"}
    told = target.http.post(f"{CAR}/commands/unlock", headers=owner)
    assert told.status_code in (200, 202)
    followed = target.http.get(f"/v1/commands/{told.json()['command_id']}", headers=owner)
    assert followed.status_code == 200
    assert target.http.get("/v1/vehicles", headers=owner).status_code == 503
