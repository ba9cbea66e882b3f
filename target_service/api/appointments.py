"""Book a service appointment for a car."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Final

from fastapi import FastAPI, Request
from pydantic import AwareDatetime, BaseModel, Field
from starlette.responses import JSONResponse, Response

from target_service.api.requests import (
    Body,
    IdempotencyKey,
    add,
    created,
    owner_of,
    require_car,
)
from target_service.backend import Backend
from target_service.database import Row
from target_service.garage import VIN_PATTERN
from target_service.problems import Problem
from target_service.routes import BY_NAME

FURTHEST_SECONDS: Final = 365 * 86_400
# Letters of Latin, Greek and Chinese; no control characters, which PostgreSQL fails on.
CONCERN_PATTERN = "^[ -~\u00a1-\u00ac\u00ae-\u0377\u3001-\u3011\u4e00-\u9ffc\uff01-\uff5e]+$"
_SHOWN = ("id", "vin", "starts_at", "concern", "created_at")


class AppointmentRequest(Body):
    """Which car, when (with its offset from UTC, within a year) and what is the matter."""

    vin: str = Field(pattern=VIN_PATTERN)
    starts_at: AwareDatetime
    concern: str = Field(min_length=1, max_length=500, pattern=CONCERN_PATTERN)


class Appointment(BaseModel):
    """A booked appointment; times are UTC."""

    id: str
    vin: str
    starts_at: str
    concern: str
    created_at: str


class Appointments(BaseModel):
    """The appointments of the owner who is signed in, the newest first."""

    appointments: list[Appointment]


def add_routes(app: FastAPI, backend: Backend) -> None:
    """Add the routes of this feature."""
    store = backend.appointments

    @add(app, "appointment", Appointment)
    async def appointment(
        wanted: AppointmentRequest, request: Request, idempotency_key: IdempotencyKey
    ) -> Response:
        owner_id = owner_of(request, backend)
        starts_at = _utc(wanted.starts_at)
        values = {"vin": wanted.vin, "starts_at": starts_at, "concern": wanted.concern}
        async with backend.work.slot("appointment"):
            await require_car(wanted.vin, owner_id, backend)
            # What was once made is answered again, also when its time has come.
            if not await store.knows(idempotency_key, owner_id):
                _require_soon(wanted.starts_at)
            stored, made = await store.create(idempotency_key, owner_id, values)
        return created(_body(stored), BY_NAME["appointments"].path, made)

    @add(app, "appointments", Appointments)
    async def appointments(request: Request) -> Response:
        owner_id = owner_of(request, backend)
        async with backend.work.slot("appointments"):
            stored = await store.of_owner(owner_id)
        return JSONResponse({"appointments": [_body(row) for row in stored]})


NOT_SOON = "starts_at must be in the future, at most a year ahead"


def _utc(starts_at: datetime) -> str:
    """Return the time in one notation, so that equal requests have equal fingerprints."""
    try:
        return starts_at.astimezone(UTC).isoformat(timespec="seconds")
    except OverflowError:
        raise Problem(422, "invalid", NOT_SOON) from None


def _require_soon(starts_at: datetime) -> None:
    """Raise the 422 for a time that is over, or over a year ahead."""
    ahead_seconds = starts_at.timestamp() - time.time()
    if not 0 < ahead_seconds <= FURTHEST_SECONDS:
        raise Problem(422, "invalid", NOT_SOON)


def _body(stored: Row) -> dict[str, Any]:
    return {name: stored[name] for name in _SHOWN}
