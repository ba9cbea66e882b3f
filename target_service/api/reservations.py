"""Reserve the new model: never lost, never doubled."""

from __future__ import annotations

import hashlib
import json

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.responses import Response

from target_service.api.requests import REPLAYED_HEADERS, check_id, idempotency_key, read_body
from target_service.backend import Backend
from target_service.problems import Problem, not_found
from target_service.storage import Reservation


class ReservationRequest(BaseModel):
    """The body of a reservation; other fields are part of its fingerprint but not stored."""

    model: str = Field("launch-edition", min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]+$")


def add_routes(app: FastAPI, backend: Backend) -> None:
    """Add the routes of this feature."""
    counts = backend.metrics.reservations

    @app.post("/v1/reservations")
    async def reserve(request: Request) -> Response:
        key = idempotency_key(request)
        if key is None:
            title = "A reservation needs the header Idempotency-Key"
            raise Problem(400, "idempotency_key", title)
        wanted, fingerprint = _parse(await read_body(request))
        async with backend.slots.slot():
            stored, created = await backend.storage.reserve(key, fingerprint, wanted.model)
        if stored.fingerprint != fingerprint:
            counts.labels("conflict").inc()
            title = "This Idempotency-Key belongs to another reservation"
            raise Problem(422, "idempotency_key_reused", title)
        counts.labels("created" if created else "replayed").inc()
        headers = {} if created else dict(REPLAYED_HEADERS)
        headers["location"] = f"/v1/reservations/{stored.id}"
        return JSONResponse(_body(stored), 201, headers)

    @app.get("/v1/reservations/{reservation_id}")
    async def reservation(reservation_id: str) -> Response:
        check_id("reservation", reservation_id)
        async with backend.slots.slot():
            stored = await backend.storage.reservation(reservation_id)
        if stored is None:
            raise not_found("reservation")
        return JSONResponse(_body(stored))


def _parse(body: bytes) -> tuple[ReservationRequest, str]:
    """Return the request and its fingerprint: equal for bodies that mean the same JSON."""
    try:
        wanted = ReservationRequest.model_validate_json(body or b"{}")
        canonical = json.dumps(json.loads(body or b"{}"), sort_keys=True)
    except (ValidationError, ValueError, RecursionError):
        title = "The body must be a JSON object; model, if given, 1 to 64 printable characters"
        raise Problem(422, "invalid", title) from None
    return wanted, hashlib.sha256(canonical.encode()).hexdigest()


def _body(stored: Reservation) -> dict[str, str]:
    return {
        "id": stored.id,
        "state": "reserved",
        "model": stored.model,
        "created_at": stored.created_at,
    }
