"""What a car reports of itself, at once or, after it had no connection, in batches."""

from __future__ import annotations

import contextlib
import time
from typing import Annotated, Any, Final

from fastapi import Body as JSONBody
from fastapi import FastAPI, Request
from pydantic import BaseModel, Discriminator, Field, Tag
from starlette.responses import JSONResponse, Response

from target_service.api.requests import Body, add, owner_of, require_car
from target_service.backend import Backend
from target_service.database import Row
from target_service.dependencies import DependencyFailed
from target_service.garage import VIN_PATTERN
from target_service.problems import Problem

LARGEST_BATCH: Final = 100
# A reading from the future would keep out all that come before it.
CLOCK_ERROR_SECONDS: Final = 60

_REPORT = (
    "UPDATE vehicles SET battery_percent = $2, range_km = $3, latitude = $4, longitude = $5, "
    "odometer_km = $6, reported_unix = $7 WHERE vin = $1 AND reported_unix < $7 "
    "RETURNING vin, charging, charge_limit_percent, battery_percent"
)
# Whoever else has a reading of it at the same time: the charge that ends is told once.
_END_CHARGE = (
    "UPDATE vehicles SET charging = 0 WHERE vin = $1 AND charging = 1 "
    "AND charge_limit_percent <= battery_percent RETURNING name, charge_limit_percent"
)


class Reading(Body):
    """What a car measured at `unix`, in seconds since the epoch by its own clock."""

    vin: str = Field(pattern=VIN_PATTERN)
    battery_percent: int = Field(ge=0, le=100)
    range_km: int = Field(ge=0, le=2000)
    latitude: float = Field(ge=-90, le=90, allow_inf_nan=False)
    longitude: float = Field(ge=-180, le=180, allow_inf_nan=False)
    odometer_km: int = Field(ge=0, le=10_000_000)
    unix: float = Field(ge=0, le=4e9, allow_inf_nan=False)


class Batch(Body):
    """Readings in any order; of each car the newest counts."""

    readings: Annotated[list[Reading], Field(min_length=1, max_length=LARGEST_BATCH)]


def _form(wanted: Any) -> str:
    is_batch = isinstance(wanted, dict) and "readings" in wanted
    return "batch" if is_batch else "reading"


# So that an error is about what the car meant to send.
Telemetry = Annotated[
    Annotated[Reading, Tag("reading")] | Annotated[Batch, Tag("batch")],
    Discriminator(_form),
    JSONBody(),
]


class Accepted(BaseModel):
    """`accepted` readings were taken; they are newer than what was known of `updated` cars."""

    accepted: int
    updated: int


def add_routes(app: FastAPI, backend: Backend) -> None:
    """Add the routes of this feature."""

    @add(app, "telemetry", Accepted)
    async def telemetry(wanted: Telemetry, request: Request) -> Response:
        owner_id = owner_of(request, backend)
        readings = wanted.readings if isinstance(wanted, Batch) else [wanted]
        newest = {each.vin: each for each in sorted(readings, key=lambda reading: reading.unix)}
        if max(each.unix for each in newest.values()) > time.time() + CLOCK_ERROR_SECONDS:
            raise Problem(422, "invalid", "unix must not be in the future")
        async with backend.work.slot("telemetry"):
            for vin in newest:
                await require_car(vin, owner_id, backend)
            updated = await _report(list(newest.values()), owner_id, backend)
        return JSONResponse({"accepted": len(readings), "updated": updated}, 202)


async def _report(newest: list[Reading], owner_id: int, backend: Backend) -> int:
    """Store what is news, tell the owner of charges that ended, return of how many cars."""
    reported = await backend.database.write_each(_REPORT, [_arguments(one) for one in newest])
    full = [(row["vin"],) for row in reported if _is_full(row)]
    ended = await backend.database.write_each(_END_CHARGE, full) if full else []
    for charged in ended:
        # The car is charged, whether or not the owner is told of it.
        with contextlib.suppress(DependencyFailed):
            await backend.notifications.add(owner_id, "charged", _charged(charged))
    return len(reported)


def _arguments(one: Reading) -> tuple[Any, ...]:
    return (
        one.vin, one.battery_percent, one.range_km, one.latitude, one.longitude, one.odometer_km,
        one.unix,
    )  # fmt: skip


def _is_full(row: Row) -> bool:
    return bool(row["charging"]) and row["charge_limit_percent"] <= row["battery_percent"]


def _charged(row: Row) -> str:
    return f"{row['name']} is charged to {row['charge_limit_percent']} %"
