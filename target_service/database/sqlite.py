"""SQLite: reads on the event loop, writes on one thread that syncs to the disk."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, ClassVar

from target_service.database.group_commit import GroupCommit
from target_service.database.rows import Row, Statement

# A reader never waits for the writer (WAL); another process that writes holds up only writers.
BUSY_TIMEOUT_MS = 1000
NEWER = "the database is newer than this service: it knows {found} migrations, this one {known}"


class SQLite:
    """One file. `journal_mode=WAL` with `synchronous=FULL`: a commit survives a power cut."""

    dialect: ClassVar = {"serial": "INTEGER PRIMARY KEY AUTOINCREMENT"}

    def __init__(self, path: str, patience_seconds: float) -> None:
        self._path = path
        self._group = GroupCommit(self._commit_in_thread, patience_seconds)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None

    async def open(self) -> None:
        await self._disconnect()
        try:
            self._writer = await self._in_thread(self._connect)
            self._reader = self._connect()
        except sqlite3.OperationalError as error:
            if "unable to open" in str(error):
                # No later try will find it: the path is wrong.
                raise ValueError(f"TARGET_DATABASE_URL: no database there: {error}") from None
            raise
        self._group.start()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_TIMEOUT_MS}"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    async def migrate(self, migrations: Sequence[str]) -> None:
        await self._in_thread(self._migrate, migrations)

    def _migrate(self, migrations: Sequence[str]) -> None:
        connection = self._require(self._writer)
        with _Transaction(connection):
            (found,) = connection.execute("PRAGMA user_version").fetchone()
            if found > len(migrations):
                raise ValueError(NEWER.format(found=found, known=len(migrations)))
            for migration in migrations[found:]:
                for statement in migration.split(";"):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(migrations)}")

    async def fetch(self, sql: str, arguments: Sequence[Any]) -> list[Row]:
        """Read at once, on the event loop.

        A look-up by key takes 10 µs from the page cache; handing it to a thread and back costs
        several times that.
        """
        return self._require(self._reader).execute(_placeholders(sql), arguments).fetchall()

    async def write(self, statements: Sequence[Statement]) -> list[list[Row]]:
        return await self._group.submit(statements)

    async def write_apart(self, statements: Sequence[Statement]) -> None:
        await self.write(statements)

    async def write_each(self, sql: str, arguments: Sequence[Sequence[Any]]) -> list[Row]:
        results = await self.write([(sql, *each) for each in arguments])
        return [row for rows in results for row in rows]

    async def _commit_in_thread(
        self, group: Sequence[Sequence[Statement]]
    ) -> list[list[list[Row]]]:
        rows: list[list[list[Row]]] = await self._in_thread(self._commit, group)
        return rows

    def _commit(self, group: Sequence[Sequence[Statement]]) -> list[list[list[Row]]]:
        connection = self._require(self._writer)
        with _Transaction(connection):
            return [
                [connection.execute(_placeholders(sql), rest).fetchall() for sql, *rest in write]
                for write in group
            ]

    async def load(
        self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        marks = ", ".join("?" * len(columns))
        sql = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})"
        await self._in_thread(self._load, sql, rows)

    def _load(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        connection = self._require(self._writer)
        with _Transaction(connection):
            connection.executemany(sql, rows)

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def _disconnect(self) -> None:
        """Let go of what an attempt to open that failed half-way has left."""
        if self._reader is not None:
            self._reader.close()
        if self._writer is not None:
            await self._in_thread(self._writer.close)
        self._reader = self._writer = None

    async def close(self) -> None:
        await self._group.close()
        if self._reader is not None:
            self._reader.close()
        if self._writer is not None:
            # After what the thread still does; a commit that the disk holds up is left alone.
            self._thread.submit(self._writer.close)
        self._thread.shutdown(wait=False)

    @staticmethod
    def _require(connection: sqlite3.Connection | None) -> sqlite3.Connection:
        if connection is None:
            raise sqlite3.InterfaceError("not open")
        return connection


class _Transaction:
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK when the block raises."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            # A commit that failed, e.g. on a full disk, leaves the transaction open.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


@lru_cache(maxsize=256)
def _placeholders(sql: str) -> str:
    return sql.replace("$", "?")
