"""One owner never sees or moves another's things: for every operation of the OpenAPI document.

An operation that is new fails here until `bodies` and `App.things` say how to call it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from target_service.app import create_app
from target_service.database.fleet import vin_of
from target_service.settings import TargetSettings
from tests.target_service.processes import ADMIN, ADMIN_TOKEN, sign_in

OWNER, STRANGER = 0, 1
OWNERS_VIN, STRANGERS_VIN = vin_of("us", OWNER), vin_of("us", STRANGER)
ENDLESS = "text/event-stream"
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()
# What stands in a path and belongs to nobody.
PUBLIC_PLACES = {"command": "honk", "charger_id": "harbour"}
# What they answer depends on when they are asked.
OF_THE_MOMENT = {"energy", "notification_stream"}


@dataclass(frozen=True)
class Operation:
    """One operation of the document, and what may stand in the place of its parameters."""

    name: str
    method: str
    path: str
    secured_by: str | None
    has_body: bool
    needs_key: bool

    @property
    def places(self) -> list[str]:
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]


def _operations() -> list[Operation]:
    settings = TargetSettings(database_url="sqlite:////nowhere/never-opened.db")
    document = create_app(settings).openapi()
    return [
        Operation(
            name=described["operationId"],
            method=method.upper(),
            path=path,
            secured_by=next(
                (name for each in described.get("security", []) for name in each), None
            ),
            has_body="requestBody" in described,
            needs_key=any(
                parameter["name"] == "Idempotency-Key"
                for parameter in described.get("parameters", [])
            ),
        )
        for path, operations in document["paths"].items()
        for method, described in operations.items()
    ]


OPERATIONS = _operations()
OF_OWNERS = [each for each in OPERATIONS if each.secured_by == "bearer"]
OF_ADMINS = [each for each in OPERATIONS if each.secured_by == "admin"]
PUBLIC = {
    "sign_in", "refresh", "status", "status_events", "healthz", "readyz", "openapi", "docs",
}  # fmt: skip


def telemetry(vin: str) -> dict[str, Any]:
    return {
        "vin": vin, "battery_percent": 1, "range_km": 1, "latitude": 0, "longitude": 0,
        "odometer_km": 1, "unix": datetime.now(UTC).timestamp() + 5,
    }  # fmt: skip


def bodies(vin: str) -> dict[str, Any]:
    """Return a good body for every operation that takes one, about this car."""
    return {
        "command": {},
        "schedule": {"start": "01:00", "days": ["tue"], "percent": 61},
        "charger_session": {"vin": vin},
        "reserve": {"model": "truck"},
        "software_update": {"starts_at": TOMORROW},
        "appointment": {"vin": vin, "starts_at": TOMORROW, "concern": "noise"},
        "telemetry": telemetry(vin),
        "announce_maintenance": {"starts_at": TOMORROW, "ends_at": TOMORROW, "sentence": "x"},
        "change_maintenance": {"id": "x", "ends_at": TOMORROW},
        "change_shed": {"limit": 1},
    }


class App:
    """The app of one owner, whose things `things` names by the places of paths."""

    def __init__(self, target: Any, number: int) -> None:
        self._target = target
        self._number = number
        self.vin = vin_of("us", number)
        self.headers = sign_in(target, number)
        self.things: dict[str, str] = {}

    def make_things(self) -> None:
        """Own one of everything that can be owned."""
        made = {
            name: self.call(name, self.headers)
            for name in ("command", "reserve", "charger_session", "appointment", "schedule")
        }
        for name, answer in made.items():
            assert answer.is_success, (name, answer.text)
        self.things = PUBLIC_PLACES | {
            "vin": self.vin,
            "site": f"site-{self._number}",
            "command_id": made["command"].json()["command_id"],
            "reservation_id": made["reserve"].json()["id"],
            "session_id": made["charger_session"].json()["id"],
        }

    def call(self, name: str, headers: dict[str, str]) -> httpx.Response:
        """Call an operation about the things of this owner, with anybody's headers."""
        (operation,) = (each for each in OPERATIONS if each.name == name)
        places = self.things or PUBLIC_PLACES | {"vin": self.vin}
        path = operation.path.format(**places)
        if operation.needs_key:
            headers = headers | {"idempotency-key": str(uuid.uuid4())}
        body = bodies(self.vin)[name] if operation.has_body else None
        request = self._target.http.stream(operation.method, path, json=body, headers=headers)
        with request as answer:
            # Of a stream without end, that it begins is enough.
            if not answer.headers.get("content-type", "").startswith(ENDLESS):
                answer.read()
        response: httpx.Response = answer
        return response

    def snapshot(self) -> dict[str, str]:
        """Return everything that this owner can read."""
        names = [each.name for each in OF_OWNERS if each.method == "GET"]
        return {
            name: self.call(name, sign_in(self._target, self._number)).text
            for name in names
            if name not in OF_THE_MOMENT
        }


def is_about_a_thing(operation: Operation) -> bool:
    """Return whether the operation names something that has an owner."""
    named = set(operation.places) - PUBLIC_PLACES.keys()
    return bool(named) or "vin" in bodies("").get(operation.name, {})


@pytest.fixture(scope="module")
def target(start: Any, gateway: Any) -> Any:
    return start("target_service", TARGET_GATEWAY_URL=gateway.url, TARGET_ADMIN_TOKEN=ADMIN_TOKEN)


@pytest.fixture(scope="module")
def owner(target: Any) -> App:
    app = App(target, OWNER)
    app.make_things()
    return app


@pytest.fixture
def stranger(target: Any) -> dict[str, str]:
    return sign_in(target, STRANGER)


def by_name(operations: list[Operation], names: set[str] | None = None) -> pytest.MarkDecorator:
    chosen = [each for each in operations if names is None or each.name in names]
    return pytest.mark.parametrize("operation", chosen, ids=lambda each: each.name)


def check(answer: httpx.Response, status: int, reason: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["reason"] == reason


def test_every_operation_is_secured_or_meant_for_everybody(owner: App) -> None:
    open_to_all = {each.name for each in OPERATIONS if each.secured_by is None}
    assert open_to_all <= PUBLIC
    places = {place for each in OF_OWNERS for place in each.places}
    assert places == owner.things.keys()
    with_body = {each.name for each in (*OF_OWNERS, *OF_ADMINS) if each.has_body}
    assert with_body == bodies("").keys()


@by_name(OF_OWNERS)
def test_without_a_session_there_is_no_answer(operation: Operation, owner: App) -> None:
    for headers in ({}, {"authorization": "Bearer forged.token"}, ADMIN):
        check(owner.call(operation.name, headers), 401, "not_signed_in")


@by_name(OF_ADMINS)
def test_no_owner_is_an_admin(operation: Operation, target: Any, stranger: dict[str, str]) -> None:
    body = bodies("").get(operation.name)
    for headers in ({}, stranger, {"authorization": "Bearer é".encode()}):
        answer = target.http.request(
            operation.method, operation.path, params={"id": "x"}, json=body, headers=headers
        )
        check(answer, 401, "not_admin")


@by_name([each for each in OF_OWNERS if is_about_a_thing(each)])
def test_what_is_somebody_elses_is_not_there_and_stays_as_it_is(
    operation: Operation, owner: App, target: Any, stranger: dict[str, str], gateway: Any
) -> None:
    executions = gateway.http.get(f"/vehicles/{OWNERS_VIN}/commands").json()
    before = owner.snapshot()
    answer = owner.call(operation.name, stranger)
    check(answer, 404, "not_found")
    for thing in (OWNERS_VIN, *owner.things.values()):
        assert thing not in answer.text
    assert owner.snapshot() == before
    assert gateway.http.get(f"/vehicles/{OWNERS_VIN}/commands").json() == executions
    # The owner may: it was not refused for another reason.
    allowed = owner.call(operation.name, sign_in(target, OWNER))
    assert allowed.is_success, allowed.text


@by_name([each for each in OF_OWNERS if not is_about_a_thing(each)])
def test_what_names_nothing_is_about_the_own_things(
    operation: Operation, owner: App, stranger: dict[str, str]
) -> None:
    before = owner.snapshot()
    answer = owner.call(operation.name, stranger)
    assert answer.is_success
    if not answer.headers.get("content-type", "").startswith(ENDLESS):
        for place in owner.things.keys() - PUBLIC_PLACES.keys():
            assert owner.things[place] not in answer.text
    assert owner.snapshot() == before


@by_name(OF_OWNERS, {"state", "software", "charging", "command", "charger_session"})
def test_somebody_elses_and_nobodys_are_told_apart_by_nobody(
    operation: Operation, owner: App, target: Any, stranger: dict[str, str]
) -> None:
    nobodys = App(target, OWNER)
    nobodys.vin = "LAUNCHDAY99999999"
    assert owner.call(operation.name, stranger).content == (
        nobodys.call(operation.name, stranger).content
    )


def test_a_batch_with_somebody_elses_car_changes_no_car(
    owner: App, target: Any, stranger: dict[str, str]
) -> None:
    state = f"/v1/vehicles/{STRANGERS_VIN}/state"
    mine, theirs = target.http.get(state, headers=stranger).json(), owner.snapshot()
    readings = {"readings": [telemetry(STRANGERS_VIN), telemetry(OWNERS_VIN)]}
    answer = target.http.post("/v1/telemetry", json=readings, headers=stranger)
    check(answer, 404, "not_found")
    assert target.http.get(state, headers=stranger).json() == mine
    assert owner.snapshot() == theirs


@pytest.mark.parametrize("path", ["/v1/reservations", "/v1/chargers/harbour/sessions"])
def test_somebody_elses_key_tells_nothing(
    path: str, owner: App, target: Any, stranger: dict[str, str]
) -> None:
    key = {"idempotency-key": str(uuid.uuid4())}
    with_vin = "chargers" in path
    answers = [
        target.http.post(path, json={"vin": vin} if with_vin else {}, headers=who | key)
        for who, vin in ((owner.headers, OWNERS_VIN), (stranger, STRANGERS_VIN))
    ]
    assert answers[0].status_code == 201
    check(answers[1], 422, "idempotency_key_reused")
    assert answers[0].json()["id"] not in answers[1].text


def test_somebody_elses_command_id_moves_no_car(
    owner: App, target: Any, stranger: dict[str, str], gateway: Any
) -> None:
    key = {"idempotency-key": str(uuid.uuid4())}
    car = "/v1/vehicles/{}/commands/flash"
    assert target.http.post(car.format(OWNERS_VIN), headers=owner.headers | key).is_success
    answer = target.http.post(car.format(STRANGERS_VIN), headers=stranger | key)
    check(answer, 422, "idempotency_key_reused")
    assert gateway.http.get(f"/vehicles/{STRANGERS_VIN}/commands").json()["executed"] == []
