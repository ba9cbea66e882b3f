"""Planned maintenance, kept in the database so that replicas and restarts agree on it."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from launchday import Maintenance, MaintenanceWindow
from target_service.announcements import Announcer
from target_service.database import Database, Row, Statement
from target_service.dependencies import DependencyFailed
from target_service.notifications import Notifications, now
from target_service.problems import Problem, not_found
from target_service.routes import SHEDDABLE

POLL_SECONDS = 1.0
KIND = "maintenance"
SETTING_PREFIX = "setting-"
SETTING_SENTENCE = "Planned maintenance: the service is closed for a while"

logger = logging.getLogger(__name__)

# Nobody else reads it. Whoever writes it waits for the other replicas' changes of windows, so that
# two of them cannot store windows that overlap, or tell the end of one twice.
_LOCK: Statement = (
    "INSERT INTO secrets (name, value) VALUES ('maintenance_lock', '') "
    "ON CONFLICT (name) DO UPDATE SET value = ''",
)
_WINDOWS = "SELECT * FROM maintenance_windows WHERE ended = 0 ORDER BY starts_unix"
_OVERLAPS = (
    "EXISTS (SELECT 1 FROM maintenance_windows WHERE ended = 0 AND id <> $1 "
    "AND starts_unix < $3 AND ends_unix > $2)"
)
_ADD = (
    "INSERT INTO maintenance_windows "
    "(id, starts_unix, ends_unix, sentence, open_classes, ends_by_itself, ended) "
    "SELECT CAST($1 AS TEXT), CAST($2 AS DOUBLE PRECISION), CAST($3 AS DOUBLE PRECISION), "
    "CAST($4 AS TEXT), CAST($5 AS TEXT), CAST($6 AS INTEGER), 0 "
    f"WHERE NOT {_OVERLAPS} ON CONFLICT (id) DO NOTHING RETURNING id"
)
_MOVE_END = (
    "UPDATE maintenance_windows SET ends_unix = $3 "
    f"WHERE id = $1 AND starts_unix = $2 AND ended = 0 AND NOT {_OVERLAPS} RETURNING id"
)
_CANCEL = "UPDATE maintenance_windows SET ended = 1 WHERE id = $1 AND ended = 0 RETURNING id"
# One that overran into the next ends with it: whoever ends maintenance wants the doors open.
_END_BEGUN = (
    "UPDATE maintenance_windows SET ended = 1 WHERE ended = 0 AND starts_unix <= $1 RETURNING id"
)
_FORGET_OTHER_SETTINGS = (
    f"UPDATE maintenance_windows SET ended = 1 WHERE id LIKE '{SETTING_PREFIX}%' AND id <> $1"
)
_NOTIFY_EVERYBODY = (
    "INSERT INTO notifications (owner_id, kind, title, created_at, created_unix) "
    f"SELECT CAST(NULL AS BIGINT), '{KIND}', CAST($2 AS TEXT), CAST($3 AS TEXT), "
    "CAST($4 AS DOUBLE PRECISION) "
    "WHERE EXISTS (SELECT 1 FROM maintenance_windows WHERE id = $1 AND ended = 0)"
)


@dataclass(frozen=True)
class Planned:
    """A window with the id by which it is changed and ended."""

    id: str
    window: MaintenanceWindow


class PlannedMaintenance:
    """Announces, changes and ends windows; `doors` is what the middleware asks.

    Everybody is notified in the same transaction. Replicas hear of a change within a second; the
    beginning and the end that was planned they know by the clock. While the database does not
    answer, what was last known stands.
    """

    def __init__(
        self, database: Database, notifications: Notifications, announcer: Announcer
    ) -> None:
        self.doors = Maintenance()
        self.planned: tuple[Planned, ...] = ()
        self._database = database
        self._notifications = notifications
        self._announcer = announcer

    async def open(self, starts_at: datetime | None, ends_at: datetime | None) -> None:
        """Load what is planned, and plan the window of the settings, if any.

        It is planned once: ended early it stays ended after a restart. Raises ValueError when it
        overlaps another.
        """
        if starts_at is not None and ends_at is not None:
            await self._plan_setting(starts_at.timestamp(), ends_at.timestamp())
        await self.load()

    async def _plan_setting(self, starts_unix: float, ends_unix: float) -> None:
        if ends_unix <= time.time():
            logger.warning("TARGET_MAINTENANCE_ENDS_AT: the window was over at %s", utc(ends_unix))
            return
        setting_id = f"{SETTING_PREFIX}{starts_unix:.0f}-{ends_unix:.0f}"
        window = MaintenanceWindow(starts_unix, ends_unix, SETTING_SENTENCE)
        rows = await self._database.write(
            _LOCK, (_FORGET_OTHER_SETTINGS, setting_id), _add(setting_id, window)
        )
        if rows[2]:
            await self._notifications.add(None, KIND, _title(window))
            self._announcer.post("announced", setting_id, window)
            return
        sql = "SELECT id FROM maintenance_windows WHERE id = $1"
        if await self._database.one(sql, setting_id) is None:
            raise ValueError(
                f"TARGET_MAINTENANCE_STARTS_AT: {utc(starts_unix)} is not allowed: the window "
                "overlaps one that was announced"
            )

    async def load(self) -> None:
        """Take over what the database holds."""
        self._take_over(await self._database.all(_WINDOWS))

    def _take_over(self, rows: list[Row]) -> None:
        now_unix = time.time()
        planned = tuple(_planned(row) for row in rows)
        self.doors.replace_windows(each.window for each in planned)
        self.planned = tuple(each for each in planned if not _is_over(each.window, now_unix))

    async def announce(self, window: MaintenanceWindow) -> Planned:
        """Plan a window and tell everybody. Raises the 409 when it overlaps another."""
        planned = Planned(str(uuid.uuid4()), window)
        rows = await self._database.write(
            _LOCK, _add(planned.id, window), _notify(planned.id, _title(window))
        )
        if not rows[1]:
            raise _overlap()
        await self._told("announced", planned)
        return planned

    async def move_end(self, window_id: str, ends_at_unix: float) -> Planned:
        """Extend or shorten a window. Raises 404, 409 for an overlap, 422 for an end gone by."""
        before = await self._find(window_id)
        starts_unix = before.window.starts_at_unix
        if ends_at_unix <= max(time.time(), starts_unix):
            title = "ends_at must be in the future and after the beginning; DELETE ends it now"
            raise Problem(422, "invalid", title)
        title = f"Maintenance ends at {utc(ends_at_unix)}: {before.window.sentence}"
        move = (_MOVE_END, window_id, starts_unix, ends_at_unix)
        rows = await self._database.write(_LOCK, move)
        if not rows[1]:
            await self._find(window_id)
            raise _overlap()
        await self._notifications.add(None, KIND, title)
        planned = await self._find(window_id)
        await self._told("changed", planned)
        return planned

    async def end(self, window_id: str) -> Planned:
        """Open the doors now, or cancel what has not begun. Raises the 404."""
        planned = await self._find(window_id)
        begun = planned.window.covers(time.time())
        words = "Maintenance is over" if begun else "Maintenance is cancelled"
        if not await self._end(planned, words, "ended" if begun else "cancelled"):
            raise not_found("maintenance window")
        return planned

    async def _end(self, planned: Planned, words: str, change: str) -> bool:
        """End a window and tell everybody; return False when another replica did."""
        now_unix = time.time()
        begun = change == "ended" and not _is_over(planned.window, now_unix)
        # A window that ended by the clock must not take the one after it along.
        end = (_END_BEGUN, now_unix) if begun else (_CANCEL, planned.id)
        title = f"{words}: {planned.window.sentence}"
        rows = await self._database.write(_LOCK, _notify(planned.id, title), end)
        if not any(row["id"] == planned.id for row in rows[2]):
            return False
        await self._told(change, planned)
        return True

    async def _find(self, window_id: str) -> Planned:
        await self.load()
        for planned in self.planned:
            if planned.id == window_id:
                return planned
        raise not_found("maintenance window")

    async def _told(self, change: str, planned: Planned) -> None:
        self._notifications.look()
        self._announcer.post(change, planned.id, planned.window)
        # What was written is valid whether or not it can be read right now.
        with suppress(DependencyFailed):
            await self.load()

    async def run(self) -> None:
        """Once a second take over what others changed, and end what is over, for ever."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self._poll()
            except DependencyFailed:
                continue
            except ValueError:
                logger.exception("maintenance windows in the database cannot be taken over")

    async def _poll(self) -> None:
        rows = await self._database.all(_WINDOWS)
        self._take_over(rows)
        now_unix = time.time()
        closing = self.doors.closed_by(now_unix)
        if closing is not None and SHEDDABLE not in closing.open_classes:
            # They would be in flight for the whole window, and a new one is refused.
            self._notifications.streams.end_open()
        for planned in map(_planned, rows):
            if _is_over(planned.window, now_unix):
                await self._end(planned, "Maintenance is over", "ended")


def utc(unix: float) -> str:
    """Return a time in words for people, UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(unix))


def _title(window: MaintenanceWindow) -> str:
    return f"{window.sentence} ({utc(window.starts_at_unix)} to {utc(window.ends_at_unix)})"


def _planned(row: Row) -> Planned:
    window = MaintenanceWindow(
        row["starts_unix"],
        row["ends_unix"],
        row["sentence"],
        frozenset(row["open_classes"].split()),
        bool(row["ends_by_itself"]),
    )
    return Planned(row["id"], window)


def _is_over(window: MaintenanceWindow, now_unix: float) -> bool:
    return now_unix >= window.ends_at_unix and not window.covers(now_unix)


def _add(window_id: str, window: MaintenanceWindow) -> Statement:
    classes, by_itself = " ".join(sorted(window.open_classes)), int(window.ends_by_itself)
    times = float(window.starts_at_unix), float(window.ends_at_unix)
    return _ADD, window_id, *times, window.sentence, classes, by_itself


def _notify(window_id: str, title: str) -> Statement:
    """Notify everybody if this window is planned."""
    return _NOTIFY_EVERYBODY, window_id, title, *now()


def _overlap() -> Problem:
    title = "The window overlaps another that is planned: change or end that one"
    return Problem(409, "maintenance_overlap", title)
