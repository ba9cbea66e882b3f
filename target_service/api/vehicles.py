"""The state of a car: battery, range, locks, climate, software."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.responses import Response

from target_service.api.requests import check_vin
from target_service.backend import Backend
from target_service.problems import not_found


def add_routes(app: FastAPI, backend: Backend) -> None:
    """Add the routes of this feature."""

    @app.get("/v1/vehicles/{vin}/state")
    async def vehicle_state(vin: str) -> Response:
        check_vin(vin)
        async with backend.slots.slot():
            state = await backend.storage.vehicle_state(vin)
        if state is None:
            raise not_found("vehicle")
        return JSONResponse(state)
