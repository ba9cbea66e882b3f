"""For operators, with the admin token: what the load shedder does, and another way to do it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Request
from pydantic import BeforeValidator, Field
from starlette.responses import JSONResponse, Response

from launchday.admission.modes import Mode
from target_service.api.admin import require_admin
from target_service.api.requests import NO_STORE, Body, add
from target_service.backend import Backend
from target_service.settings import LARGEST_SHED_LIMIT, Algorithm


def _whole(value: Any) -> Any:
    """To JSON Schema 30.0 is an integer; to strict pydantic it is none."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class ShedChange(Body):
    """What is left out stays. `limit`: requests in flight, where an `algorithm` goes on from.

    Without an algorithm the limit is fixed at that.
    """

    mode: Mode | None = None
    algorithm: Algorithm | None = None
    limit: Annotated[
        Annotated[int, Field(strict=True, ge=1, le=LARGEST_SHED_LIMIT)] | None,
        BeforeValidator(_whole),
    ] = None


def add_routes(app: FastAPI, backend: Backend) -> None:
    """Add the routes of this feature."""
    shedding = backend.shedding

    @add(app, "shed", dict[str, Any])
    async def shed(request: Request) -> Response:
        """Return the state of the shedder of this process."""
        require_admin(request, backend)
        return JSONResponse(shedding.state(), headers=NO_STORE)

    @add(app, "change_shed", dict[str, Any])
    async def change(wanted: ShedChange, request: Request) -> Response:
        """Change it until the process ends, without a dip; return the new state."""
        require_admin(request, backend)
        shedding.change(wanted.mode, wanted.algorithm, wanted.limit)
        return JSONResponse(shedding.state(), headers=NO_STORE)
