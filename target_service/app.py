"""The application: endpoints, error answers, and what every request passes on its way in."""

from __future__ import annotations

from fastapi import FastAPI

from launchday import LoadSheddingMiddleware, MaintenanceMiddleware
from target_service import problems
from target_service.api import (
    admin,
    appointments,
    chargers,
    charging,
    commands,
    documents,
    energy,
    maintenance,
    notifications,
    reservations,
    sessions,
    shedding,
    software,
    status,
    telemetry,
    vehicles,
)
from target_service.backend import Backend
from target_service.body_limit import BodyLimit
from target_service.lifecycle import LifecycleMiddleware
from target_service.metrics import RequestTimer
from target_service.routes import ALWAYS_OPEN_PATHS
from target_service.settings import TargetSettings
from target_service.unavailable import Cause

# Routes are tried in this order: the busiest first.
FEATURES = (
    vehicles,
    commands,
    reservations,
    sessions,
    charging,
    chargers,
    software,
    energy,
    appointments,
    notifications,
    telemetry,
    status,
    maintenance,
    admin,
    shedding,
)


def create_app(settings: TargetSettings) -> FastAPI:
    """Build the reference backend; its parts are in `app.state.backend`. Raises SettingsError."""
    backend = Backend(settings)
    app = FastAPI(
        title="Connected car (launchday reference backend)",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.backend = backend
    for feature in FEATURES:
        feature.add_routes(app, backend)
    documents.add_routes(app)
    problems.install(app, backend.unavailable)
    # The last added is the outermost.
    parts = backend.shedding
    app.add_middleware(
        RequestTimer, requests=backend.metrics.requests, criticality=parts.criticality
    )
    app.add_middleware(
        LoadSheddingMiddleware,
        limit=parts.limit,
        routes=parts.classifier,
        client_share=parts.client_share,
        exempt_paths=ALWAYS_OPEN_PATHS,
        signals=parts.signals,
        loop_lag=parts.loop_lag,
        streams=settings.streams,
        mode=parts.mode,
        observer=parts.observer,
    )
    # Outside the shedder: a slow upload must not hold a permit.
    app.add_middleware(BodyLimit)
    app.add_middleware(
        MaintenanceMiddleware,
        maintenance=backend.maintenance.doors,
        criticality=parts.criticality,
        exempt_paths=ALWAYS_OPEN_PATHS,
        on_refused=lambda *_: backend.unavailable.count(Cause.MAINTENANCE, "maintenance"),
    )
    app.add_middleware(
        LifecycleMiddleware, lifecycle=backend.lifecycle, on_refused=backend.unavailable.count
    )
    # At the first request otherwise: until then the shedder would export no limit.
    app.middleware_stack = app.build_middleware_stack()
    return app
