"""`kill -9` of the service and of the database in the middle of a storm: none lost, none doubled.

What this cannot see: a commit that was not synced to the disk, because the page cache outlives
the process. Only a power cut shows that; `synchronous=FULL` is tested where it is set. That an
acknowledgement before the commit is seen was proved by hand: with `_succeed` of
`target_service/database/group_commit.py` called before `self._commit`, a key that was told is
answered with another id within twelve rounds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import pytest

from tests.backend.clients import Answer, Clients
from tests.backend.stack import Stack, stack
from tests.target_service.postgres import throw_away_postgres
from tests.target_service.processes import sign_in

pytestmark = pytest.mark.slow

SQLITE_ROUNDS = 200
POSTGRESQL_ROUNDS = 20
CLIENTS = 12
FLEET = {"TARGET_FLEET_SIZE": str(CLIENTS)}
PATIENCE_SECONDS = 3.0
LONGEST_STORM_SECONDS = 0.4

Kill = Callable[[int], Awaitable[None]]


async def storm(stack: Stack, rounds: int, kill: Kill) -> dict[str, Answer]:
    """Let owners reserve and unlock while `kill` strikes; return the first answer to each key."""
    owners = [sign_in(stack.target, number) for number in range(CLIENTS)]
    first: dict[str, Answer] = {}
    over = asyncio.Event()

    async def insist(clients: Clients, number: int) -> None:
        count = 0
        while not over.is_set():
            key, count = clients.new_key(), count + 1
            unlock = f"/v1/vehicles/LAUNCHDAY{number:08d}/commands/unlock"
            route, path = ("unlock", unlock) if count % 4 == 0 else ("reserve", "/v1/reservations")
            first[key] = await clients.insist(route, path, owners[number], key)

    random = Random(3)
    async with Clients(stack.target.url, stack.book, PATIENCE_SECONDS) as clients:
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(insist(clients, number))
            for round in range(rounds):
                await asyncio.sleep(random.uniform(0, LONGEST_STORM_SECONDS))
                stack.book.flush()
                await kill(round)
            over.set()
        for key in random.sample(sorted(first), 100):
            await check_replay(clients, owners, key, first[key])
    return first


async def check_replay(
    clients: Clients, owners: list[dict[str, str]], key: str, first: Answer
) -> None:
    """A key that was answered before a kill gets the same answer after all of them."""
    if first.route != "reserve":
        return
    for headers in owners:
        again = await clients.ask("reserve", "POST", "/v1/reservations", headers, key)
        if again.status == 201:
            assert again.body == first.body
            assert again.headers["idempotency-replayed"] == "true"
            return
        assert again.status == 422, again
    raise AssertionError(f"{key} is nobody's")


def check_audit(stack: Stack, first: dict[str, Answer]) -> None:
    result = stack.audit()
    assert result.violations == {"lost": (), "doubled": (), "ghost": ()}
    assert result.clean
    assert result.promises == result.keys == len(first)
    assert result.executed == sum(answer.route == "unlock" for answer in first.values())
    assert "Traceback" not in stack.target.log.read_text()


async def test_200_kills_of_the_service_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    with stack(tmp_path, **FLEET) as running:

        async def kill(round: int) -> None:
            running.target.stop(9)
            await asyncio.to_thread(running.restart)

        first = await storm(running, SQLITE_ROUNDS, kill)
        assert len(first) > 10 * SQLITE_ROUNDS, "there was no storm"
        check_audit(running, first)


async def test_kills_of_the_service_and_of_postgresql_lose_nothing(tmp_path: Path) -> None:
    with (
        throw_away_postgres() as postgres,
        stack(tmp_path, TARGET_DATABASE_URL=postgres.url, **FLEET) as running,
    ):

        async def kill(round: int) -> None:
            if round % 2:
                running.target.stop(9)
                await asyncio.to_thread(running.restart)
                return
            postgres.kill()
            await asyncio.to_thread(postgres.start)
            # The breaker looks again after a pause; a kill during it would meet nobody.
            await asyncio.sleep(2)

        first = await storm(running, POSTGRESQL_ROUNDS, kill)
        check_audit(running, first)
