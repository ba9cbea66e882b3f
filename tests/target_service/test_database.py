"""The database, of either kind: one that hangs, one of another release, the fleet in it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import asyncpg  # type: ignore[import-untyped] # ships no types
import pytest
from prometheus_client import CollectorRegistry

from target_service.breaker import State
from target_service.database import Database, Unreachable
from target_service.database.fleet import CHUNK, seed_fleet
from target_service.database.schema import MIGRATIONS
from target_service.database.sqlite import SQLite
from target_service.dependencies import DATABASE, Dependencies, DependencyFailed
from tests.target_service.postgres import Postgres
from tests.target_service.processes import DEADLINE_SECONDS, sign_in

Stuck = Callable[[], AbstractContextManager[None]]

LONG_SECONDS = 30.0
FAILURES = 5  # in a row open the breaker
PUT = "INSERT INTO secrets (name, value) VALUES ($1, $2) RETURNING name"
NAMES = "SELECT name FROM secrets ORDER BY name"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'car.db'}"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.url_by(postgres.port, postgres.create())


@pytest.fixture
def stuck(url: str, request: pytest.FixtureRequest) -> Stuck:
    """Makes the database of `url` hang: no error, no answer."""
    if not url.startswith("sqlite"):
        postgres: Postgres = request.getfixturevalue("postgres")
        return postgres.frozen

    @contextmanager
    def locked() -> Iterator[None]:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as blocker:
            blocker.execute("BEGIN EXCLUSIVE")
            yield

    return locked


@asynccontextmanager
async def opened(
    url: str,
    migrations: Sequence[str] = MIGRATIONS,
    *,
    patience_seconds: float = LONG_SECONDS,
    dependencies: Dependencies | None = None,
) -> AsyncIterator[Database]:
    database = Database(
        url,
        pool=2,
        patience_seconds=patience_seconds,
        dependencies=dependencies or Dependencies(CollectorRegistry(), Random(1)),
    )
    try:
        await database.open(migrations)
        yield database
    finally:
        await database.close()


async def names(database: Database) -> list[str]:
    return [row["name"] for row in await database.all(NAMES)]


@pytest.mark.parametrize("bad", [None, 2**64, "\ud800", object()], ids=type)
async def test_a_value_that_sqlite_cannot_take_fails_alone(bad: Any, tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path / 'car.db'}") as database:
        writes = [(PUT, str(number), "x") for number in range(20)]
        writes[7] = (PUT, "bad", bad)
        results = await asyncio.gather(*map(database.write, writes), return_exceptions=True)
        assert [n for n, result in enumerate(results) if isinstance(result, Exception)] == [7]
        assert set(await names(database)) == {name for _, name, value in writes if value == "x"}


async def test_a_write_is_all_or_nothing_and_a_refused_one_leaves_no_trace(url: str) -> None:
    async with opened(url) as database:
        for _ in range(FAILURES - 1):  # more than there are connections
            with pytest.raises(DependencyFailed):
                await database.write((PUT, "half", "x"), (PUT, "half", "x"))
            assert await names(database) == []
        rows = await database.write((PUT, "a", "x"), (PUT, "b", "x"))
        assert [[row["name"] for row in each] for each in rows] == [["a"], ["b"]]
        assert await names(database) == ["a", "b"]


async def test_a_database_that_hangs_fails_in_time_is_left_alone_and_comes_back(
    url: str, stuck: Stuck
) -> None:
    patience_seconds = 0.3
    dependencies = Dependencies(CollectorRegistry(), Random(1))
    async with opened(
        url, patience_seconds=patience_seconds, dependencies=dependencies
    ) as database:
        await database.write((PUT, "before", "x"))
        with stuck():
            began = time.perf_counter()
            for number in range(FAILURES):
                assert dependencies.state(DATABASE) is State.CLOSED
                with pytest.raises(DependencyFailed):
                    await database.write((PUT, f"during {number}", "x"))
            failing_seconds = time.perf_counter() - began
            assert dependencies.state(DATABASE) is State.OPEN
            began = time.perf_counter()
            for _ in range(FAILURES):
                with pytest.raises(DependencyFailed) as refused:
                    await database.write((PUT, "refused", "x"))
                assert refused.value.retry_after_seconds > 0
            refusing_seconds = time.perf_counter() - began
        patience_in_all = FAILURES * patience_seconds
        assert 0.9 * patience_in_all < failing_seconds < 2.5 * patience_in_all
        assert refusing_seconds < failing_seconds / 5
        insert = "INSERT INTO secrets (name, value) VALUES ('after', 'x') ON CONFLICT DO NOTHING"
        await until_it_works(lambda: database.write((insert,)))
        assert dependencies.state(DATABASE) is State.CLOSED
        stored = await names(database)
        assert {"before", "after"} <= set(stored)
        assert "refused" not in stored


async def until_it_works(call: Callable[[], Awaitable[Any]]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                await call()
            except DependencyFailed:
                await asyncio.sleep(0.02)
            else:
                return


async def test_a_ping_asks_the_database_while_others_are_refused(postgres: Postgres) -> None:
    dependencies = Dependencies(CollectorRegistry(), Random(1))
    url = postgres.url_by(postgres.port, postgres.create())
    async with opened(url, patience_seconds=0.3, dependencies=dependencies) as database:
        with postgres.frozen():
            reads = [database.one("SELECT 1") for _ in range(FAILURES)]
            results = await asyncio.gather(*reads, return_exceptions=True)
            assert {type(result) for result in results} == {DependencyFailed}
            with pytest.raises(DependencyFailed):
                await database.ping()
        await until_it_works(database.ping)
        assert dependencies.state(DATABASE) is State.OPEN


OLD_KEY, OLD_KEY_WITHOUT_BODY = "of-the-first-release", "without-body"


def old_fingerprint(body: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


# As SQLAlchemy wrote them.
FIRST_RELEASE = f"""
CREATE TABLE vehicles (
  vin VARCHAR(17) NOT NULL, battery_percent INTEGER NOT NULL, range_km INTEGER NOT NULL,
  locked BOOLEAN NOT NULL, climate_on BOOLEAN NOT NULL, charging BOOLEAN NOT NULL,
  odometer_km INTEGER NOT NULL, software_version VARCHAR(32) NOT NULL, PRIMARY KEY (vin));
CREATE TABLE commands (
  id VARCHAR(128) NOT NULL, vin VARCHAR(17) NOT NULL, command VARCHAR(16) NOT NULL,
  state VARCHAR(16) NOT NULL, updated_at_seconds FLOAT NOT NULL, PRIMARY KEY (id));
CREATE INDEX commands_by_vehicle ON commands (vin, updated_at_seconds);
CREATE TABLE reservations (
  id VARCHAR(36) NOT NULL, idempotency_key VARCHAR(128) NOT NULL, fingerprint VARCHAR(64) NOT NULL,
  model VARCHAR(64) NOT NULL, created_at VARCHAR(32) NOT NULL, PRIMARY KEY (id),
  UNIQUE (idempotency_key));
INSERT INTO vehicles VALUES ('LAUNCHDAY00000000', 20, 100, true, false, true, 500, '2026.44.1');
INSERT INTO commands VALUES ('old-command', 'LAUNCHDAY00000000', 'unlock', 'done', 1790000000.5);
INSERT INTO reservations VALUES
  ('old-1', '{OLD_KEY}', '{old_fingerprint({"model": "coupe"})}', 'coupe', '2026-09-21'),
  ('old-2', '{OLD_KEY_WITHOUT_BODY}', '{old_fingerprint({})}', 'launch-edition', '2026-09-22');
"""


async def execute(url: str, script: str) -> None:
    """Run statements by nobody's code but the database's own."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.executescript(script)
        return
    connection = await asyncpg.connect(url)
    await connection.execute(script)
    await connection.close()


def test_a_database_of_the_first_release_is_taken_over(start: Any, url: str) -> None:
    asyncio.run(execute(url, FIRST_RELEASE))
    target = start("target_service", TARGET_DATABASE_URL=url)
    owner = sign_in(target)

    def reserve(key: str, body: dict[str, str] | None) -> Any:
        headers = owner | {"idempotency-key": key}
        return target.http.post("/v1/reservations", headers=headers, json=body)

    again = reserve(OLD_KEY, {"model": "coupe"})
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    old = {"id": "old-1", "state": "reserved", "model": "coupe", "created_at": "2026-09-21"}
    assert again.json() == old
    assert reserve(OLD_KEY_WITHOUT_BODY, None).json()["id"] == "old-2"
    assert reserve(OLD_KEY, {"model": "truck"}).status_code == 422
    assert reserve(OLD_KEY, None).status_code == 422
    command = target.http.get("/v1/commands/old-command", headers=owner).json()
    assert (command["state"], command["command"]) == ("done", "unlock")
    (car,) = target.http.get("/v1/vehicles", headers=owner).json()["vehicles"]
    assert car["vin"] == "LAUNCHDAY00000000"


async def test_a_database_that_is_newer_than_the_service_is_refused_in_words(url: str) -> None:
    async with opened(url, [*MIGRATIONS, "CREATE TABLE future (id INTEGER)"]):
        pass
    with pytest.raises(ValueError, match="newer than this service") as refused:
        async with opened(url):
            pass
    known = len(MIGRATIONS)
    assert f"it knows {known + 1} migrations, this one {known}" in str(refused.value)


async def test_a_migration_that_fails_leaves_the_database_as_it_was(url: str) -> None:
    future = "CREATE TABLE future (id INTEGER)"
    with pytest.raises(Unreachable):
        async with opened(url, [*MIGRATIONS, f"{future}; INSERT INTO nowhere VALUES (1)"]):
            pass
    async with opened(url):
        pass
    for _ in range(2):
        async with opened(url, [*MIGRATIONS, future]) as database:
            assert await database.all("SELECT id FROM future") == []


async def test_replicas_migrate_one_after_the_other(postgres: Postgres) -> None:
    url = postgres.url_by(postgres.port, postgres.create())

    async def migrate() -> list[str]:
        async with opened(url) as database:
            return await names(database)

    assert await asyncio.gather(*(migrate() for _ in range(5))) == [[]] * 5


def test_replicas_that_start_together_on_an_empty_database_agree(start: Any, url: str) -> None:
    def start_one(_: int) -> Any:
        return start("target_service", TARGET_DATABASE_URL=url, TARGET_FLEET_SIZE=str(size))

    size = CHUNK + 10
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(start_one, range(2))
    # One fleet, and one key that signs sessions.
    headers = sign_in(one, size - 1)
    assert other.http.get("/v1/vehicles", headers=headers).status_code == 200
    assert asyncio.run(counted(url)) == (size, size)


async def counted(url: str) -> tuple[int, int]:
    async with opened(url) as database:
        owners = await database.one("SELECT count(*) AS n FROM owners")
        cars = await database.one(
            "SELECT count(*) AS n FROM vehicles JOIN owners ON owners.id = owner_id"
        )
        assert owners is not None
        assert cars is not None
        return owners["n"], cars["n"]


async def fleet_in(database: Database) -> list[dict[str, Any]]:
    rows = await database.all(
        "SELECT * FROM owners JOIN vehicles ON owner_id = owners.id ORDER BY owners.id"
    )
    return [{k: v for k, v in dict(row).items() if k != "reported_unix"} for row in rows]


async def test_the_same_seed_gives_the_same_fleet_on_every_database(
    url: str, tmp_path: Path
) -> None:
    async with opened(url) as database:
        await seed_fleet(database, "eu", 7, 50)
        fleet = await fleet_in(database)
    assert len(fleet) == 50
    for seed in (7, 8):
        async with opened(f"sqlite:///{tmp_path / f'{seed}.db'}") as database:
            await seed_fleet(database, "eu", seed, 50)
            assert (await fleet_in(database) == fleet) is (seed == 7)


@pytest.mark.parametrize(("region", "seed"), [("eu", 1), ("us", 2)])
async def test_a_database_with_another_fleet_is_refused(url: str, region: str, seed: int) -> None:
    async with opened(url) as database:
        await seed_fleet(database, "us", 1, 5)
        with pytest.raises(ValueError, match="TARGET_REGION, TARGET_FLEET_SEED") as refused:
            await seed_fleet(database, region, seed, 5)
        words = f"region {region}, seed {seed} is not allowed: the database holds the fleet of "
        assert f"{words}region us, seed 1" in str(refused.value)
        assert len(await fleet_in(database)) == 5


async def test_a_fleet_cut_short_is_completed_and_what_cars_were_told_stays(url: str) -> None:
    size = 2 * CHUNK + 10
    async with opened(url) as database:
        seeding = asyncio.create_task(seed_fleet(database, "us", 1, size))
        while not seeding.done():
            # Whenever it is cut short: owners without their cars would never get them.
            now = await database.one(
                "SELECT (SELECT count(*) FROM owners) AS owners, count(*) AS cars FROM vehicles"
            )
            assert now is not None
            assert now["owners"] <= now["cars"]
            await asyncio.sleep(0.001)
        whole = await fleet_in(database)
        assert len(whole) == size
        await database.write(
            (f"DELETE FROM owners WHERE id >= {CHUNK}",),
            (f"DELETE FROM vehicles WHERE owner_id >= {CHUNK + 100}",),
            ("UPDATE vehicles SET locked = 0 WHERE owner_id = 3",),
        )
        await seed_fleet(database, "us", 1, size)
        whole[3]["locked"] = 0
        assert await fleet_in(database) == whole


async def test_a_file_keeps_what_was_acknowledged_through_a_power_cut(tmp_path: Path) -> None:
    """As far as it can be seen without one: a commit waits for the disk."""
    driver = SQLite(str(tmp_path / "car.db"), LONG_SECONDS)
    await driver.open()
    try:
        [[mode], [level]] = await driver.write([("PRAGMA journal_mode",), ("PRAGMA synchronous",)])
    finally:
        await driver.close()
    full = 2
    assert (mode["journal_mode"], level["synchronous"]) == ("wal", full)
