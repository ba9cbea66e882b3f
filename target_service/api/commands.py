"""Lock and unlock a car, and ask how far a command is."""

from __future__ import annotations

import time
import uuid
from enum import StrEnum

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from target_service.api.requests import REPLAYED_HEADERS, check_id, check_vin, idempotency_key
from target_service.backend import Backend
from target_service.gateway_client import CommandAnswer, CommandIdReused
from target_service.metrics import COMMANDS_PATH
from target_service.problems import Problem, not_found


class Command(StrEnum):
    """What a car can be told."""

    LOCK = "lock"
    UNLOCK = "unlock"


COMMANDS = frozenset(Command)


def add_routes(app: FastAPI, backend: Backend) -> None:
    """Add the routes of this feature."""
    counts = backend.metrics.commands

    @app.post(COMMANDS_PATH)
    async def send_command(vin: str, command: str, request: Request) -> Response:
        if command not in COMMANDS:
            raise not_found("command")
        check_vin(vin)
        command_id = idempotency_key(request) or str(uuid.uuid4())
        async with backend.slots.slot():
            known = await backend.storage.vehicle_exists(vin)
        if not known:
            raise not_found("vehicle")
        # The slot is free again: a slow gateway must not starve those who do not need it.
        try:
            answer = await backend.dispatcher.send(command_id, vin, command)
        except CommandIdReused:
            title = "This Idempotency-Key belongs to another command"
            raise Problem(422, "idempotency_key_reused", title) from None
        counts.labels("replayed" if answer.replayed else answer.state).inc()
        return _respond(command_id, answer)

    @app.get("/v1/commands/{command_id}")
    async def command_state(command_id: str) -> Response:
        check_id("command", command_id)
        async with backend.slots.slot():
            state = await _state_of(command_id, backend)
        if state is None:
            raise not_found("command")
        return JSONResponse(state)


async def _state_of(command_id: str, backend: Backend) -> dict[str, str] | None:
    if backend.dispatcher.is_on_its_way(command_id):
        return {"state": "pending", "command_id": command_id}
    row = await backend.storage.command(command_id)
    if row is None:
        return None
    state = row["state"]
    age_seconds = time.time() - row["updated_at_seconds"]
    if state == "pending" and age_seconds > backend.dispatcher.time_limit_seconds:
        state = "expired"  # the process that promised it is gone
    return {"state": state, "command_id": command_id, "vin": row["vin"], "command": row["command"]}


def _respond(command_id: str, answer: CommandAnswer) -> Response:
    body = {"state": answer.state, "command_id": command_id}
    headers = dict(REPLAYED_HEADERS) if answer.replayed else {}
    if answer.state == "done":
        return JSONResponse(body, 200, headers)
    headers["location"] = f"/v1/commands/{command_id}"
    return JSONResponse(body, 202, headers)
