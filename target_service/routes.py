"""Every route once: its name, path, criticality and the answers that it gives on purpose."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from launchday.admission.classify import RouteRule

CRITICAL_PLUS: Final = "critical_plus"
CRITICAL: Final = "critical"
SHEDDABLE_PLUS: Final = "sheddable_plus"
SHEDDABLE: Final = "sheddable"
EXEMPT: Final = "exempt"  # never shed; answers whatever happens


@dataclass(frozen=True)
class Route:
    """`name` is the operation id; `codes` are the answers besides 401, 431, 500 and 503."""

    name: str
    method: str
    path: str
    criticality: str
    codes: tuple[int, ...]


_CAR = "/v1/vehicles/{vin}"
COMMANDS_PATH = _CAR + "/commands/{command}"

ALL: tuple[Route, ...] = (
    Route("sign_in", "POST", "/v1/sessions", CRITICAL, (201, 400, 401, 413, 422, 429)),
    # As critical as the most critical thing that it is needed for: whose session runs out while
    # only the doors are open must still get to his car.
    Route("refresh", "POST", "/v1/sessions/refresh", CRITICAL_PLUS, (200, 400, 401, 413, 422)),
    Route("sign_out", "DELETE", "/v1/sessions", CRITICAL, (204, 401)),
    Route("vehicles", "GET", "/v1/vehicles", CRITICAL, (200, 401)),
    Route("state", "GET", _CAR + "/state", SHEDDABLE_PLUS, (200, 401, 404)),
    Route("command", "POST", COMMANDS_PATH, CRITICAL, (200, 202, 400, 401, 404, 409, 413, 422)),
    Route("command_state", "GET", "/v1/commands/{command_id}", CRITICAL_PLUS, (200, 401, 404)),
    Route("charging", "GET", _CAR + "/charging", CRITICAL, (200, 401, 404)),
    Route(
        "schedule", "PUT", _CAR + "/charging/schedule", CRITICAL, (200, 400, 401, 404, 413, 422)
    ),
    Route(
        "charger_session",
        "POST",
        "/v1/chargers/{charger_id}/sessions",
        CRITICAL_PLUS,
        (201, 400, 401, 404, 413, 422),
    ),
    Route(
        "charger_session_state",
        "GET",
        "/v1/chargers/{charger_id}/sessions/{session_id}",
        CRITICAL_PLUS,
        (200, 401, 404),
    ),
    Route("reserve", "POST", "/v1/reservations", CRITICAL, (201, 400, 401, 413, 422)),
    Route("reservations", "GET", "/v1/reservations", CRITICAL, (200, 401)),
    Route(
        "reservation", "GET", "/v1/reservations/{reservation_id}", CRITICAL, (200, 401, 404)
    ),
    Route("software", "GET", _CAR + "/software", SHEDDABLE, (200, 401, 404)),
    Route(
        "software_update", "POST", _CAR + "/software", SHEDDABLE,
        (202, 400, 401, 404, 409, 413, 422),
    ),
    Route("energy", "GET", "/v1/energy/{site}", SHEDDABLE, (200, 401, 404)),
    Route(
        "appointment", "POST", "/v1/service/appointments", SHEDDABLE_PLUS,
        (201, 400, 401, 404, 413, 422),
    ),
    Route("appointments", "GET", "/v1/service/appointments", SHEDDABLE_PLUS, (200, 401)),
    Route("notifications", "GET", "/v1/notifications", SHEDDABLE, (200, 401, 422)),
    Route("notification_stream", "GET", "/v1/notifications/stream", SHEDDABLE, (200, 401, 422)),
    Route("telemetry", "POST", "/v1/telemetry", SHEDDABLE, (202, 400, 401, 404, 413, 422)),
    Route("status", "GET", "/status", EXEMPT, (200,)),
    Route("status_events", "GET", "/status/events", EXEMPT, (200,)),
    Route("healthz", "GET", "/healthz", EXEMPT, (200,)),
    Route("readyz", "GET", "/readyz", EXEMPT, (200,)),
    Route("capacity", "GET", "/debug/capacity", EXEMPT, (200, 401, 404, 422)),
    Route("shed", "GET", "/debug/shed", EXEMPT, (200, 401, 404)),
    Route(
        "change_shed", "PATCH", "/debug/shed", EXEMPT, (200, 400, 401, 404, 409, 413, 422)
    ),
    Route("maintenance", "GET", "/admin/maintenance", EXEMPT, (200, 401, 404)),
    Route(
        "announce_maintenance", "POST", "/admin/maintenance", EXEMPT,
        (201, 400, 401, 404, 409, 413, 422),
    ),
    Route(
        "change_maintenance", "PATCH", "/admin/maintenance", EXEMPT,
        (200, 400, 401, 404, 409, 413, 422),
    ),
    Route(
        "end_maintenance", "DELETE", "/admin/maintenance", EXEMPT, (200, 401, 404, 422)
    ),
    Route("ledger", "GET", "/admin/ledger", EXEMPT, (200, 401, 404, 422)),
    Route("openapi", "GET", "/openapi.json", EXEMPT, (200,)),
    Route("docs", "GET", "/docs", EXEMPT, (200,)),
)  # fmt: skip
BY_NAME = {route.name: route for route in ALL}
# Those that do work and so hold a worker slot.
ROUTES = tuple(route.name for route in ALL if route.criticality != EXEMPT)

# Never shed and open in maintenance; the docs have files below.
ALWAYS_OPEN_PATHS = (
    *(route.path for route in ALL if route.criticality == EXEMPT),
    "/docs-assets/",
)
# A pool of their own: they would hold the permits of the shedder for ever.
_LONG_LIVED = ("notification_stream",)
# A few commands open the door or close it; they are what hurts most.
_DOORS = tuple(
    RouteRule(COMMANDS_PATH.replace("{command}", command), CRITICAL_PLUS, ("POST",))
    for command in ("lock", "unlock")
)
# What the shedder and maintenance go by, the first that matches. The cost is 1 everywhere: it
# counts slots, and each request holds one; that some hold it for longer, the limit sees by itself.
RULES = (
    *_DOORS,
    *(
        RouteRule(
            route.path, route.criticality, (route.method,), long_lived=route.name in _LONG_LIVED
        )
        for route in ALL
        if route.criticality != EXEMPT
    ),
)


def methods_of(path: str) -> list[str]:
    """Return the methods that a path has: what a 405 must say in `Allow` (RFC 9110 15.5.6)."""
    return sorted(
        route.method
        for route in ALL
        if re.fullmatch(re.sub(r"\{[a-z_]+\}", "[^/]+", route.path), path)
    )
