"""One writer that commits in groups."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from target_service.database.errors import REFUSALS
from target_service.database.rows import Row, Statement

LARGEST_GROUP = 64
STOPPED = "the writer stopped"

Write = Sequence[Statement]
Commit = Callable[[Sequence[Write]], Awaitable[list[list[list[Row]]]]]


@dataclass
class _Pending:
    write: Write
    result: asyncio.Future[list[list[Row]]]


class GroupCommit:
    """Runs writes one after the other, many per transaction.

    Whatever arrives while a commit waits for the disk goes into the next one together. The
    caller gets its rows after the commit: what is acknowledged is durable. `patience_seconds`
    bounds one group.
    """

    def __init__(self, commit: Commit, patience_seconds: float) -> None:
        self._commit = commit
        self._patience_seconds = patience_seconds
        self._queue: asyncio.Queue[_Pending] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to serve writes; a second call does nothing."""
        self._task = self._task or asyncio.create_task(self._run(), name="group-commit")

    async def close(self) -> None:
        """Stop; writes that are not committed fail with ConnectionError."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        while not self._queue.empty():
            _fail([self._queue.get_nowait()], ConnectionError(STOPPED))

    async def submit(self, write: Write) -> list[list[Row]]:
        """Run `write` in a transaction and return its rows once it is durable."""
        result: asyncio.Future[list[list[Row]]] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Pending(write, result))
        return await result

    async def _run(self) -> None:
        while True:
            group = [await self._queue.get()]
            while not self._queue.empty() and len(group) < LARGEST_GROUP:
                group.append(self._queue.get_nowait())
            try:
                await self._serve(group)
            finally:
                # The end of the writer must not look like a cancellation of the caller.
                _fail(group, ConnectionError(STOPPED))

    async def _serve(self, group: list[_Pending]) -> None:
        wanted = [pending for pending in group if not pending.result.done()]
        if not wanted:
            return
        try:
            async with asyncio.timeout(self._patience_seconds):
                results = await self._commit([pending.write for pending in wanted])
        except Exception as error:
            if isinstance(error, REFUSALS) and len(wanted) > 1:
                for pending in wanted:
                    await self._serve([pending])
            else:
                _fail(wanted, error)
        else:
            _succeed(wanted, results)


def _succeed(group: list[_Pending], results: list[list[list[Row]]]) -> None:
    for pending, result in zip(group, results, strict=True):
        if not pending.result.done():
            pending.result.set_result(result)


def _fail(group: list[_Pending], error: Exception) -> None:
    for pending in group:
        if not pending.result.done():
            pending.result.set_exception(error)
