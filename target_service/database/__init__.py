"""The database: one interface over SQLite and PostgreSQL, with a time budget and a breaker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol

from target_service.database.errors import FAILURES, Unreachable, describe
from target_service.database.postgresql import PostgreSQL
from target_service.database.rows import Row, Statement
from target_service.database.sqlite import SQLite
from target_service.dependencies import DATABASE, Dependencies, DependencyFailed

__all__ = ["Database", "Row", "Statement", "Unreachable"]

logger = logging.getLogger(__name__)


class Driver(Protocol):
    """What `Database` needs of a kind of database. SQL has the placeholders $1, $2, ..."""

    @property
    def dialect(self) -> dict[str, str]:
        """What a migration must write differently for this database."""

    async def open(self) -> None:
        """Connect. Raises Unreachable, or ValueError when it can never work."""

    async def migrate(self, migrations: Sequence[str]) -> None:
        """Apply those migrations that were not applied yet, each once, whoever else starts too.

        Raises ValueError when the database is newer than this service.
        """

    async def fetch(self, sql: str, arguments: Sequence[Any]) -> list[Row]:
        """Run one reading statement."""

    async def write(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements in one transaction; when it returns they are durable."""

    async def write_apart(self, statements: Sequence[Statement]) -> None:
        """Run statements that touch different rows, in one transaction and one round trip."""

    async def write_each(self, sql: str, arguments: Sequence[Sequence[Any]]) -> list[Row]:
        """Run one statement once for each, in one transaction and one round trip; all rows."""

    async def load(
        self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Insert many rows fast; those whose key is there stay as they are."""

    async def close(self) -> None:
        """Close every connection; nothing may be running."""


def driver_for(url: str, pool: int, patience_seconds: float) -> Driver:
    """Return the driver for `sqlite:///FILE` or `postgresql://...`."""
    if url.startswith("sqlite:///"):
        return SQLite(url.removeprefix("sqlite:///"), patience_seconds)
    return PostgreSQL(url, pool, patience_seconds)


class Database:
    """Reads and durable writes. Raises DependencyFailed when it fails or takes too long.

    `patience_seconds` bounds each operation, waiting for a connection included.
    """

    def __init__(
        self, url: str, *, pool: int, patience_seconds: float, dependencies: Dependencies
    ) -> None:
        self.driver = driver_for(url, pool, patience_seconds)
        self._dependencies = dependencies
        self._patience_seconds = patience_seconds

    async def open(self, migrations: Sequence[str]) -> None:
        """Connect, bring the schema up to date and begin to serve.

        Raises Unreachable (worth another try) or ValueError (it can never work).
        """
        try:
            await self.driver.open()
            await self.driver.migrate([text.format(**self.driver.dialect) for text in migrations])
        except FAILURES as error:
            raise Unreachable(describe(error)) from error

    async def close(self) -> None:
        """Give up what is not committed and close every connection."""
        await self.driver.close()

    async def one(self, sql: str, *arguments: Any) -> Row | None:
        """Return the first row, or None."""
        rows = await self.all(sql, *arguments)
        return rows[0] if rows else None

    async def all(self, sql: str, *arguments: Any) -> list[Row]:
        """Return all rows of one reading statement."""
        async with self._bounded():
            return await self.driver.fetch(sql, arguments)

    async def write(self, *statements: Statement) -> list[list[Row]]:
        """Run statements `(sql, *arguments)` in one transaction; return the rows of each.

        When it returns they are durable. When it raises they may be durable all the same.
        """
        async with self._bounded():
            return await self.driver.write(statements)

    async def write_apart(self, *statements: Statement) -> None:
        """Like `write` for statements none of which touches a row of another; without rows.

        However many they are, they cost one round trip.
        """
        async with self._bounded():
            await self.driver.write_apart(statements)

    async def write_each(self, sql: str, arguments: Sequence[Sequence[Any]]) -> list[Row]:
        """Like `write` for one statement with each of these arguments; return the rows of all.

        However many they are, they cost one round trip.
        """
        async with self._bounded():
            return await self.driver.write_each(sql, arguments)

    async def load(
        self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Insert many rows at the start. Raises Unreachable."""
        try:
            await self.driver.load(table, columns, rows)
        except FAILURES as error:
            raise Unreachable(describe(error)) from error

    async def ping(self) -> None:
        """Return when the database answers; it is asked even while its breaker is open."""
        try:
            async with asyncio.timeout(self._patience_seconds):
                await self.driver.fetch("SELECT 1", ())
        except FAILURES as error:
            raise DependencyFailed(DATABASE) from error

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        with self._call():
            async with asyncio.timeout(self._patience_seconds):
                yield

    @contextmanager
    def _call(self) -> Iterator[None]:
        try:
            with self._dependencies.call(DATABASE):
                yield
        except FAILURES as error:
            logger.warning("database: %s", describe(error))
            raise DependencyFailed(DATABASE) from error
