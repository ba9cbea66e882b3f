"""Charging at home: the limit, the schedule, and what the car does now."""

from __future__ import annotations

import json
import uuid
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request
from pydantic import AfterValidator, BaseModel, Field
from starlette.responses import JSONResponse, Response

from target_service.api.commands import OWN_ID_PREFIX
from target_service.api.requests import Body, Vin, add, owner_of, require_car
from target_service.backend import Backend
from target_service.dependencies import DependencyFailed
from target_service.garage import Order
from target_service.gateway_client import VehicleOffline
from target_service.problems import not_found

_CHARGING = (
    "SELECT vin, owner_id, battery_percent, charging, charge_limit_percent, charging_schedule "
    "FROM vehicles WHERE vin = $1"
)

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _each_once(days: list[Day]) -> list[Day]:
    if len(set(days)) < len(days):
        raise ValueError("each day must come once")
    return days


class Schedule(Body):
    """When the car begins to charge, in its own time, and up to how much."""

    start: str = Field(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$", description="HH:MM")
    days: Annotated[
        list[Day],
        Field(min_length=1, max_length=7, json_schema_extra={"uniqueItems": True}),
        AfterValidator(_each_once),
    ]
    percent: int = Field(ge=50, le=100)


class Charging(BaseModel):
    """How a car charges at home; `schedule` is null until one was set."""

    vin: str
    battery_percent: int
    charging: bool
    charge_limit_percent: int
    schedule: Schedule | None


class ScheduleStored(BaseModel):
    """The schedule is stored; `delivery` says whether the car knows.

    `done`: it does. `pending`: it is on its way, see `GET /v1/commands/{command_id}`. `failed`:
    the car was not told and keeps its last schedule until this one is put again.
    """

    vin: str
    schedule: Schedule
    delivery: Literal["done", "pending", "failed"]
    command_id: str


def add_routes(app: FastAPI, backend: Backend) -> None:
    """Add the routes of this feature."""

    @add(app, "charging", Charging)
    async def charging(vin: Vin, request: Request) -> Response:
        owner_id = owner_of(request, backend)
        async with backend.work.slot("charging"):
            row = await backend.database.one(_CHARGING, vin)
        if row is None or row["owner_id"] != owner_id:
            raise not_found("vehicle")
        state = dict(row)
        del state["owner_id"]
        state["charging"] = bool(state["charging"])
        state["schedule"] = json.loads(state.pop("charging_schedule") or "null")
        return JSONResponse(state)

    @add(app, "schedule", ScheduleStored)
    async def schedule(vin: Vin, wanted: Schedule, request: Request) -> Response:
        owner_id = owner_of(request, backend)
        values = wanted.model_dump()
        text = json.dumps(values)
        async with backend.work.slot("schedule"):
            await require_car(vin, owner_id, backend)
            await backend.garage.update(vin, {"charging_schedule": text})
        # The slot is free again: a slow gateway must not starve those who do not need it.
        order = Order(f"{OWN_ID_PREFIX}{uuid.uuid4()}", vin, "charging_schedule", text)
        answer: dict[str, Any] = {"vin": vin, "schedule": values, "command_id": order.id}
        return JSONResponse(answer | {"delivery": await _deliver(order, backend)})


async def _deliver(order: Order, backend: Backend) -> str:
    try:
        answer = await backend.dispatcher.send(order)
    except (DependencyFailed, VehicleOffline):
        return "failed"
    backend.metrics.commands.labels(answer.state).inc()
    return answer.state
