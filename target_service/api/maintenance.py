"""For operators, with the admin token: announce maintenance, extend or shorten it, end it."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from pydantic import AwareDatetime, BaseModel, Field
from starlette.responses import JSONResponse, Response

from launchday import MaintenanceWindow
from target_service.announcements import described
from target_service.api.admin import require_admin
from target_service.api.requests import NO_STORE, Body, add
from target_service.backend import Backend
from target_service.maintenance import Planned
from target_service.problems import Problem

Criticality = Literal["critical_plus", "critical", "sheddable_plus", "sheddable"]
WindowId = Annotated[str, Field(pattern="^[A-Za-z0-9-]{1,64}$")]


class Announcement(Body):
    """A window: `sentence` is what people read; `open_classes` are served all the same.

    With `ends_by_itself` false the doors stay closed beyond `ends_at` until somebody ends it.
    """

    starts_at: AwareDatetime
    ends_at: AwareDatetime
    sentence: str = Field(max_length=300, pattern=r"^[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$")
    open_classes: list[Criticality] = Field(default_factory=list, max_length=4)
    ends_by_itself: bool = True


class NewEnd(Body):
    """Another end for a window."""

    id: WindowId
    ends_at: AwareDatetime


class Window(BaseModel):
    """A window as it is planned; `overrun`: beyond its end, and nobody ended it."""

    id: str
    phase: Literal["announced", "closed", "overrun", "over"]
    starts_at: str
    ends_at: str
    sentence: str
    open_classes: list[str]
    ends_by_itself: bool


class Windows(BaseModel):
    """All that is planned, where it is now, and what is still in flight in this process."""

    phase: Literal["none", "announced", "closed", "overrun"]
    in_flight: int
    draining: bool
    windows: list[Window]


def add_routes(app: FastAPI, backend: Backend) -> None:
    """Add the routes of this feature."""
    maintenance = backend.maintenance

    @add(app, "maintenance", Windows)
    async def windows(request: Request) -> Response:
        require_admin(request, backend)
        await maintenance.load()
        now = maintenance.doors.snapshot()
        body = {
            "phase": now.phase.value,
            "in_flight": now.in_flight,
            "draining": now.draining,
            "windows": [_shown(planned) for planned in maintenance.planned],
        }
        return JSONResponse(body, headers=NO_STORE)

    @add(app, "announce_maintenance", Window)
    async def announce(wanted: Announcement, request: Request) -> Response:
        require_admin(request, backend)
        planned = await maintenance.announce(_window_of(wanted))
        backend.status.refresh()
        return JSONResponse(_shown(planned), 201, NO_STORE)

    @add(app, "change_maintenance", Window)
    async def change(wanted: NewEnd, request: Request) -> Response:
        require_admin(request, backend)
        planned = await maintenance.move_end(wanted.id, wanted.ends_at.timestamp())
        backend.status.refresh()
        return JSONResponse(_shown(planned), headers=NO_STORE)

    @add(app, "end_maintenance", Window)
    async def end(request: Request, id: Annotated[WindowId, Query()]) -> Response:
        require_admin(request, backend)
        planned = await maintenance.end(id)
        backend.status.refresh()
        return JSONResponse({**_shown(planned), "phase": "over"}, headers=NO_STORE)


def _window_of(wanted: Announcement) -> MaintenanceWindow:
    """Return the window. Raises the 422 that says what is wrong with it."""
    if wanted.ends_at.timestamp() <= time.time():
        raise Problem(422, "invalid", "ends_at must be in the future")
    if wanted.ends_at <= wanted.starts_at:
        raise Problem(422, "invalid", "ends_at must be after starts_at")
    try:
        return MaintenanceWindow(
            wanted.starts_at.timestamp(),
            wanted.ends_at.timestamp(),
            wanted.sentence,
            frozenset(wanted.open_classes),
            wanted.ends_by_itself,
        )
    except ValueError as error:
        raise Problem(422, "invalid", str(error)) from None


def _shown(planned: Planned) -> dict[str, Any]:
    window, now = planned.window, time.time()
    if now < window.starts_at_unix:
        phase = "announced"
    elif now < window.ends_at_unix:
        phase = "closed"
    else:
        phase = "over" if window.ends_by_itself else "overrun"
    return {"id": planned.id, "phase": phase, **described(window)}
