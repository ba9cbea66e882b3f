"""The application: endpoints, error answers, and the shedder in one line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import Scope

from launchday import LoadSheddingMiddleware
from launchday.admission.prometheus import PrometheusObserver
from target_service import problems
from target_service.api import commands, reservations, status, vehicles
from target_service.backend import Backend
from target_service.metrics import RequestTimer
from target_service.settings import TargetSettings


def criticality(scope: Scope) -> str:
    """Return how much it hurts when this request fails, by route."""
    path: str = scope["path"]
    if path.startswith("/v1/vehicles/"):
        if path.endswith(("/commands/lock", "/commands/unlock")):
            return "critical_plus"
        if path.endswith("/state"):
            return "sheddable_plus"
    return "critical"


def create_app(settings: TargetSettings) -> FastAPI:
    """Build the reference backend; its parts are in `app.state.backend`."""
    backend = Backend(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await backend.open()
        try:
            yield
        finally:
            await backend.close()

    app = FastAPI(
        title="Connected car (launchday reference backend)",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.backend = backend
    for feature in (commands, vehicles, reservations, status):
        feature.add_routes(app, backend)
    problems.install(app)
    app.add_middleware(RequestTimer, histogram=backend.metrics.request)
    if settings.shedding == "on":
        observer = PrometheusObserver(backend.metrics.registry)
        limit = settings.effective_shed_limit
        app.add_middleware(
            LoadSheddingMiddleware, limit=limit, criticality=criticality, observer=observer
        )
    return app
