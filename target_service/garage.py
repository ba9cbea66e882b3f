"""Cars as the backend knows them: who owns them, their state, what they were told."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from prometheus_client import Counter

from target_service.database import Database, Row, Statement
from target_service.dependencies import DependencyFailed

REMEMBERED_CARS = 20_000
VIN_PATTERN = "^[A-Z0-9]{17}$"

T = TypeVar("T")

FLAGS = ("locked", "climate_on", "charging", "valet_mode")
_COLUMNS = (
    "vin, name, battery_percent, range_km, latitude, longitude, locked, climate_on, charging, "
    "valet_mode, charge_limit_percent, odometer_km, software_version, reported_unix"
)
_STATE = f"SELECT owner_id, {_COLUMNS} FROM vehicles WHERE vin = $1"
_OF_OWNER = "SELECT vin, name, battery_percent FROM vehicles WHERE owner_id = $1 ORDER BY vin"
_OWNER = "SELECT owner_id FROM vehicles WHERE vin = $1"
_COMMAND = "SELECT * FROM commands WHERE id = $1"
_UNFINISHED = "SELECT * FROM commands WHERE state = 'pending' AND created_unix > $1"
_INSERT_COMMAND = (
    "INSERT INTO commands (id, vin, command, arguments, state, created_unix, updated_unix) "
    "VALUES ($1, $2, $3, $4, $5, $6, $6) "
)
# Pending never replaces an end, and nothing replaces done.
_PROMISE = _INSERT_COMMAND + "ON CONFLICT (id) DO NOTHING"
_FINISH = _INSERT_COMMAND + (
    "ON CONFLICT (id) DO UPDATE SET state = excluded.state, updated_unix = excluded.updated_unix "
    "WHERE commands.state <> 'done'"
)


@dataclass(frozen=True)
class Order:
    """One command as it is sent: the car executes an id once."""

    id: str
    vin: str
    command: str
    arguments: str = ""  # a JSON object, or empty


@dataclass(frozen=True)
class Known:
    """The state of a car, and how old: 0 seconds when the database was just asked."""

    owner_id: int
    state: dict[str, Any]
    age_seconds: float


class Garage:
    """Reads and writes cars and their commands; raises DependencyFailed like the database.

    Who owns a car is remembered from whatever was read of it: without the database, too, owners
    can tell their car something once they have looked at it.
    """

    def __init__(self, database: Database, stale_reads: Counter) -> None:
        self._database = database
        self._stale_reads = stale_reads
        self._owners: OrderedDict[str, int] = OrderedDict()
        self._last_known: OrderedDict[str, tuple[Known, float]] = OrderedDict()

    async def owner_of(self, vin: str) -> int | None:
        """Return who owns this car, None for an unknown one. Remembered: no car changes hands."""
        owner_id = self._owners.get(vin)
        if owner_id is None:
            row = await self._database.one(_OWNER, vin)
            if row is None:
                return None
            owner_id = int(row["owner_id"])
            _remember(self._owners, vin, owner_id)
        return owner_id

    async def cars_of(self, owner_id: int) -> list[dict[str, Any]]:
        """Return the cars of an owner, in short."""
        cars = [dict(row) for row in await self._database.all(_OF_OWNER, owner_id)]
        for car in cars:
            _remember(self._owners, car["vin"], owner_id)
        return cars

    async def state_of(self, vin: str) -> Known | None:
        """Return the state of a car; the last known one when the database fails."""
        try:
            row = await self._database.one(_STATE, vin)
        except DependencyFailed:
            if vin not in self._last_known:
                raise
            self._stale_reads.inc()
            known, read_at = self._last_known[vin]
            return Known(known.owner_id, known.state, time.monotonic() - read_at)
        if row is None:
            return None
        state = dict(row)
        for flag in FLAGS:
            state[flag] = bool(state[flag])
        known = Known(state.pop("owner_id"), state, 0.0)
        _remember(self._last_known, vin, (known, time.monotonic()))
        _remember(self._owners, vin, known.owner_id)
        return known

    async def update(self, vin: str, changes: Mapping[str, Any]) -> None:
        """Store new values of columns of a car."""
        await self._database.write(_update(vin, changes))

    async def command(self, command_id: str) -> Row | None:
        """Return the row of a command that ended or was promised, or None."""
        return await self._database.one(_COMMAND, command_id)

    async def unfinished(self, since_unix: float) -> list[Order]:
        """Return what was promised since then and has not ended."""
        rows = await self._database.all(_UNFINISHED, since_unix)
        return [Order(row["id"], row["vin"], row["command"], row["arguments"]) for row in rows]

    async def promise(self, order: Order) -> None:
        """Store that a command is on its way."""
        await self._database.write(_row_of(_PROMISE, order, "pending"))

    async def finish(self, order: Order, state: str) -> None:
        """Store how a command ended, and what it did to the car if it is done."""
        write = [_row_of(_FINISH, order, state)]
        changes = effect_of(order) if state == "done" else {}
        if changes:
            write.append(_update(order.vin, changes))
        await self._database.write_apart(*write)


def effect_of(order: Order) -> dict[str, Any]:
    """Return which columns of the car a command changes, and to what."""
    arguments = json.loads(order.arguments or "{}")
    match order.command:
        case "lock" | "unlock":
            return {"locked": int(order.command == "lock")}
        case "climate_start" | "climate_stop":
            return {"climate_on": int(order.command == "climate_start")}
        case "charge_start" | "charge_stop":
            return {"charging": int(order.command == "charge_start")}
        case "valet_on" | "valet_off":
            return {"valet_mode": int(order.command == "valet_on")}
        case "charge_limit":
            return {"charge_limit_percent": arguments["percent"]}
    # honk, flash, summon: nothing stays. charging_schedule: stored before it was sent, and the
    # one that is stored last stands, in whatever order the car hears of them.
    return {}


def _row_of(sql: str, order: Order, state: str) -> Statement:
    return sql, order.id, order.vin, order.command, order.arguments, state, time.time()


def _update(vin: str, changes: Mapping[str, Any]) -> Statement:
    sets = ", ".join(f"{column} = ${number}" for number, column in enumerate(changes, start=2))
    return f"UPDATE vehicles SET {sets} WHERE vin = $1", vin, *changes.values()


def _remember(kept: OrderedDict[str, T], key: str, value: T) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > REMEMBERED_CARS:
        kept.popitem(last=False)
