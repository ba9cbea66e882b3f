"""What owners do: unlock, look at the car, charge, reserve, update, book; and what is refused."""

from __future__ import annotations

import sqlite3
import time
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from target_service.api.energy import energy_at
from target_service.api.software import LATEST_VERSION
from target_service.database.fleet import vin_of
from tests.target_service.processes import sign_in

OWNER = 7
VIN = vin_of("us", OWNER)
CAR = f"/v1/vehicles/{VIN}"
UNLOCK, LOCK = f"{CAR}/commands/unlock", f"{CAR}/commands/lock"
SCHEDULE = {"start": "23:30", "days": ["mon", "sun"], "percent": 80}
CHARGER = "/v1/chargers/harbour.4/sessions"
APPOINTMENTS = "/v1/service/appointments"


def key() -> dict[str, str]:
    return {"idempotency-key": str(uuid.uuid4())}


def ahead(**time_ahead: float) -> str:
    return (datetime.now(UTC) + timedelta(**time_ahead)).isoformat()


def reading(number: int = OWNER, **values: Any) -> dict[str, Any]:
    usual = {
        "vin": vin_of("us", number), "battery_percent": 55, "range_km": 260, "latitude": 48.1,
        "longitude": 11.6, "odometer_km": 99_000, "unix": time.time(),
    }  # fmt: skip
    return usual | values


def check_problem(answer: httpx.Response, status: int, reason: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    problem = answer.json()
    assert (problem["status"], problem["reason"]) == (status, reason)
    assert problem["title"]


def client_of(target: Any, number: int) -> httpx.Client:
    headers = sign_in(target, number)
    return httpx.Client(base_url=target.url, headers=headers, timeout=30, trust_env=False)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of `alone`."""
    return tmp_path_factory.mktemp("alone") / "car.db"


@pytest.fixture(scope="module")
def alone(start: Any, database: Path) -> Any:
    """A target whose gateway is down."""
    return start(
        "target_service",
        TARGET_GATEWAY_URL="http://127.0.0.1:9",
        TARGET_DATABASE_URL=f"sqlite:///{database}",
    )


def told(http: httpx.Client, kind: str) -> list[str]:
    """Return the titles of the notifications of this kind."""
    answer = http.get("/v1/notifications").json()
    return [each["title"] for each in answer["notifications"] if each["kind"] == kind]


@pytest.fixture(scope="module")
def http(target: Any) -> Any:
    """The app of one owner, signed in."""
    with client_of(target, OWNER) as client:
        yield client


def test_the_owner_sees_the_cars_and_what_they_do(http: httpx.Client) -> None:
    (car,) = http.get("/v1/vehicles").json()["vehicles"]
    assert car["vin"] == VIN
    state = http.get(f"{CAR}/state").json()
    assert set(state) == {
        "vin", "name", "battery_percent", "range_km", "latitude", "longitude", "locked",
        "climate_on", "charging", "valet_mode", "charge_limit_percent", "odometer_km",
        "software_version", "reported_unix", "age_seconds", "stale",
    }  # fmt: skip
    assert (state["name"], state["age_seconds"], state["stale"]) == (car["name"], 0, False)


@pytest.mark.parametrize(("command", "field", "value"), [
    ("unlock", "locked", False), ("lock", "locked", True),
    ("climate_start", "climate_on", True), ("climate_stop", "climate_on", False),
    ("charge_start", "charging", True), ("charge_stop", "charging", False),
    ("valet_on", "valet_mode", True), ("valet_off", "valet_mode", False),
])  # fmt: skip
def test_a_command_reaches_the_car_and_changes_its_state(
    http: httpx.Client, command: str, field: str, value: bool
) -> None:
    answer = http.post(f"{CAR}/commands/{command}")
    assert (answer.status_code, answer.json()["state"]) == (200, "done")
    assert http.get(f"{CAR}/state").json()[field] is value


def test_the_charge_limit_is_a_command_with_a_percentage(http: httpx.Client) -> None:
    limit = f"{CAR}/commands/charge_limit"
    assert http.post(limit, json={"percent": 70}).status_code == 200
    assert http.get(f"{CAR}/state").json()["charge_limit_percent"] == 70
    for wrong in ({}, {"percent": 49}, {"percent": 101}, {"percent": 70, "volts": 1}):
        check_problem(http.post(limit, json=wrong), 422, "invalid")
    check_problem(http.post(UNLOCK, json={"percent": 70}), 422, "invalid")


def test_the_car_executes_a_command_id_once(http: httpx.Client, target: Any, gateway: Any) -> None:
    headers = key()
    done_before = target.metric("car_commands_total", outcome="done")
    first, second = (http.post(UNLOCK, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    executed = gateway.http.get(f"/vehicles/{VIN}/commands").json()["executed"]
    assert executed.count(headers["idempotency-key"]) == 1
    assert target.metric("car_commands_total", outcome="done") == done_before + 1
    assert target.metric("car_commands_total", outcome="replayed") >= 1
    assert gateway.metric("car_gateway_commands_total", outcome="duplicate") >= 1


def test_a_command_id_belongs_to_one_command_and_can_be_looked_up(http: httpx.Client) -> None:
    headers = key()
    assert http.post(UNLOCK, headers=headers).status_code == 200
    check_problem(http.post(LOCK, headers=headers), 422, "idempotency_key_reused")
    found = http.get(f"/v1/commands/{headers['idempotency-key']}").json()
    assert (found["state"], found["vin"], found["command"]) == ("done", VIN, "unlock")


def test_a_charging_schedule_is_stored_and_the_car_is_told(
    http: httpx.Client, gateway: Any
) -> None:
    answer = http.put(f"{CAR}/charging/schedule", json=SCHEDULE)
    assert answer.status_code == 200, answer.text
    stored = answer.json()
    assert (stored["vin"], stored["schedule"], stored["delivery"]) == (VIN, SCHEDULE, "done")
    assert stored["command_id"].startswith("auto-")
    executed = gateway.http.get(f"/vehicles/{VIN}/commands").json()["executed"]
    assert executed.count(stored["command_id"]) == 1
    assert http.get(f"/v1/commands/{stored['command_id']}").json()["state"] == "done"
    charging = http.get(f"{CAR}/charging").json()
    state = http.get(f"{CAR}/state").json()
    for shown in ("vin", "battery_percent", "charging", "charge_limit_percent"):
        assert charging.pop(shown) == state[shown]
    assert charging == {"schedule": SCHEDULE}


def test_a_schedule_stands_without_the_gateway(alone: Any) -> None:
    with client_of(alone, OWNER) as http:
        assert http.get(f"{CAR}/charging").json()["schedule"] is None
        answer = http.put(f"{CAR}/charging/schedule", json=SCHEDULE)
        assert (answer.status_code, answer.json()["delivery"]) == (200, "failed")
        assert http.get(f"{CAR}/charging").json()["schedule"] == SCHEDULE


def test_of_a_slow_car_the_schedule_is_pending_until_it_is_done(
    start: Any, eventually: Any
) -> None:
    gateway = start("target_service.gateway", GATEWAY_LATENCY_SECONDS="0.5")
    target = start(
        "target_service", TARGET_GATEWAY_URL=gateway.url, TARGET_GATEWAY_PATIENCE_SECONDS="0.05"
    )
    with client_of(target, OWNER) as http:
        first = http.put(f"{CAR}/charging/schedule", json=SCHEDULE).json()
        assert first["delivery"] == "pending"
        other = http.put(f"{CAR}/charging/schedule", json=SCHEDULE | {"percent": 60}).json()
        for sent in (first, other):
            path = f"/v1/commands/{sent['command_id']}"
            eventually(lambda path=path: http.get(path).json()["state"] == "done")
        # The one that was stored last stands, whichever the car heard of last.
        assert http.get(f"{CAR}/charging").json()["schedule"]["percent"] == 60


@pytest.mark.parametrize("wrong", [
    {"start": "24:00"}, {"start": "7:00"}, {"start": "07:00\n"}, {"days": []}, {"days": ["Mon"]},
    {"days": ["mon", "mon"]}, {"percent": 49}, {"percent": 101}, {"percent": None}, {"end": "x"},
])  # fmt: skip
def test_a_wrong_schedule_is_refused(http: httpx.Client, wrong: dict[str, Any]) -> None:
    before = http.get(f"{CAR}/charging").json()
    answer = http.put(f"{CAR}/charging/schedule", json=SCHEDULE | wrong)
    check_problem(answer, 422, "invalid")
    assert http.get(f"{CAR}/charging").json() == before


def test_a_charger_is_authorised_without_the_gateway(alone: Any) -> None:
    with client_of(alone, OWNER) as http:
        headers = key()
        first, again = (http.post(CHARGER, json={"vin": VIN}, headers=headers) for _ in range(2))
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.content == again.content
        assert again.headers["idempotency-replayed"] == "true"
        session = first.json()
        assert (session["state"], session["vin"]) == ("authorised", VIN)
        assert session["charger_id"] == "harbour.4"
        assert http.get(first.headers["location"]).json() == session
        elsewhere = f"/v1/chargers/harbour.5/sessions/{session['id']}"
        check_problem(http.get(elsewhere), 404, "not_found")
        other = http.post("/v1/chargers/x/sessions", json={"vin": VIN}, headers=headers)
        check_problem(other, 422, "idempotency_key_reused")
        check_problem(http.post(CHARGER, json={"vin": VIN}), 400, "idempotency_key")
        check_problem(http.post(CHARGER, json={"vin": "x"}, headers=key()), 422, "invalid")
        check_problem(http.post(CHARGER, headers=key()), 422, "invalid")


def test_a_software_update_is_scheduled_moved_and_begun(target: Any) -> None:
    number = 8
    path = f"/v1/vehicles/{vin_of('us', number)}/software"
    with client_of(target, number) as http:
        assert http.get(path).json()["state"] == "available"
        for days in (29, 2):
            answer = http.post(path, json={"starts_at": ahead(days=days)})
            assert (answer.status_code, answer.json()["state"]) == (202, "scheduled")
            assert http.get(path).json() == answer.json()
        installed = answer.json()["installed_version"]
        begun = http.post(path, json={"starts_at": ahead(seconds=-30)})
        assert begun.status_code == 202
        progress = http.get(path).json()
        assert (progress["state"], progress["installed_version"]) == ("installing", installed)
        assert progress["available_version"] == LATEST_VERSION
        assert 5 <= progress["progress_percent"] < 100
        late = http.post(path, json={"starts_at": ahead(days=1)})
        check_problem(late, 409, "update_installing")
        titles = told(http, "update_ready")
        assert len(titles) == 3
        assert all(LATEST_VERSION in title for title in titles)


def test_after_the_installation_the_car_has_the_new_version(alone: Any, database: Path) -> None:
    with client_of(alone, OWNER) as http:
        assert http.post(f"{CAR}/software", json={"starts_at": ahead()}).status_code == 202
        with closing(sqlite3.connect(database, isolation_level=None)) as clock:
            clock.execute("UPDATE software_updates SET starts_unix = starts_unix - 600")
        for _ in range(2):
            software = http.get(f"{CAR}/software").json()
            assert (software["state"], software["progress_percent"]) == ("installed", 100)
            assert software["installed_version"] == LATEST_VERSION
            assert http.get(f"{CAR}/state").json()["software_version"] == LATEST_VERSION
        again = http.post(f"{CAR}/software", json={"starts_at": ahead(days=1)})
        check_problem(again, 409, "no_update")


@pytest.mark.parametrize("starts_at", [
    "2020-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "tomorrow",
    pytest.param(datetime.now().isoformat(), id="now, without an offset"),
])  # fmt: skip
@pytest.mark.parametrize("path", [f"{CAR}/software", APPOINTMENTS])
def test_a_time_that_is_not_soon_or_has_no_offset_is_refused(
    http: httpx.Client, path: str, starts_at: str
) -> None:
    body = {"starts_at": starts_at}
    if path == APPOINTMENTS:
        body |= {"vin": VIN, "concern": "noise"}
    check_problem(http.post(path, json=body, headers=key()), 422, "invalid")


def test_an_update_further_ahead_than_a_month_is_refused(http: httpx.Client) -> None:
    answer = http.post(f"{CAR}/software", json={"starts_at": ahead(days=31)})
    check_problem(answer, 422, "invalid")


def test_home_energy_is_shown_for_the_own_site(http: httpx.Client) -> None:
    answer = http.get(f"/v1/energy/site-{OWNER}")
    assert answer.status_code == 200
    energy = answer.json()
    assert energy["site"] == f"site-{OWNER}"
    assert energy == vars(energy_at(1, energy["site"], energy["unix"]))
    for other in ("site-8", "site-007", "site--7", "home"):
        check_problem(http.get(f"/v1/energy/{other}"), 404, "not_found")


def test_a_service_appointment_is_booked_once_and_listed(http: httpx.Client) -> None:
    wanted = {"vin": VIN, "starts_at": "", "concern": "Geräusch vorn, 前轮异响"}
    bookings = []
    for days in (3, 300):
        wanted["starts_at"] = ahead(days=days)
        headers = key()
        first, again = (http.post(APPOINTMENTS, json=wanted, headers=headers) for _ in range(2))
        assert (first.status_code, again.status_code) == (201, 201), first.text
        assert first.content == again.content
        bookings.append(first.json())
    assert bookings[0]["concern"] == wanted["concern"]
    assert bookings[0]["starts_at"].endswith("+00:00")
    assert http.get(APPOINTMENTS).json() == {"appointments": bookings[::-1]}


def test_the_same_instant_in_another_time_zone_is_the_same_appointment(http: httpx.Client) -> None:
    starts_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    elsewhere = starts_at.astimezone(datetime.strptime("+0800", "%z").tzinfo)
    headers = key()
    one, two = (
        http.post(
            APPOINTMENTS,
            json={"vin": VIN, "starts_at": each.isoformat(), "concern": "noise"},
            headers=headers,
        )
        for each in (starts_at, elsewhere)
    )
    assert one.status_code == 201
    assert one.content == two.content


@pytest.mark.parametrize("wrong", [
    {"concern": ""}, {"concern": "x" * 501}, {"concern": "a\u0000b"}, {"concern": "a\nb"},
    {"vin": "short"}, {"more": 1}, {"starts_at": None},
])  # fmt: skip
def test_a_wrong_appointment_is_refused(http: httpx.Client, wrong: dict[str, Any]) -> None:
    wanted = {"vin": VIN, "starts_at": ahead(days=1), "concern": "noise"} | wrong
    check_problem(http.post(APPOINTMENTS, json=wanted, headers=key()), 422, "invalid")


def test_telemetry_is_what_the_owner_sees(http: httpx.Client) -> None:
    sent = reading()
    answer = http.post("/v1/telemetry", json=sent)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "updated": 1})
    state = http.get(f"{CAR}/state").json()
    assert state.pop("reported_unix") == sent.pop("unix")
    assert state | sent == state


def test_an_older_reading_never_overwrites_a_newer_one(target: Any) -> None:
    number, newest = 6, time.time() + 30
    batch = [
        reading(number, unix=newest - age / 10, odometer_km=100_000 - age) for age in range(100)
    ]
    with client_of(target, number) as http:
        answer = http.post("/v1/telemetry", json={"readings": batch})
        assert answer.json() == {"accepted": 100, "updated": 1}
        for old in (batch[0], batch[50]):
            again = http.post("/v1/telemetry", json=old | {"battery_percent": 1})
            assert again.json() == {"accepted": 1, "updated": 0}
        state = http.get(f"/v1/vehicles/{vin_of('us', number)}/state").json()
    assert (state["odometer_km"], state["battery_percent"]) == (100_000, 55)


def test_a_charge_that_reaches_its_limit_ends_once(target: Any) -> None:
    number = 9
    car = f"/v1/vehicles/{vin_of('us', number)}"
    with client_of(target, number) as http:
        assert http.post(f"{car}/commands/charge_limit", json={"percent": 80}).is_success
        assert http.post(f"{car}/commands/charge_start").is_success
        for percent, charging in ((79, True), (80, False), (81, False)):
            http.post("/v1/telemetry", json=reading(number, battery_percent=percent))
            state = http.get(f"{car}/state").json()
            assert (state["battery_percent"], state["charging"]) == (percent, charging)
        assert told(http, "charged") == [f"{state['name']} is charged to 80 %"]


@pytest.mark.parametrize("wrong", [
    {"battery_percent": 101}, {"latitude": 91}, {"longitude": -181}, {"odometer_km": -1},
    {"range_km": 1.5}, {"unix": time.time() + 3600}, {"unix": "now"}, {"vin": "x"}, {"speed": 1},
    {"latitude": "NaN"},
])  # fmt: skip
def test_wrong_telemetry_is_refused_whole(http: httpx.Client, wrong: dict[str, Any]) -> None:
    before = http.get(f"{CAR}/state").json()
    check_problem(http.post("/v1/telemetry", json=reading() | wrong), 422, "invalid")
    batch = {"readings": [reading(), reading() | wrong]}
    check_problem(http.post("/v1/telemetry", json=batch), 422, "invalid")
    assert http.get(f"{CAR}/state").json() == before


@pytest.mark.parametrize("size", [0, 101])
def test_a_batch_has_1_to_100_readings(http: httpx.Client, size: int) -> None:
    answer = http.post("/v1/telemetry", json={"readings": [reading()] * size})
    check_problem(answer, 422, "invalid")
    assert "batch.readings" in answer.json()["title"]
