"""The reference backend on the synthetic launch day."""

from __future__ import annotations

from dashboards.preview import common
from dashboards.preview import model as day
from dashboards.preview.common import ZERO, busy, database, failed, gateway, served, turned_away
from dashboards.preview.launch_day import Series, at_targets, constant, scaled
from dashboards.preview.model import Course
from launchday.metric_names import CRITICALITIES


def backend() -> dict[str, list[Series]]:
    requests = [
        ({"class": name, "outcome": outcome}, common.part(common.admitted(name), failed))
        for name in CRITICALITIES
        for outcome, failed in (("ok", False), ("server_error", True))
    ]
    routed = [
        ({"route": route, "method": "GET", "code": code}, scaled(course, share))
        for route, share in common.ROUTES.items()
        for code, course in (
            ("200", served),
            ("503", failed),
            ("404", scaled(served, 0.01)),
        )
    ]
    calls = {
        "gateway": (gateway, common.gateway_seconds),
        "database": (database, constant(0.008)),
    }
    outcomes = ("ok", "error", "timeout", "refused")
    dependencies = [
        one
        for name, (call, seconds) in calls.items()
        for outcome in outcomes
        for one in at_targets(
            ({"dependency": name, "outcome": outcome}, call(outcome)), latency=seconds
        )
    ]
    states = [
        (name, state, state_of(name, state))
        for name in calls
        for state in ("closed", "open", "half_open")
    ]
    return {
        "car_request_seconds": at_targets(*requests, latency=common.median),
        "car_requests_total": at_targets(*routed),
        "car_route_seconds_total": at_targets(
            *(
                ({"route": r, "method": "GET"}, scaled(busy, share))
                for r, share in common.ROUTES.items()
            )
        ),
        "car_info": common.whole(constant(1), region="eu"),
        "car_capacity_rps": at_targets(({}, constant(200))),
        "car_slots": at_targets(({}, constant(40))),
        "car_slots_busy": at_targets(({}, busy)),
        "car_slots_busy_seconds_total": at_targets(({}, scaled(busy, 0.85))),
        "car_slots_waiting": at_targets(({}, lambda s: 6 * day.pressure(s) ** 8)),
        "car_dependency_seconds": dependencies,
        "car_breaker_state": [
            one for d, s, course in states for one in common.whole(course, dependency=d, state=s)
        ],
        "car_breaker_opened_total": at_targets(
            ({"dependency": "gateway"}, lambda s: 0.5 * (s == 126)),
            ({"dependency": "database"}, ZERO),
        ),
        "car_unavailable_total": at_targets(
            ({"cause": "overload", "detail": "shed"}, turned_away),
            ({"cause": "maintenance", "detail": "maintenance"}, ZERO),
            ({"cause": "dependency", "detail": "database"}, failed),
        ),
        "car_stale_reads_total": at_targets(
            ({}, lambda s: 0.4 * day.admitted(s) * day.in_fault("database", s))
        ),
        "car_creations_total": at_targets(
            ({"feature": "reservation", "outcome": "created"}, scaled(served, 0.1)),
            ({"feature": "reservation", "outcome": "replayed"}, scaled(turned_away, 0.03)),
        ),
        "car_sign_ins_total": at_targets(
            ({"outcome": "accepted"}, scaled(served, 0.05)),
            ({"outcome": "refused"}, constant(0.4)),
            ({"outcome": "throttled"}, scaled(turned_away, 0.01)),
        ),
        "car_commands_total": at_targets(
            ({"outcome": "done"}, gateway("ok")),
            ({"outcome": "pending"}, gateway("timeout")),
        ),
        "car_gateway_commands_total": at_targets(
            ({"outcome": "executed"}, gateway("ok")),
            ({"outcome": "late"}, gateway("timeout")),
        ),
        "car_streams": at_targets(({"stream": "vehicle"}, constant(34))),
        "car_announcements_total": at_targets(({"outcome": "delivered"}, ZERO)),
        "process_cpu_seconds_total": at_targets(({}, lambda s: 0.1 + 1.4 * day.pressure(s))),
        "process_resident_memory_bytes": common.whole(lambda s: 9e7 + 2e7 * day.pressure(s)),
    }


def state_of(dependency: str, state: str) -> Course:
    """1 while the circuit breaker of the dependency is in this state."""
    if dependency == "database":
        return constant(state == "closed")
    return lambda second: float(day.breaker(second) == state)
