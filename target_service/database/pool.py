"""Kept connections to PostgreSQL, opened and taught their statements before they are needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped] # ships no types

from target_service.database.errors import FAILURES, REFUSALS
from target_service.database.rows import Row

# After a connection could not be made ready: a database that refuses is not stormed.
PAUSE_SECONDS = 1.0


class Connection:
    """One connection, and the statements that it was taught: each takes one round trip.

    asyncpg's own cache learns a statement only when it is executed. `known` are the texts that
    any connection of the pool was taught; they never hold values, so they are as many as the
    service has statements.
    """

    def __init__(self, raw: Any, known: dict[str, None]) -> None:
        self.raw = raw
        self._known = known
        self._taught: dict[str, Any] = {}

    async def fetch(self, sql: str, arguments: Sequence[Any]) -> list[Row]:
        """Run a statement and return its rows."""
        try:
            rows: list[Row] = await (await self.learn(sql)).fetch(*arguments)
        except asyncpg.InvalidCachedStatementError:
            # A newer service migrated the tables. It was not executed.
            del self._taught[sql]
            rows = await (await self.learn(sql)).fetch(*arguments)
        return rows

    async def fetch_each(self, sql: str, arguments: Sequence[Sequence[Any]]) -> list[Row]:
        """Run a statement once for each, all or none, in one round trip; return all rows."""
        rows: list[Row] = await (await self.learn(sql)).fetchmany(arguments)
        return rows

    async def learn(self, sql: str) -> Any:
        """Return a statement; preparing one that is new takes a round trip."""
        if sql not in self._taught:
            self._taught[sql] = await self.raw.prepare(sql)
            self._known[sql] = None
        return self._taught[sql]

    async def study(self, sql: str) -> None:
        """Learn a statement that is executed some time later, if ever; two round trips.

        asyncpg leaves the exchange open for the execution, and the server's statement timeout
        runs meanwhile: a query of no interest ends it.
        """
        await self.learn(sql)
        await self.raw.execute("SELECT 1")

    def missing(self) -> list[str]:
        """Return what others were taught and this one was not."""
        if len(self._taught) == len(self._known):
            return []
        return [sql for sql in self._known if sql not in self._taught]


class Pool:
    """Up to `size` connections, opened by `connect`; one that failed is closed at once.

    While `keep_ready` runs, all of them are opened and taught ahead of need, one at a time and
    out of the way of users: to connect and to prepare a statement takes four round trips, and
    when these are slow is when all connections are needed. `step_seconds` bounds each of them.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[Any]], size: int, step_seconds: float
    ) -> None:
        self._connect = connect
        self._size = size
        self._step_seconds = step_seconds
        self._room = asyncio.Semaphore(size)
        self._lent = 0
        self._idle: list[Connection] = []
        self._known: dict[str, None] = {}
        self._worked = asyncio.Event()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection. One that failed is closed; if the peer is gone, all kept ones are."""
        async with self._place():
            connection = self._kept() or Connection(await self._connect(), self._known)
            with self._returning(connection):
                yield connection
        if len(self._idle) + self._lent < self._size or self._unready():
            self._worked.set()

    async def keep_ready(self) -> None:
        """Open and teach whatever is missing, for ever.

        Only after an operation that worked: a database that is down is left alone.
        """
        while True:
            await self._worked.wait()
            self._worked.clear()
            try:
                while not self._room.locked() and await self._make_one_ready():
                    pass
            except FAILURES:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _make_one_ready(self) -> bool:
        """Return False when there was none to make ready."""
        async with self._place():
            connection = self._unready()
            if connection is not None:
                self._idle.remove(connection)
            elif len(self._idle) + self._lent <= self._size:  # this place is one of those lent
                async with asyncio.timeout(self._step_seconds):
                    connection = Connection(await self._connect(), self._known)
            else:
                return False
            with self._returning(connection):
                for sql in connection.missing():
                    async with asyncio.timeout(self._step_seconds):
                        await connection.study(sql)
        return True

    def _unready(self) -> Connection | None:
        return next((each for each in self._idle if each.missing()), None)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        async with self._room:
            self._lent += 1
            try:
                yield
            finally:
                self._lent -= 1

    @contextmanager
    def _returning(self, connection: Connection) -> Iterator[None]:
        try:
            yield
        except REFUSALS:
            self._idle.append(connection)
            raise
        except BaseException as error:
            # `terminate` closes the socket at once: a dead peer must not be waited for.
            connection.raw.terminate()
            if isinstance(error, OSError | asyncpg.ConnectionDoesNotExistError):
                self.drop_idle()
            raise
        self._idle.append(connection)

    def _kept(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.raw.is_closed():
                return connection
        return None

    def drop_idle(self) -> None:
        """Close those that nobody uses."""
        while self._idle:
            self._idle.pop().raw.terminate()
