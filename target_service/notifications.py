"""What owners are told: charged, update ready, maintenance; kept, listed and streamed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import Any

from starlette.responses import Response

from target_service.announcements import iso
from target_service.database import Database, Row
from target_service.dependencies import DependencyFailed
from target_service.streams import Streams, event

LISTED = 100
POLL_SECONDS = 1.0
_BATCH = 1000

_ADD = (
    "INSERT INTO notifications (owner_id, kind, title, created_at, created_unix) "
    "VALUES ($1, $2, $3, $4, $5)"
)
_NEW = "SELECT id, owner_id, created_unix FROM notifications WHERE id > $1 ORDER BY id LIMIT 1000"
_LAST_BEFORE = "SELECT COALESCE(MAX(id), 0) AS id FROM notifications WHERE created_unix <= $1"
_OF_OWNER = (
    "SELECT id, kind, title, created_at FROM notifications "
    "WHERE (owner_id = $1 OR owner_id IS NULL) AND id > $2 AND id <= $3 ORDER BY id"
)


class Notifications:
    """Notifications of owners, and those for everybody (`owner_id` None).

    Every process looks once a second for what any of them stored, up to the number below which
    nothing can appear any more (`settled_after`). Only that far is anything shown, so that
    whoever goes on after the last number that he saw misses nothing. `longest_write_seconds`:
    how long after its number was drawn a notification may still appear.
    """

    def __init__(
        self, database: Database, streams: Streams, *, longest_write_seconds: float
    ) -> None:
        self.streams = streams
        self._database = database
        self._late_seconds = longest_write_seconds
        self._settled = 0
        self._look = asyncio.Event()

    async def open(self) -> None:
        """Find out what there is; nobody is woken for it."""
        row = await self._database.one(_LAST_BEFORE, time.time() - self._late_seconds)
        self._settled = int(row["id"]) if row else 0
        await self._settle()

    async def add(self, owner_id: int | None, kind: str, title: str) -> None:
        """Tell an owner, or everybody; when it returns it is stored. Raises DependencyFailed."""
        created_at, created_unix = now()
        await self._database.write((_ADD, owner_id, kind, title, created_at, created_unix))
        self.look()

    def look(self) -> None:
        """Look now for what is new."""
        self._look.set()

    async def newest(self, owner_id: int, after: int = 0) -> list[Row]:
        """Return the newest 100 with a number above `after`, newest first."""
        sql = f"{_OF_OWNER} DESC LIMIT {LISTED}"
        return await self._database.all(sql, owner_id, after, self._settled)

    def stream(self, owner_id: int, after: int | None, check: Callable[[], Any]) -> Response:
        """Return the stream of what comes after `after`, or after now.

        `check` raises a Problem when the owner is no longer signed in; that ends the stream.
        """
        place = self._settled if after is None else after

        async def news() -> AsyncIterator[bytes]:
            nonlocal place
            while True:
                check()
                sql = f"{_OF_OWNER} LIMIT {LISTED}"
                rows = await self._database.all(sql, owner_id, place, self._settled)
                for row in rows:
                    place = row["id"]
                    yield event("notification", dict(row), place)
                if len(rows) < LISTED:
                    return

        return self.streams.answer(news, owner_id)

    async def run(self) -> None:
        """Look for what is new, for ever."""
        while True:
            with suppress(DependencyFailed):
                await self._settle()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._look.wait()
            self._look.clear()

    async def _settle(self) -> None:
        rows: list[Row] = []
        while not rows or len(rows) == _BATCH:
            rows = await self._database.all(_NEW, self._settled)
            numbers = [(int(row["id"]), float(row["created_unix"])) for row in rows]
            settled = settled_after(self._settled, numbers, time.time() - self._late_seconds)
            if settled == self._settled:
                return
            self._settled = settled
            for owner_id in {row["owner_id"] for row in rows if row["id"] <= settled}:
                self.streams.wake(owner_id)


def settled_after(settled: int, rows: Iterable[tuple[int, float]], old_unix: float) -> int:
    """Return the number below which no notification can appear any more.

    `settled` is that number until now, `rows` are the next ones with their times, by number. A
    database draws numbers before it commits: a missing one may still come, unless one above it
    is from before `old_unix`.
    """
    for number, created_unix in rows:
        if number != settled + 1 and created_unix > old_unix:
            break
        settled = number
    return settled


def now() -> tuple[str, float]:
    """Return the time as clients read it, and in seconds since 1970."""
    unix = time.time()
    return iso(unix), unix
