"""What all features have in common: once per key, refusals in words, labels that start at 0."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from target_service import routes
from tests.target_service.processes import sign_in

OWNER = 3
CAR = "/v1/vehicles/LAUNCHDAY00000003"
RESERVATIONS = "/v1/reservations"
DUPLICATES = 50
# More than the service itself asks its database meanwhile.
REPEATS = 20


def key() -> dict[str, str]:
    return {"idempotency-key": str(uuid.uuid4())}


def check_problem(answer: httpx.Response, status: int, reason: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    problem = answer.json()
    assert (problem["status"], problem["reason"]) == (status, reason)
    assert problem["type"] == f"urn:launchday:problem:{reason}"
    assert problem["title"]


@pytest.fixture(scope="module")
def http(target: Any) -> Iterator[httpx.Client]:
    """The app of one owner, signed in."""
    headers = sign_in(target, OWNER)
    with httpx.Client(base_url=target.url, headers=headers, timeout=30, trust_env=False) as client:
        yield client


def test_a_reservation_is_made_once_replayed_exactly_and_listed(http: httpx.Client) -> None:
    headers = key()
    first, again = (
        http.post(RESERVATIONS, json={"model": "coupe"}, headers=headers) for _ in range(2)
    )
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert first.json()["state"] == "reserved"
    assert http.get(first.headers["location"]).json() == first.json()
    listed = http.get(RESERVATIONS).json()["reservations"]
    assert listed.count(first.json()) == 1
    assert http.post(RESERVATIONS, headers=key()).json()["model"] == "launch-edition"


def test_a_key_belongs_to_one_reservation(http: httpx.Client) -> None:
    headers = key()
    http.post(RESERVATIONS, json={"model": "coupe"}, headers=headers)
    other = http.post(RESERVATIONS, json={"model": "truck"}, headers=headers)
    check_problem(other, 422, "idempotency_key_reused")


def test_concurrent_duplicates_make_one_reservation(target: Any) -> None:
    owner = sign_in(target, 5)
    headers = owner | key()
    limits = httpx.Limits(max_connections=DUPLICATES)
    with (
        httpx.Client(base_url=target.url, trust_env=False, timeout=30, limits=limits) as client,
        ThreadPoolExecutor(DUPLICATES) as pool,
    ):
        answers = list(
            pool.map(lambda _: client.post(RESERVATIONS, headers=headers), range(DUPLICATES))
        )
        stored = client.get(RESERVATIONS, headers=owner).json()["reservations"]
    made = [answer for answer in answers if answer.status_code == 201]
    # So many at once are too many for the shedder: those it refuses are told to come back.
    assert {answer.status_code for answer in answers} <= {201, 503}
    assert all(int(each.headers["retry-after"]) >= 1 for each in answers if each not in made)
    assert len(stored) == 1
    assert {answer.json()["id"] for answer in made} == {stored[0]["id"]}
    assert sum("idempotency-replayed" not in answer.headers for answer in made) == 1


@pytest.mark.parametrize("wrong", [None, "", "a b", "x" * 129, "é".encode(), "a/b"])
@pytest.mark.parametrize("path", [RESERVATIONS, "/v1/chargers/x/sessions"])
def test_what_is_made_once_needs_a_well_formed_key(
    http: httpx.Client, path: str, wrong: Any
) -> None:
    headers = {} if wrong is None else {"idempotency-key": wrong}
    check_problem(http.post(path, headers=headers), 400, "idempotency_key")


@pytest.mark.parametrize("body", [
    b"{", b"[]", b'"model"', b'{"model": ""}', b'{"model": 5}', b'{"model": "a\\u0000b"}',
    b'{"model": "\\ud800"}', b'{"model": "' + b"x" * 65 + b'"}', b"[" * 9000, b"\xff",
    b'{"n": ' + b"9" * 9000 + b"}", b'{"modle": "coupe"}',
], ids=range(12))  # fmt: skip
def test_a_malformed_reservation_is_a_422(http: httpx.Client, body: bytes) -> None:
    answer = http.post(RESERVATIONS, content=body, headers=key())
    check_problem(answer, 422, "invalid")


def test_a_huge_body_is_a_413(http: httpx.Client) -> None:
    answer = http.post(RESERVATIONS, content=b"x" * 70_000, headers=key())
    check_problem(answer, 413, "too_large")


def test_a_wrong_method_is_a_405(http: httpx.Client) -> None:
    answer = http.put(RESERVATIONS)
    check_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"]


CANNOT_BE = [
    ("GET", "/v1/vehicles/%00/state", "vehicle"),
    ("GET", "/v1/vehicles/launchday00000001/state", "vehicle"),
    ("GET", "/v1/vehicles/LAUNCHDAY00000001%0A/charging", "vehicle"),
    ("POST", "/v1/vehicles/LAUNCHDAY0000000%FF/commands/unlock", "vehicle"),
    ("POST", f"{CAR}/commands/explode", "command"),
    ("GET", "/v1/reservations/a%00b", "reservation"),
    ("GET", f"/v1/reservations/{'a' * 129}", "reservation"),
    ("GET", "/v1/commands/a%00b", "command"),
    ("GET", "/v1/chargers/%00/sessions/x", "charger"),
    ("GET", "/v1/energy/site-", "site"),
    ("GET", "/nowhere", "Not Found"),
]  # fmt: skip


def test_what_cannot_be_there_is_a_404_and_never_asks_the_database(
    http: httpx.Client, target: Any
) -> None:
    asked = database_calls(target)
    for method, path, what in CANNOT_BE * REPEATS:
        answer = http.request(method, path)
        check_problem(answer, 404, "not_found")
        assert what in answer.json()["title"]
    assert database_calls(target) < asked + REPEATS


def database_calls(target: Any) -> float:
    counts: list[float] = [
        value
        for (name, labels), value in target.samples().items()
        if name == "car_dependency_seconds_count" and "database" in labels
    ]
    return sum(counts)


@pytest.mark.parametrize(("path", "what"), [
    ("/v1/vehicles/LAUNCHDAY99999999/state", "vehicle"), ("/v1/commands/never-sent", "command"),
    ("/v1/reservations/never-made", "reservation"),
    ("/v1/chargers/x/sessions/never-made", "charging session"),
])  # fmt: skip
def test_what_is_not_there_is_a_404(http: httpx.Client, path: str, what: str) -> None:
    answer = http.get(path)
    check_problem(answer, 404, "not_found")
    assert answer.json()["title"] == f"Unknown {what}"


def test_the_server_does_not_say_what_it_runs_on(target: Any) -> None:
    assert "server" not in target.http.get("/healthz").headers


def test_capacity_and_label_sets_are_exported_from_the_start(start: Any) -> None:
    fresh = start("target_service", TARGET_SLOTS="8", TARGET_SERVICE_MEAN_SECONDS="0.02")
    samples = fresh.samples()
    assert samples["car_capacity_rps", ()] == 400
    assert samples["car_slots", ()] == 8
    assert samples["car_slots_busy", ()] == samples["car_slots_waiting", ()] == 0
    assert samples["car_slots_busy_seconds_total", ()] == 0
    assert samples["shed_limit", ()] == 12
    for outcome in ("done", "pending", "replayed"):
        assert samples["car_commands_total", (outcome,)] == 0
    for feature in ("reservation", "charging_session", "appointment"):
        for outcome in ("created", "replayed", "conflict"):
            assert samples["car_creations_total", (feature, outcome)] == 0
    for outcome in ("ok", "error", "timeout", "refused"):
        assert samples["car_dependency_seconds_count", ("gateway", outcome)] == 0
    for route in routes.ALL:
        for code in route.codes:
            # What the fixture asked for while it waited is not what this is about.
            count = samples["car_requests_total", (str(code), route.method, route.path)]
            assert count == 0 or route.criticality == routes.EXEMPT
    headers = sign_in(fresh)
    fresh.http.post(RESERVATIONS, headers=headers | key())
    samples = fresh.samples()
    assert samples["car_requests_total", ("201", "POST", RESERVATIONS)] == 1
    assert samples["car_creations_total", ("reservation", "created")] == 1
    assert samples["shed_requests_total", ("critical", "admitted")] == 2
    assert samples["car_slots_busy_seconds_total", ()] > 0


def test_a_route_is_one_label_whatever_the_vin(http: httpx.Client, target: Any) -> None:
    labels = {"route": "/v1/vehicles/{vin}/state", "method": "GET", "code": "404"}
    before = target.metric("car_requests_total", **labels)
    for number in range(10, 13):
        http.get(f"/v1/vehicles/LAUNCHDAY{number:08d}/state")
    assert target.metric("car_requests_total", **labels) == before + 3


def test_every_route_of_the_table_is_there_with_its_criticality(target: Any) -> None:
    document = target.http.get("/openapi.json").json()
    served = {
        (operation["operationId"], operation["x-criticality"])
        for operations in document["paths"].values()
        for operation in operations.values()
    }
    assert served == {(route.name, route.criticality) for route in routes.ALL}
