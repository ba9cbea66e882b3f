"""For operators, with the admin token: the known capacity, and the ledger that audits read."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response, StreamingResponse

from launchday.admission.modes import Mode
from target_service.api.commands import OWN_ID_PREFIX, state_by_now
from target_service.api.requests import NO_STORE, add
from target_service.backend import Backend
from target_service.dependencies import GATEWAY, DependencyFailed
from target_service.problems import Problem

PAGE = 2000
EXECUTIONS_SECONDS = 10.0
MIX_EXAMPLE = "state:3,reserve:6,command:1"
# What is made once per key, and the word for it in the ledger.
_KEYED = {
    "reservations": "reservation",
    "charging_sessions": "charging_session",
    "appointments": "appointment",
}


logger = logging.getLogger(__name__)


class Lines(StreamingResponse):
    """One JSON object a line."""

    media_type = "application/x-ndjson"


class RouteCost(BaseModel):
    """What one request of a route costs on the average; `capacity_rps` if nothing else came."""

    service_seconds: float
    cpu_seconds: float
    capacity_rps: float | None


class Capacity(BaseModel):
    """What the settings make the true capacity; None stands for unlimited.

    The service's own CPU time, about a millisecond a request, comes on top.
    """

    profile: str
    slots: int
    busy: int
    waiting: int
    capacity_rps: float | None
    shed_limit: int | None
    mix: dict[str, float]
    mix_capacity_rps: float | None
    routes: dict[str, RouteCost]


def require_admin(request: Request, backend: Backend) -> None:
    """Return when the request carries the admin token. Raises 404 when none is set, or the 401."""
    token = backend.settings.admin_token
    if token is None:
        raise Problem(404, "not_found", "There is no admin API: TARGET_ADMIN_TOKEN is not set")
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    same = hmac.compare_digest(given.encode(), token.get_secret_value().encode())
    if scheme.lower() != "bearer" or not same:
        title = "The admin token is missing or wrong"
        raise Problem(401, "not_admin", title, headers={"www-authenticate": "Bearer"})


def add_routes(app: FastAPI, backend: Backend) -> None:
    """Add the routes of this feature."""

    @add(app, "capacity", Capacity)
    async def capacity(
        request: Request,
        mix: Annotated[str, Query(max_length=1024, description=f"like {MIX_EXAMPLE}")] = "",
    ) -> Response:
        require_admin(request, backend)
        return JSONResponse(_capacity(backend, _parse_mix(mix)), headers=NO_STORE)

    @add(app, "ledger", str, response_class=Lines)
    async def ledger(
        request: Request, since_unix: Annotated[float, Query(ge=0, le=4e9)] = 0.0
    ) -> Response:
        require_admin(request, backend)
        lines = _lines(backend, since_unix)
        first = await anext(lines)  # a dependency that fails at once is a 503, no torn stream
        return Lines(_joined(first, lines), headers=NO_STORE)


def _parse_mix(text: str) -> dict[str, float]:
    try:
        pairs = [part.split(":") for part in text.split(",") if part]
        return {name.strip(): float(weight) for name, weight in pairs}
    except ValueError:
        raise Problem(422, "invalid", f"mix must be like {MIX_EXAMPLE}") from None


def _capacity(backend: Backend, mix: dict[str, float]) -> dict[str, Any]:
    work = backend.work
    routes = {
        name: {
            "service_seconds": service_seconds,
            "cpu_seconds": work.cpu_seconds[name],
            "capacity_rps": _finite(work.capacity_of_mix({name: 1.0})),
        }
        for name, service_seconds in work.service_seconds.items()
    }
    try:
        mix_capacity_rps = _finite(work.capacity_of_mix(mix)) if mix else None
    except ValueError as error:
        raise Problem(422, "invalid", f"mix: {error}") from None
    shedder = backend.shedding.shedder
    sheds = shedder.mode is not Mode.OFF
    return {
        "profile": work.profile,
        "slots": work.slots,
        "busy": work.busy,
        "waiting": work.waiting,
        "capacity_rps": _finite(work.capacity_rps),
        "shed_limit": shedder.limiter.gate.current_limit if sheds else None,
        "mix": mix,
        "mix_capacity_rps": mix_capacity_rps,
        "routes": routes,
    }


def _finite(rps: float) -> float | None:
    return None if rps == float("inf") else rps


async def _lines(backend: Backend, since_unix: float) -> AsyncIterator[dict[str, Any]]:
    """Yield what is stored, then what the cars executed."""
    for table, what in _KEYED.items():
        columns = f"id, idempotency_key AS key, created_unix FROM {table}"
        async for row in _rows(backend, columns, since_unix):
            yield {"kind": "stored", "what": what, "key": row["key"], "id": row["id"]}
    columns = "id, state, created_unix FROM commands"
    async for row in _rows(backend, columns, since_unix):
        state = state_by_now(row, backend.dispatcher.time_limit_seconds)
        line = {"what": "command", "key": _key(row["id"]), "id": row["id"], "state": state}
        yield {"kind": "stored", **line}
    async for execution in _executions(backend, since_unix):
        yield {"kind": "executed", **execution, "key": _key(execution["key"])}
    yield {"kind": "end"}


def _key(command_id: str) -> str | None:
    """Return the key that the client sent, None if it sent none."""
    return None if command_id.startswith(OWN_ID_PREFIX) else command_id


async def _rows(backend: Backend, columns: str, since_unix: float) -> AsyncIterator[Any]:
    """Yield the rows since then in order of time, page by page."""
    sql = (
        f"SELECT {columns} WHERE created_unix > $1 OR (created_unix = $1 AND id > $2) "
        f"ORDER BY created_unix, id LIMIT {PAGE}"
    )
    after: tuple[float, str] = (since_unix, "")
    while rows := await backend.database.all(sql, *after):
        for row in rows:
            yield row
        after = (rows[-1]["created_unix"], rows[-1]["id"])


async def _executions(backend: Backend, since_unix: float) -> AsyncIterator[dict[str, Any]]:
    try:
        with backend.dependencies.call(GATEWAY):
            async with asyncio.timeout(EXECUTIONS_SECONDS):
                reply = await backend.dispatcher.http.get(f"/executions?since_unix={since_unix!r}")
            if reply.status != 200:
                raise OSError(f"the gateway answered {reply.status}")
    except OSError as error:
        raise DependencyFailed(GATEWAY) from error
    for line in reply.body.splitlines():
        yield json.loads(line)


async def _joined(first: dict[str, Any], rest: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    """Yield lines of JSON, at last how many there are; without that line some are missing."""
    count, line = 0, first
    try:
        while line["kind"] != "end":
            yield json.dumps(line) + "\n"
            count += 1
            line = await anext(rest)
        yield json.dumps({"kind": "end", "lines": count}) + "\n"
    except (DependencyFailed, OSError, ValueError) as error:
        logger.warning("ledger cut short: %s", error)
