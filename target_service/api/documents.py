"""The OpenAPI document and a page to read it, without anything from another host."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from target_service.api.requests import ProblemBody, add

ASSETS = "/docs-assets"


def add_routes(app: FastAPI) -> None:
    """Add the routes of this feature; to be called after all others."""
    document = _Document(app)
    app.openapi = document.read  # type: ignore[method-assign] # FastAPI's own extension point
    # The package carries Swagger UI; FastAPI's own page would load it from another host.
    app.mount(ASSETS, StaticFiles(packages=[("fastapi_offline", "static")]))

    @add(app, "openapi", dict[str, Any])
    async def openapi() -> Response:
        # The first time takes 80 ms, too long for the event loop.
        return JSONResponse(await asyncio.to_thread(app.openapi))

    @add(app, "docs", str, response_class=HTMLResponse)
    async def docs() -> Response:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{ASSETS}/favicon.png",
        )


class _Document:
    """FastAPI's document and what it cannot know: the problems, and who may ask."""

    def __init__(self, app: FastAPI) -> None:
        self._make = app.openapi
        self._made: dict[str, Any] | None = None

    def read(self) -> dict[str, Any]:
        if self._made is None:
            made = self._make()
            components = made.setdefault("components", {})
            schema = ProblemBody.model_json_schema()
            components.setdefault("schemas", {})["ProblemBody"] = schema
            components["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer", "description": "POST /v1/sessions"},
                "admin": {"type": "http", "scheme": "bearer", "description": "TARGET_ADMIN_TOKEN"},
            }
            self._made = made  # at last: other threads may read it from now on
        return self._made
