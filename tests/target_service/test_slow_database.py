"""A database far away: how often it is asked, and what its owners notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped] # ships no types
import httpx
import pytest

from target_service.database.errors import FAILURES
from target_service.database.fleet import vin_of
from target_service.database.pool import PAUSE_SECONDS
from target_service.database.postgresql import PostgreSQL
from target_service.database.schema import MIGRATIONS
from tests.target_service.postgres import Postgres
from tests.target_service.processes import DEADLINE_SECONDS, Process, sign_in
from tests.target_service.relay import Relay

PATIENCE_SECONDS = 30.0
POOL = 4
PUT = "INSERT INTO secrets (name, value) VALUES ($1, $2)"
PUT_ONCE = f"{PUT} ON CONFLICT DO NOTHING"
SET = "UPDATE sessions SET expires_unix = $2 WHERE id = $1"
NAMES = "SELECT name FROM secrets ORDER BY name"


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.url_by(postgres.port, postgres.create())


@asynccontextmanager
async def driver_behind_a_relay(
    postgres: Postgres, url: str
) -> AsyncIterator[tuple[PostgreSQL, Relay]]:
    """Yield a driver that does nothing of its own accord: `open` would begin to."""
    async with Relay(postgres.port).open() as relay:
        here = url.replace(f":{postgres.port}/", f":{relay.port}/")
        driver = PostgreSQL(here, POOL, PATIENCE_SECONDS)
        await driver.migrate([text.format(**driver.dialect) for text in MIGRATIONS])
        try:
            yield driver, relay
        finally:
            await driver.close()


@pytest.mark.parametrize(
    "operation",
    [
        lambda driver: driver.fetch(NAMES, ()),
        lambda driver: driver.write([(PUT_ONCE, "a", "x")]),
        lambda driver: driver.write_apart([(SET, "a", 1.0), (PUT_ONCE, "b", "x")]),
        lambda driver: driver.write_each(SET, [(str(number), 1.0) for number in range(50)]),
    ],
    ids=["read", "write", "two writes apart", "fifty writes"],
)  # fmt: skip
async def test_an_operation_costs_one_round_trip(
    operation: Callable[[PostgreSQL], Awaitable[Any]], postgres: Postgres, url: str
) -> None:
    async with driver_behind_a_relay(postgres, url) as (driver, relay):
        await operation(driver)
        before = relay.round_trips
        await operation(driver)
        assert relay.round_trips - before == 1


async def test_writes_apart_are_all_or_nothing_and_each_has_its_arguments(url: str) -> None:
    driver = PostgreSQL(url, POOL, PATIENCE_SECONDS)
    await driver.migrate([text.format(**driver.dialect) for text in MIGRATIONS])
    await driver.write_apart([(PUT, "a", "1"), (PUT, "b", "2"), (PUT, "c", "3")])
    rows = await driver.fetch("SELECT name, value FROM secrets ORDER BY name", ())
    assert [tuple(dict(row).values()) for row in rows] == [("a", "1"), ("b", "2"), ("c", "3")]
    with pytest.raises(asyncpg.UniqueViolationError):
        await driver.write_apart([(PUT, "d", "4"), (PUT, "a", "5")])
    with pytest.raises(asyncpg.UniqueViolationError):
        await driver.write_each(PUT, [("d", "4"), ("a", "5")])
    assert [row["name"] for row in await driver.fetch(NAMES, ())] == ["a", "b", "c"]
    returning = await driver.write_each(f"{PUT} RETURNING name", [("e", "1"), ("f", "2")])
    assert [row["name"] for row in returning] == ["e", "f"]
    await driver.close()


async def test_connections_are_opened_and_taught_before_they_are_needed(
    postgres: Postgres, url: str
) -> None:
    async with driver_behind_a_relay(postgres, url) as (driver, relay):
        await driver.open()

        async def cost_of_many() -> int:
            before = relay.round_trips
            await asyncio.gather(*(driver.fetch("SELECT pg_sleep(0.05)", ()) for _ in range(POOL)))
            return relay.round_trips - before

        async with asyncio.timeout(DEADLINE_SECONDS):
            while await cost_of_many() > POOL:
                pass
        opened = relay.connections
        for _ in range(3):
            assert await cost_of_many() == POOL
        assert relay.connections == opened


async def test_a_connection_that_was_taught_leaves_no_statement_open(
    postgres: Postgres, url: str
) -> None:
    """Or the server's statement timeout would end it."""
    async with driver_behind_a_relay(postgres, url) as (driver, _):
        await driver.open()
        await driver.fetch(NAMES, ())
        other = await asyncpg.connect(url)
        states = "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> "

        async def found() -> list[str]:
            return [row["state"] for row in await other.fetch(f"{states} pg_backend_pid()")]

        async with asyncio.timeout(DEADLINE_SECONDS):
            while await found() != ["idle"] * POOL:
                pass
        await other.close()


async def test_a_database_that_is_gone_is_left_alone_until_somebody_needs_it(
    postgres: Postgres, url: str
) -> None:
    async with driver_behind_a_relay(postgres, url) as (driver, relay):
        await driver.open()
        await driver.fetch(NAMES, ())
        relay.cut()
        for _ in range(2):  # kept connections, then a new one
            with pytest.raises(FAILURES):
                await driver.fetch(NAMES, ())
        opened = relay.connections
        await asyncio.sleep(1.5 * PAUSE_SECONDS)
        assert relay.connections <= opened + 1  # it was at work already
        relay.is_cut = False
        await driver.fetch(NAMES, ())


async def test_a_table_that_a_newer_service_changed_is_read_as_it_is_now(url: str) -> None:
    driver = PostgreSQL(url, POOL, PATIENCE_SECONDS)
    await driver.migrate([text.format(**driver.dialect) for text in MIGRATIONS])
    await driver.write([(PUT, "a", "1")])
    everything = "SELECT * FROM secrets"
    assert "note" not in dict((await driver.fetch(everything, ()))[0])
    other = await asyncpg.connect(url)
    await other.execute("ALTER TABLE secrets ADD COLUMN note TEXT DEFAULT 'new'")
    await other.close()
    assert dict((await driver.fetch(everything, ()))[0])["note"] == "new"
    await driver.close()


@pytest.mark.slow
async def test_a_command_that_the_car_executed_is_written_down_once_and_not_promised_too(
    postgres: Postgres, url: str, start: Any, gateway: Process
) -> None:
    commands = 10
    async with Relay(postgres.port).open() as relay:
        target = await asyncio.to_thread(
            start,
            "target_service",
            TARGET_DATABASE_URL=url.replace(f":{postgres.port}/", f":{relay.port}/"),
            TARGET_DATABASE_PATIENCE_SECONDS="20",
            TARGET_GATEWAY_URL=gateway.url,
            TARGET_GATEWAY_PATIENCE_SECONDS="0.5",
        )

        async def calls() -> float:
            name, labels = "car_dependency_seconds_count", {"dependency": "database"}
            return await asyncio.to_thread(target.metric, name, **labels, outcome="ok")

        path = f"/v1/vehicles/{vin_of('us', 1)}/commands/unlock"
        headers = await asyncio.to_thread(sign_in, target, 1)
        async with httpx.AsyncClient(base_url=target.url, headers=headers, timeout=30) as http:
            assert (await http.post(path)).json()["state"] == "done"
            before = await calls()
            relay.delay_seconds = 1.5
            answers = await asyncio.gather(*(http.post(path) for _ in range(commands)))
            relay.delay_seconds = 0.0
        assert {(each.status_code, each.json()["state"]) for each in answers} == {(200, "done")}
        # Once a second, something else asks as well.
        assert await calls() - before < 1.8 * commands
        await asyncio.to_thread(target.close)
