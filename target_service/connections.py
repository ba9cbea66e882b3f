"""Database connections that are kept: readers side by side, one writer that commits in groups."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

LARGEST_GROUP = 64

T = TypeVar("T")
Write = Callable[[AsyncConnection], Awaitable[T]]


class Discards:
    """Closes connections whose state is unknown, out of everybody's way: a dead peer is slow."""

    def __init__(self) -> None:
        self._closing: set[asyncio.Task[None]] = set()

    def drop(self, connection: AsyncConnection) -> None:
        """Close `connection` in the background."""
        task = asyncio.create_task(_close(connection))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def finish(self) -> None:
        """Wait until all are closed."""
        await asyncio.gather(*self._closing)


async def _close(connection: AsyncConnection) -> None:
    with suppress(Exception):
        await connection.invalidate()
    with suppress(Exception):
        await connection.close()


class Readers:
    """Up to `size` connections in autocommit, kept between uses.

    Checking one out of SQLAlchemy's pool for each query costs as much CPU time as the query.
    """

    def __init__(self, engine: AsyncEngine, size: int, discards: Discards) -> None:
        self._engine = engine
        self._discards = discards
        self._room = asyncio.Semaphore(size)
        self._idle: list[AsyncConnection] = []

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """Lend a connection; after an error all kept ones are suspect and dropped."""
        async with self._room:
            connection = self._idle.pop() if self._idle else await self._engine.connect()
            try:
                yield connection
            except BaseException:
                self._discards.drop(connection)
                self.close()
                raise
            self._idle.append(connection)

    def close(self) -> None:
        """Drop the connections that nobody uses."""
        while self._idle:
            self._discards.drop(self._idle.pop())


@dataclass
class _Pending(Generic[T]):
    write: Write[T]
    result: asyncio.Future[T]


class GroupCommit:
    """Runs writes one after the other on one connection, many per transaction.

    Whatever arrives while a commit waits for the disk goes into the next one together. The
    caller gets its result after the commit: what is acknowledged is durable. SQLite has one
    writer anyway; PostgreSQL saves round trips. A write must not fail but for the database:
    its group fails with it. `patience_seconds` bounds one group.
    """

    def __init__(self, engine: AsyncEngine, patience_seconds: float, discards: Discards) -> None:
        self._engine = engine
        self._discards = discards
        self._patience_seconds = patience_seconds
        self._queue: asyncio.Queue[_Pending[Any]] = asyncio.Queue()
        self._connection: AsyncConnection | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to serve writes."""
        self._task = asyncio.create_task(self._run(), name="group-commit")

    async def close(self) -> None:
        """Stop; writes that are not committed fail with CancelledError."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        while not self._queue.empty():
            self._queue.get_nowait().result.cancel()
        self._disconnect()

    async def submit(self, write: Write[T]) -> T:
        """Run `write` in a transaction and return its result once it is durable."""
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Pending(write, result))
        return await result

    async def _run(self) -> None:
        while True:
            group = [await self._queue.get()]
            while not self._queue.empty() and len(group) < LARGEST_GROUP:
                group.append(self._queue.get_nowait())
            wanted = [pending for pending in group if not pending.result.done()]
            if wanted:
                await self._commit(wanted)

    async def _commit(self, group: list[_Pending[Any]]) -> None:
        try:
            async with asyncio.timeout(self._patience_seconds):
                results = await self._write(group)
        except BaseException as error:
            for pending in group:
                if not pending.result.done():
                    pending.result.set_exception(_for_caller(error))
            self._disconnect()
            if not isinstance(error, Exception):
                raise
        else:
            for pending, result in zip(group, results, strict=True):
                if not pending.result.done():
                    pending.result.set_result(result)

    async def _write(self, group: list[_Pending[Any]]) -> list[Any]:
        if self._connection is None:
            self._connection = await self._engine.connect()
        async with self._connection.begin():
            return [await pending.write(self._connection) for pending in group]

    def _disconnect(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            self._discards.drop(connection)


def _for_caller(error: BaseException) -> BaseException:
    # Cancelling the writer must not look like a cancellation of the caller.
    return error if isinstance(error, Exception) else ConnectionError("the writer stopped")
