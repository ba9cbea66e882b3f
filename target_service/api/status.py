"""What works now: for people (a page), for machines (JSON), and for whoever restarts processes."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.responses import HTMLResponse, JSONResponse, Response

from target_service.api.requests import NO_STORE, add
from target_service.backend import Backend
from target_service.dependencies import DATABASE, DependencyFailed
from target_service.lifecycle import State
from target_service.pages import SECURITY_POLICY, main_of, page_of
from target_service.problems import Problem
from target_service.streams import EventStream
from target_service.unavailable import Cause

NOT_READY_SECONDS = 1


class FeatureStatus(BaseModel):
    """One thing that owners do, and whether it works now; `without`: what is left if it does not.

    `last_known`: it works in part, with what was known before something failed.
    """

    name: str
    works: bool
    state: Literal["works", "last_known", "down"]
    since: str
    without: str


class MaintenanceStatus(BaseModel):
    """The window that closes the service now, or the next one that will."""

    phase: Literal["announced", "closed", "overrun"]
    starts_at: str
    ends_at: str
    sentence: str
    open_classes: list[str]
    ends_by_itself: bool


class DependencyStatus(BaseModel):
    """Something behind the service, and the state of its circuit breaker."""

    name: str
    works: bool
    breaker: Literal["closed", "open", "half_open"]


class Status(BaseModel):
    """What works now."""

    status: Literal["operational", "degraded", "maintenance"]
    since: str
    region: str
    features: list[FeatureStatus]
    maintenance: MaintenanceStatus | None
    dependencies: list[DependencyStatus]
    as_of: str


class Alive(BaseModel):
    """The process answers."""

    alive: Literal[True]


class Ready(BaseModel):
    """Whether requests may be sent here; what is missing is in the 503."""

    ready: Literal[True]
    state: Literal["ready"]
    missing: dict[str, str]


def add_routes(app: FastAPI, backend: Backend) -> None:
    """Add the routes of this feature; none of them takes a slot."""

    @add(app, "status", Status)
    async def status(request: Request) -> Response:
        shown = backend.status.refresh()
        headers = {**NO_STORE, "vary": "Accept"}
        if "text/html" in request.headers.get("accept", ""):
            headers["content-security-policy"] = SECURITY_POLICY
            return HTMLResponse(page_of(shown), headers=headers)
        return JSONResponse(shown, headers=headers)

    @add(app, "status_events", None, response_class=EventStream)
    async def status_events() -> Response:
        """Send the status now and whenever it changes: `status` as JSON, `page` as HTML."""
        return backend.status.stream(main_of)

    @add(app, "healthz", Alive)
    async def healthz() -> Response:
        return JSONResponse({"alive": True})

    @add(app, "readyz", Ready)
    async def readyz() -> Response:
        ready, body = backend.lifecycle.readiness()
        if not ready:
            raise _not_ready(body)
        # Not the gateway: without it most features work, and no other replica has a better one.
        try:
            await backend.database.ping()
        except DependencyFailed:
            body["missing"] = {DATABASE: "it does not answer, or no connection of the pool is free"}
            raise _not_ready(body) from None
        return JSONResponse(body, headers=NO_STORE)


def _not_ready(body: dict[str, Any]) -> Problem:
    """Return the 503 that names in `missing` what is missing and why."""
    missing: dict[str, str] = body["missing"]
    details: dict[str, Any] = {"state": body["state"], "missing": missing}
    if body["state"] == State.DRAINING:
        details["missing"] = {"service": "it was told to stop"}
        reason, cause, title = "draining", Cause.MAINTENANCE, "The service is stopping"
    else:
        reason, cause = "dependency", Cause.DEPENDENCY
        details["dependency"] = next(iter(missing), DATABASE)
        title = f"Not ready: the {details['dependency']} is missing"
    return Problem(
        503, reason, title, cause=cause, retry_after_seconds=NOT_READY_SECONDS, **details
    )
