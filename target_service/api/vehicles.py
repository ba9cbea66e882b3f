"""The cars of an owner, and the state of a car: battery, range, place, locks, climate, software."""

from __future__ import annotations

from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from target_service.api.requests import Vin, add, owner_of
from target_service.backend import Backend
from target_service.problems import not_found


class Vehicle(BaseModel):
    """A car in short."""

    vin: str
    name: str
    battery_percent: int


class Vehicles(BaseModel):
    """The cars of the owner who is signed in."""

    vehicles: list[Vehicle]


class VehicleState(Vehicle):
    """What the backend knows of a car.

    `age_seconds` is 0 when it was just read; with `stale` the database did not answer, and this
    is what was last known. `reported_unix` is when the car itself last spoke.
    """

    range_km: int
    latitude: float
    longitude: float
    locked: bool
    climate_on: bool
    charging: bool
    valet_mode: bool
    charge_limit_percent: int
    odometer_km: int
    software_version: str
    reported_unix: float
    age_seconds: float
    stale: bool


def add_routes(app: FastAPI, backend: Backend) -> None:
    """Add the routes of this feature."""

    @add(app, "state", VehicleState)
    async def state(vin: Vin, request: Request) -> Response:
        owner_id = owner_of(request, backend)
        async with backend.work.slot("state"):
            known = await backend.garage.state_of(vin)
        if known is None or known.owner_id != owner_id:
            raise not_found("vehicle")
        age = {"age_seconds": round(known.age_seconds, 3), "stale": known.age_seconds > 0}
        return JSONResponse(known.state | age)

    @add(app, "vehicles", Vehicles)
    async def vehicles(request: Request) -> Response:
        owner_id = owner_of(request, backend)
        async with backend.work.slot("vehicles"):
            cars = await backend.garage.cars_of(owner_id)
        return JSONResponse({"vehicles": cars})
