"""The writer that commits in groups: who waits for whom, and who suffers from whom."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_service.database.group_commit import LARGEST_GROUP, GroupCommit
from target_service.database.rows import Statement
from tests.target_service.processes import DEADLINE_SECONDS

LONG_SECONDS = 30.0


class Book:
    """Commits groups of numbers of 0 or more, one transaction each, as often as allowed."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self._turns = asyncio.Semaphore(0)
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._connection.execute("CREATE TABLE book (n INTEGER PRIMARY KEY CHECK (n >= 0))")

    def allow(self, commits: int = 1000) -> None:
        for _ in range(commits):
            self._turns.release()

    async def commit(self, group: Sequence[Sequence[Statement]]) -> list[list[list[Any]]]:
        self.groups.append(len(group))
        await self._turns.acquire()
        with self._connection:
            self._connection.execute("BEGIN")
            return [
                [self._connection.execute(*statement).fetchall() for statement in write]
                for write in group
            ]

    def numbers(self) -> list[int]:
        return [n for (n,) in self._connection.execute("SELECT n FROM book ORDER BY n")]

    def close(self) -> None:
        self._connection.close()


@asynccontextmanager
async def writer(patience_seconds: float = LONG_SECONDS) -> AsyncIterator[tuple[GroupCommit, Book]]:
    with closing(Book()) as book:
        group_commit = GroupCommit(book.commit, patience_seconds)
        group_commit.start()
        yield group_commit, book
        await group_commit.close()


def submit(group_commit: GroupCommit, number: int) -> asyncio.Task[Any]:
    insert = ("INSERT INTO book VALUES (?) RETURNING n", (number,))
    return asyncio.create_task(group_commit.submit([insert]))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            if condition():
                return
            await asyncio.sleep(0)


@given(st.lists(st.integers(-5, 1000), unique=True, max_size=150))
def test_refused_writes_fail_alone_and_the_others_of_their_group_are_committed(
    numbers: list[int],
) -> None:
    async def run() -> None:
        async with writer() as (group_commit, book):
            book.allow()
            results = await asyncio.gather(
                *(submit(group_commit, number) for number in numbers), return_exceptions=True
            )
            assert book.numbers() == sorted(number for number in numbers if number >= 0)
            for number, result in zip(numbers, results, strict=True):
                if number < 0:
                    assert isinstance(result, sqlite3.IntegrityError)
                else:
                    assert result == [[(number,)]]

    asyncio.run(run())


async def test_what_arrives_during_a_commit_is_committed_together_but_not_without_bound() -> None:
    async with writer() as (group_commit, book):
        first = submit(group_commit, 0)
        await until(lambda: book.groups == [1])
        rest = [submit(group_commit, number) for number in range(1, LARGEST_GROUP + 11)]
        await asyncio.sleep(0)
        book.allow()
        await asyncio.gather(first, *rest)
        assert book.groups == [1, LARGEST_GROUP, 10]


async def test_who_leaves_before_the_commit_has_written_nothing_and_disturbs_nobody() -> None:
    async with writer() as (group_commit, book):
        in_commit = submit(group_commit, 1)
        await until(lambda: book.groups == [1])
        leaves, stays = submit(group_commit, 2), submit(group_commit, 3)
        await asyncio.sleep(0)
        in_commit.cancel()
        leaves.cancel()
        await asyncio.wait({in_commit, leaves})
        book.allow()
        assert await stays == [[(3,)]]
        # What had begun goes on: nobody can tell whether it is on the disk already.
        assert book.numbers() == [1, 3]


async def test_a_commit_that_hangs_fails_in_time_and_the_next_one_is_tried() -> None:
    async with writer(patience_seconds=0.05) as (group_commit, book):
        with pytest.raises(TimeoutError):
            await submit(group_commit, 1)
        book.allow()
        assert await submit(group_commit, 2) == [[(2,)]]
        assert book.numbers() == [2]


async def test_after_close_nobody_waits() -> None:
    """Neither in a group that is tried one by one after a refusal, nor in the queue."""
    async with writer() as (group_commit, book):
        group = [submit(group_commit, number) for number in (-1, 1, 2)]
        await until(lambda: book.groups == [3])
        book.allow(1)
        await until(lambda: book.groups == [3, 1])
        queued = submit(group_commit, 3)
        await asyncio.sleep(0)
        await group_commit.close()
        results = await asyncio.gather(*group, queued, return_exceptions=True)
        assert [type(result) for result in results] == [ConnectionError] * 4
        assert book.numbers() == []
