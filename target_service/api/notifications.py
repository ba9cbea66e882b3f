"""What an owner is told, as a list and as a stream of server-sent events."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import FastAPI, Header, Query, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from target_service.api.requests import add, owner_of
from target_service.backend import Backend
from target_service.streams import EventStream

LARGEST_NUMBER = 2**63 - 1
Number = Annotated[int, Query(ge=0, le=LARGEST_NUMBER)]
LastEventId = Annotated[
    int | None,
    Header(alias="Last-Event-ID", ge=0, le=LARGEST_NUMBER, description="go on after this one"),
]


class Notification(BaseModel):
    """One thing that the owner is told; `id` grows."""

    id: int
    kind: Literal["charged", "update_ready", "maintenance"]
    title: str
    created_at: str


class NotificationList(BaseModel):
    """The newest 100, newest first."""

    notifications: list[Notification]


def add_routes(app: FastAPI, backend: Backend) -> None:
    """Add the routes of this feature."""

    @add(app, "notifications", NotificationList)
    async def notifications(request: Request, after: Number = 0) -> Response:
        owner_id = owner_of(request, backend)
        async with backend.work.slot("notifications"):
            rows = await backend.notifications.newest(owner_id, after)
        return JSONResponse({"notifications": [dict(row) for row in rows]})

    @add(app, "notification_stream", None, response_class=EventStream)
    async def stream(request: Request, last_event_id: LastEventId = None) -> Response:
        """Send events `notification`; without Last-Event-ID those from now on.

        Ends with the session: connect again with a refreshed token and the last id.
        """
        owner_id = owner_of(request, backend)
        return backend.notifications.stream(
            owner_id, last_event_id, lambda: owner_of(request, backend)
        )
