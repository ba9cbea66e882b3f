"""Software of a car: what is installed, what is available, and when the update is installed."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from typing import Any, Final, Literal

from fastapi import FastAPI, Request
from pydantic import AwareDatetime, BaseModel
from starlette.responses import JSONResponse, Response

from target_service.api.requests import Body, Vin, add, owner_of
from target_service.backend import Backend
from target_service.database import Row
from target_service.dependencies import DependencyFailed
from target_service.problems import Problem, not_found

LATEST_VERSION: Final = "2026.46.3"
INSTALLATION_SECONDS: Final = 600.0
FURTHEST_SECONDS: Final = 30 * 86_400
# Clocks of phones are wrong by that much: their "now" must not be refused as the past.
CLOCK_ERROR_SECONDS: Final = 60

_SOFTWARE = (
    "SELECT vehicles.owner_id, vehicles.software_version, software_updates.version, "
    "software_updates.starts_unix FROM vehicles "
    "LEFT JOIN software_updates ON software_updates.vin = vehicles.vin WHERE vehicles.vin = $1"
)
# One that has begun is not moved, whoever asks at the same time.
_SCHEDULE = (
    "INSERT INTO software_updates (vin, version, starts_unix) VALUES ($1, $2, $3) "
    "ON CONFLICT (vin) DO UPDATE SET version = excluded.version, "
    "starts_unix = excluded.starts_unix WHERE software_updates.starts_unix > $4 "
    "OR (software_updates.version <> excluded.version AND software_updates.starts_unix <= $5) "
    "RETURNING vin"
)

State = Literal["none", "available", "scheduled", "installing", "installed"]


class SoftwareUpdateRequest(Body):
    """When to install, with its offset from UTC; at most 30 days ahead."""

    starts_at: AwareDatetime


class Software(BaseModel):
    """What is installed and what is to come.

    `state` is about `available_version`: `none` when there is nothing newer, `installed` when
    the scheduled installation, which takes ten minutes, is over.
    """

    installed_version: str
    available_version: str | None
    state: State
    starts_at: str | None
    progress_percent: int


def software_at(
    row: Row | dict[str, Any], now_unix: float, latest_version: str = LATEST_VERSION
) -> Software:
    """Return the software of a car at a time: a pure function, no job runs in the background.

    `row`: `software_version` of the car, `version` and `starts_unix` of its last update or None.
    """
    installed: str = row["software_version"]
    update, starts_unix = row["version"], row["starts_unix"]
    if update is None:
        return _without_update(installed, latest_version)
    progress = (now_unix - starts_unix) / INSTALLATION_SECONDS
    done = progress >= 1
    if done and update != latest_version:
        return _without_update(update, latest_version)
    return Software(
        installed_version=update if done else installed,
        available_version=None if done else update,
        state="installed" if done else "installing" if progress >= 0 else "scheduled",
        starts_at=_text(starts_unix),
        progress_percent=int(100 * min(max(progress, 0.0), 1.0)),
    )


def _without_update(installed: str, latest_version: str) -> Software:
    newer = latest_version if installed != latest_version else None
    return Software(
        installed_version=installed,
        available_version=newer,
        state="available" if newer else "none",
        starts_at=None,
        progress_percent=0,
    )


def add_routes(app: FastAPI, backend: Backend) -> None:
    """Add the routes of this feature."""

    @add(app, "software", Software)
    async def software(vin: Vin, request: Request) -> Response:
        owner_id = owner_of(request, backend)
        async with backend.work.slot("software"):
            now = await _software_of(vin, owner_id, backend)
        return JSONResponse(now.model_dump())

    @add(app, "software_update", Software)
    async def software_update(
        vin: Vin, wanted: SoftwareUpdateRequest, request: Request
    ) -> Response:
        owner_id = owner_of(request, backend)
        starts_unix = _checked(wanted.starts_at)
        async with backend.work.slot("software_update"):
            before = await _software_of(vin, owner_id, backend)
            scheduled = await _schedule(vin, before, starts_unix, backend)
            version = scheduled["version"]
            title = f"Software {version} is ready; its installation starts at {_text(starts_unix)}"
            # It is scheduled, whether or not the owner is told of it.
            with contextlib.suppress(DependencyFailed):
                await backend.notifications.add(owner_id, "update_ready", title)
        return JSONResponse(software_at(scheduled, time.time()).model_dump(), 202)


async def _software_of(vin: str, owner_id: int, backend: Backend) -> Software:
    row = await backend.database.one(_SOFTWARE, vin)
    if row is None or row["owner_id"] != owner_id:
        raise not_found("vehicle")
    now = software_at(row, time.time())
    if now.installed_version != row["software_version"]:
        # The state of the car follows when somebody looks; no job need run for that.
        await backend.garage.update(vin, {"software_version": now.installed_version})
    return now


async def _schedule(
    vin: str, before: Software, starts_unix: float, backend: Backend
) -> dict[str, Any]:
    """Store when the update begins and return what `software_at` needs. Raises the 409s."""
    if before.state in ("none", "installed"):
        raise Problem(409, "no_update", "There is nothing newer to install")
    version, now = before.available_version, time.time()
    (rows,) = await backend.database.write(
        (_SCHEDULE, vin, version, starts_unix, now, now - INSTALLATION_SECONDS)
    )
    if not rows:
        title = "The update is being installed and cannot be moved"
        raise Problem(409, "update_installing", title)
    return {
        "software_version": before.installed_version,
        "version": version,
        "starts_unix": starts_unix,
    }


def _checked(starts_at: datetime) -> float:
    starts_unix = starts_at.timestamp()
    if not -CLOCK_ERROR_SECONDS <= starts_unix - time.time() <= FURTHEST_SECONDS:
        raise Problem(422, "invalid", "starts_at must be in the future, at most 30 days ahead")
    return starts_unix


def _text(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="seconds")
