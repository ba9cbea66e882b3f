"""Reserve the new model: never lost, never doubled."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Body as JSONBody
from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from target_service.api.requests import Body, Id, IdempotencyKey, Text, add, created, owner_of
from target_service.backend import Backend
from target_service.database import Row
from target_service.problems import not_found


class ReservationRequest(Body):
    """Which model."""

    model: Text = "launch-edition"


class Reservation(BaseModel):
    """A place in the queue for the new model."""

    id: str
    state: Literal["reserved"]
    model: str
    created_at: str


class Reservations(BaseModel):
    """The reservations of the owner who is signed in, the newest first."""

    reservations: list[Reservation]


def add_routes(app: FastAPI, backend: Backend) -> None:
    """Add the routes of this feature."""
    store = backend.reservations

    @add(app, "reserve", Reservation)
    async def reserve(
        request: Request,
        idempotency_key: IdempotencyKey,
        wanted: Annotated[ReservationRequest | None, JSONBody()] = None,
    ) -> Response:
        owner_id = owner_of(request, backend)
        values = (wanted or ReservationRequest()).model_dump()
        async with backend.work.slot("reserve"):
            stored, made = await store.create(idempotency_key, owner_id, values)
        return created(_body(stored), f"/v1/reservations/{stored['id']}", made)

    @add(app, "reservations", Reservations)
    async def reservations(request: Request) -> Response:
        owner_id = owner_of(request, backend)
        async with backend.work.slot("reservations"):
            stored = await store.of_owner(owner_id)
        return JSONResponse({"reservations": [_body(row) for row in stored]})

    @add(app, "reservation", Reservation)
    async def reservation(reservation_id: Id, request: Request) -> Response:
        owner_id = owner_of(request, backend)
        async with backend.work.slot("reservation"):
            stored = await store.get(reservation_id, owner_id)
        if stored is None:
            raise not_found("reservation")
        return JSONResponse(_body(stored))


def _body(stored: Row) -> dict[str, Any]:
    return {
        "id": stored["id"],
        "state": "reserved",
        "model": stored["model"],
        "created_at": stored["created_at"],
    }
