"""Tell a car something, and ask how far a command is."""

from __future__ import annotations

import json
import time
import uuid
from enum import StrEnum
from typing import Annotated, Literal

from fastapi import Body as JSONBody
from fastapi import FastAPI, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from target_service.api.requests import (
    REPLAYED_HEADERS,
    Body,
    Id,
    OptionalIdempotencyKey,
    Vin,
    add,
    owner_of,
    require_car,
)
from target_service.backend import Backend
from target_service.database import Row
from target_service.garage import Order
from target_service.gateway_client import (
    CommandAnswer,
    CommandIdReused,
    TooManyCommands,
    VehicleOffline,
)
from target_service.problems import Problem, not_found, overload_problem

# Of commands that came without Idempotency-Key.
OWN_ID_PREFIX = "auto-"


class Command(StrEnum):
    """What a car can be told."""

    UNLOCK = "unlock"
    LOCK = "lock"
    CHARGE_START = "charge_start"
    CHARGE_STOP = "charge_stop"
    CHARGE_LIMIT = "charge_limit"
    CLIMATE_START = "climate_start"
    CLIMATE_STOP = "climate_stop"
    SUMMON = "summon"
    VALET_ON = "valet_on"
    VALET_OFF = "valet_off"
    HONK = "honk"
    FLASH = "flash"


class CommandArguments(Body):
    """What a command needs: `charge_limit` a percentage, the others nothing."""

    percent: int | None = Field(default=None, ge=50, le=100)


class CommandState(BaseModel):
    """How far a command is.

    `failed`: given up after its time limit. `expired`: promised, and the service stopped before it
    was done. Of both a car that was just being reached may still have executed it, once.
    """

    command_id: str
    state: Literal["done", "pending", "failed", "expired"]
    vin: str
    command: str


def add_routes(app: FastAPI, backend: Backend) -> None:
    """Add the routes of this feature."""

    @add(app, "command", CommandState)
    async def command(
        vin: Vin,
        command: Command,
        request: Request,
        idempotency_key: OptionalIdempotencyKey = None,
        arguments: Annotated[CommandArguments | None, JSONBody()] = None,
    ) -> Response:
        owner_id = owner_of(request, backend)
        text = _arguments_of(command, arguments)
        async with backend.work.slot("command"):
            await require_car(vin, owner_id, backend)
        # The slot is free again: a slow gateway must not starve those who do not need it.
        command_id = idempotency_key or f"{OWN_ID_PREFIX}{uuid.uuid4()}"
        order = Order(command_id, vin, command.value, text)
        return await send(order, backend)

    @add(app, "command_state", CommandState)
    async def command_state(command_id: Id, request: Request) -> Response:
        owner_id = owner_of(request, backend)
        async with backend.work.slot("command_state"):
            found = await _state_of(command_id, backend)
            if found is None or await backend.garage.owner_of(found["vin"]) != owner_id:
                raise not_found("command")
        return JSONResponse(found)


async def send(order: Order, backend: Backend) -> Response:
    """Send a command to its car and answer how far it is: 200 done, 202 promised."""
    try:
        answer = await backend.dispatcher.send(order)
    except CommandIdReused:
        title = "This Idempotency-Key belongs to another command"
        raise Problem(422, "idempotency_key_reused", title) from None
    except TooManyCommands:
        raise overload_problem("Too many commands are on their way; try again soon") from None
    except VehicleOffline:
        title = "The car has no connection; the phone key and the key card work without"
        raise Problem(409, "vehicle_offline", title) from None
    backend.metrics.commands.labels("replayed" if answer.replayed else answer.state).inc()
    return _respond(order, answer)


def _arguments_of(command: Command, arguments: CommandArguments | None) -> str:
    """Return the arguments as the car gets them. Raises 422 when they do not fit the command."""
    percent = arguments.percent if arguments else None
    if (command is Command.CHARGE_LIMIT) != (percent is not None):
        title = 'charge_limit needs {"percent": 50 to 100}; the other commands take no arguments'
        raise Problem(422, "invalid", title)
    return "" if percent is None else json.dumps({"percent": percent})


async def _state_of(command_id: str, backend: Backend) -> dict[str, str] | None:
    order = backend.dispatcher.on_its_way(command_id)
    if order is not None:
        return _body(order, "pending")
    row = await backend.garage.command(command_id)
    if row is None:
        return None
    state = state_by_now(row, backend.dispatcher.time_limit_seconds)
    return _body(Order(command_id, row["vin"], row["command"]), state)


def state_by_now(row: Row, time_limit_seconds: float) -> str:
    """Return the state of a stored command; `expired` when the process that promised it is gone."""
    late = time.time() - row["created_unix"] > time_limit_seconds
    return "expired" if row["state"] == "pending" and late else str(row["state"])


def _body(order: Order, state: str) -> dict[str, str]:
    return {"command_id": order.id, "state": state, "vin": order.vin, "command": order.command}


def _respond(order: Order, answer: CommandAnswer) -> Response:
    headers = dict(REPLAYED_HEADERS) if answer.replayed else {}
    if answer.state == "done":
        return JSONResponse(_body(order, answer.state), 200, headers)
    headers["location"] = f"/v1/commands/{order.id}"
    return JSONResponse(_body(order, answer.state), 202, headers)
