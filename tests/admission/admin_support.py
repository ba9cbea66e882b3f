"""A stranger's app with the admin API, and an administrator who asks it over a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from launchday import LoadSheddingMiddleware, Maintenance, MaintenanceMiddleware
from launchday.admission.admin import AdminAPI

TOKEN = "a-token-of-some-length"
BEARER = f"authorization: Bearer {TOKEN}"


class Shop:
    """A FastAPI app as a stranger writes it; `/hold` answers once `open` is set."""

    def __init__(
        self,
        token: str | None = TOKEN,
        maintenance: Maintenance | None = None,
        **arguments: Any,
    ) -> None:
        self.open = asyncio.Event()
        self.entered = 0
        self.app = FastAPI()
        self.app.get("/hold")(self.hold)
        self.app.add_middleware(LoadSheddingMiddleware, **{"limit": 24, **arguments})
        if maintenance is not None:
            self.app.add_middleware(MaintenanceMiddleware, maintenance=maintenance)
        self.app.add_middleware(AdminAPI, token=token)

    async def hold(self) -> str:
        self.entered += 1
        await self.open.wait()
        return "held"


async def ask(
    client: Any, request_line: str, *headers: str, json_body: Any = None, body: bytes = b""
) -> tuple[int, dict[str, str], Any]:
    content = body if json_body is None else json.dumps(json_body).encode()
    client.send(request_line, *(headers or (BEARER,)), body=content)
    status, found, raw = await client.answer(head=request_line.startswith("HEAD"))
    kind = "application/json" if status < 400 else "application/problem+json"
    assert found["content-type"] == kind
    assert found["cache-control"] == "no-store"
    return status, found, json.loads(raw, parse_constant=pytest.fail) if raw else None


def of(app: Any) -> LoadSheddingMiddleware:
    return next(one for one in layers(app) if isinstance(one, LoadSheddingMiddleware))


def layers(app: Any) -> Iterator[Any]:
    while app is not None:
        yield app
        app = getattr(app, "middleware_stack", None) or getattr(app, "app", None)
