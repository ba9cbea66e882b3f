"""The same backend on PostgreSQL, and what happens when the database goes away."""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg  # type: ignore[import-untyped] # ships no types
import httpx
import pytest

from target_service.database.fleet import vin_of
from tests.target_service.postgres import MAX_CONNECTIONS, Postgres
from tests.target_service.processes import Process, sign_in

OWNER = 4
CAR = f"/v1/vehicles/{vin_of('us', OWNER)}"
UNLOCK = f"{CAR}/commands/unlock"
ANOTHER = f"/v1/vehicles/{vin_of('us', OWNER + 1)}"
STATE_OF_ANOTHER, UNLOCK_ANOTHER = f"{ANOTHER}/state", f"{ANOTHER}/commands/unlock"
RESERVATIONS = "/v1/reservations"
DUPLICATES = 20
POOL = 5


def key() -> dict[str, str]:
    return {"idempotency-key": str(uuid.uuid4())}


def check_dependency_problem(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["unavailable-cause"] == "dependency"
    assert int(answer.headers["retry-after"]) >= 1
    assert (answer.json()["reason"], answer.json()["dependency"]) == ("dependency", "database")


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> str:
    """The database of all tests here."""
    return postgres.url_by(postgres.port, postgres.create())


@pytest.fixture(scope="module")
def target(start: Any, gateway: Process, url: str) -> Process:
    settings = {"TARGET_DATABASE_POOL": str(POOL), "TARGET_SHEDDING": "off"}
    process: Process = start(
        "target_service", TARGET_DATABASE_URL=url, TARGET_GATEWAY_URL=gateway.url, **settings
    )
    return process


@pytest.fixture(scope="module")
def owner(target: Process) -> dict[str, str]:
    return sign_in(target, OWNER)


@pytest.fixture
def http(target: Process, owner: dict[str, str]) -> Any:
    with httpx.Client(base_url=target.url, headers=owner, timeout=30, trust_env=False) as client:
        yield client


def test_everything_works_on_postgresql_and_a_second_replica_sees_it(
    http: httpx.Client, start: Any, url: str, owner: dict[str, str]
) -> None:
    headers = key()
    answers = [http.post(RESERVATIONS, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content
    assert answers[1].headers["idempotency-replayed"] == "true"
    assert http.post(UNLOCK).json()["state"] == "done"
    assert http.get(f"{CAR}/state").json()["locked"] is False
    assert http.get("/readyz").status_code == 200
    other = start("target_service", TARGET_DATABASE_URL=url)
    # The key that signs sessions is in the database: nobody signs in again.
    replay = other.http.post(RESERVATIONS, headers=owner | headers)
    assert replay.headers["idempotency-replayed"] == "true"
    assert replay.content == answers[0].content


def test_concurrent_duplicates_make_one_reservation(http: httpx.Client) -> None:
    headers = key()
    before = len(http.get(RESERVATIONS).json()["reservations"])
    with ThreadPoolExecutor(DUPLICATES) as pool:
        answers = list(
            pool.map(lambda _: http.post(RESERVATIONS, headers=headers), range(DUPLICATES))
        )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert len(http.get(RESERVATIONS).json()["reservations"]) == before + 1


@pytest.mark.parametrize("path", ["vehicles/%00/state", "reservations/a%00b", "commands/%00"])
def test_an_id_that_postgresql_cannot_take_is_a_404(http: httpx.Client, path: str) -> None:
    answer = http.get(f"/v1/{path}")
    assert (answer.status_code, answer.json()["reason"]) == (404, "not_found")
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_restart_of_the_database_between_two_requests_is_not_noticed(
    http: httpx.Client, target: Process, postgres: Postgres, eventually: Any
) -> None:
    """Every kept connection is dead then, and there are several."""

    def is_closed() -> bool:
        labels = {"dependency": "database", "state": "closed"}
        return target.metric("car_breaker_state", **labels) == 1

    with ThreadPoolExecutor(POOL) as pool:
        states = list(pool.map(lambda _: http.get(f"{CAR}/state"), range(5 * POOL)))
    assert {state.status_code for state in states} == {200}
    postgres.kill()
    postgres.start()
    # Where a restart takes seconds, what the service does by itself has noticed it.
    eventually(lambda: is_closed() or http.get("/readyz").status_code == 200)
    state = http.get(f"{CAR}/state")
    assert (state.status_code, state.json()["stale"]) == (200, False)
    assert http.post(RESERVATIONS, headers=key()).status_code == 201


def test_a_database_that_goes_away_is_a_503_and_comes_back(
    http: httpx.Client, target: Process, postgres: Postgres, eventually: Any
) -> None:
    headers = key()
    first = http.post(RESERVATIONS, headers=headers)
    assert first.status_code == 201
    assert http.post(UNLOCK).status_code == 200
    known = http.get(f"{CAR}/state").json()
    others = sign_in(target, OWNER + 1)
    assert http.get(STATE_OF_ANOTHER, headers=others).status_code == 200
    postgres.stop()
    for _ in range(7):  # more than it takes to open the circuit breaker
        check_dependency_problem(http.post(RESERVATIONS, headers=key()))
    assert target.metric("car_breaker_opened_total", dependency="database") >= 1
    assert http.get("/readyz").status_code == 503
    assert http.get("/healthz").status_code == 200
    # The app shows what was last known, and the door opens: who owns the car is known.
    stale = http.get(f"{CAR}/state").json()
    assert stale.pop("stale") is True
    assert stale.pop("age_seconds") > 0
    assert {**known, **stale} == known
    unlocked = http.post(UNLOCK)
    assert (unlocked.status_code, unlocked.json()["state"]) == (200, "done")
    # Also of a car that was only looked at.
    unlocked = http.post(UNLOCK_ANOTHER, headers=others)
    assert (unlocked.status_code, unlocked.json()["state"]) == (200, "done")
    # What nobody can know, nobody makes up; and nobody is signed out.
    check_dependency_problem(http.get(RESERVATIONS))
    postgres.start()
    eventually(lambda: http.get("/readyz").status_code == 200)
    eventually(lambda: http.post(RESERVATIONS, headers=headers).status_code == 201)
    again = http.post(RESERVATIONS, headers=headers)
    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"
    assert "Traceback" not in target.log.read_text()


def test_a_database_that_hangs_is_a_503_and_comes_back(
    http: httpx.Client, target: Process, postgres: Postgres, eventually: Any
) -> None:
    eventually(lambda: http.get(f"{CAR}/state").json()["stale"] is False)
    labels = {"dependency": "database", "outcome": "refused"}
    refused = target.metric("car_dependency_seconds_count", **labels)
    with postgres.frozen(), ThreadPoolExecutor(DUPLICATES) as pool:
        answers = pool.map(lambda _: http.post(RESERVATIONS, headers=key()), range(DUPLICATES))
        for answer in answers:
            check_dependency_problem(answer)
        check_dependency_problem(http.post(RESERVATIONS, headers=key()))
        # Those who come later are refused at once; they do not wait and fill the slots.
        assert target.metric("car_dependency_seconds_count", **labels) > refused
        assert http.get(f"{CAR}/state").json()["stale"] is True
    eventually(lambda: http.post(RESERVATIONS, headers=key()).status_code == 201)
    assert target.metric("car_slots_busy") == target.metric("car_slots_waiting") == 0
    assert "Traceback" not in target.log.read_text()


def test_a_pool_larger_than_the_database_allows_is_refused_at_start(start: Any, url: str) -> None:
    too_large = str(MAX_CONNECTIONS)
    with pytest.raises(AssertionError) as refused:
        start("target_service", TARGET_DATABASE_URL=url, TARGET_DATABASE_POOL=too_large)
    words = f"TARGET_DATABASE_POOL: {too_large} is not allowed: the database accepts "
    assert words in str(refused.value)
    assert "Traceback" not in str(refused.value)


def test_the_pool_is_never_larger_than_its_setting(start: Any, postgres: Postgres) -> None:
    name = postgres.create()
    target = start(
        "target_service",
        TARGET_DATABASE_URL=postgres.url_by(postgres.port, name),
        TARGET_DATABASE_POOL="3",
        TARGET_SHEDDING="off",
    )
    owner = sign_in(target)

    with (
        httpx.Client(base_url=target.url, headers=owner, timeout=30, trust_env=False) as http,
        ThreadPoolExecutor(16) as pool,
    ):
        posts = [pool.submit(http.post, RESERVATIONS, headers=key()) for _ in range(200)]
        most = max(connections(postgres, name) for _ in range(10))
        assert {post.result().status_code for post in posts} == {201}
    assert 1 <= most <= 3


def connections(postgres: Postgres, name: str) -> int:
    async def count() -> int:
        connection = await asyncpg.connect(postgres.url)
        sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1"
        found: int = await connection.fetchval(sql, name)
        await connection.close()
        return found

    return asyncio.run(count())
