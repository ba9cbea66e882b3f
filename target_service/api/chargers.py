"""Fast charging in public: the charger asks for nothing but our word that the owner pays."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import FastAPI, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from target_service.api.requests import (
    Body,
    Id,
    IdempotencyKey,
    add,
    created,
    owner_of,
    require_car,
)
from target_service.backend import Backend
from target_service.database import Row
from target_service.garage import VIN_PATTERN
from target_service.problems import not_found

_SHOWN = ("id", "state", "charger_id", "vin", "created_at")


class ChargingSessionRequest(Body):
    """Which of the owner's cars is at the charger."""

    vin: str = Field(pattern=VIN_PATTERN)


class ChargingSession(BaseModel):
    """A car may charge at a charger."""

    id: str
    state: Literal["authorised"]
    charger_id: str
    vin: str
    created_at: str


def add_routes(app: FastAPI, backend: Backend) -> None:
    """Add the routes of this feature. They need the database only, never the car."""
    store = backend.charging_sessions

    @add(app, "charger_session", ChargingSession)
    async def charger_session(
        charger_id: Id,
        wanted: ChargingSessionRequest,
        request: Request,
        idempotency_key: IdempotencyKey,
    ) -> Response:
        owner_id = owner_of(request, backend)
        # Chargers are other companies' too: which there are is not ours to know.
        values = {"charger_id": charger_id, "vin": wanted.vin, "state": "authorised"}
        async with backend.work.slot("charger_session"):
            await require_car(wanted.vin, owner_id, backend)
            stored, made = await store.create(idempotency_key, owner_id, values)
        location = f"/v1/chargers/{charger_id}/sessions/{stored['id']}"
        return created(_body(stored), location, made)

    @add(app, "charger_session_state", ChargingSession)
    async def charger_session_state(charger_id: Id, session_id: Id, request: Request) -> Response:
        owner_id = owner_of(request, backend)
        async with backend.work.slot("charger_session_state"):
            stored = await store.get(session_id, owner_id)
        if stored is None or stored["charger_id"] != charger_id:
            raise not_found("charging session")
        return JSONResponse(_body(stored))


def _body(stored: Row) -> dict[str, Any]:
    return {name: stored[name] for name in _SHOWN}
