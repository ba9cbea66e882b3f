"""What several metrics of the synthetic launch day have in common: who does how much."""

from __future__ import annotations

from dashboards.preview import model as day
from dashboards.preview.launch_day import Series, constant
from dashboards.preview.model import Course

ZERO = constant(0)
ROUTES = {"/v1/vehicles/{vin}/state": 0.55, "/v1/reservations": 0.15, "/v1/commands": 0.3}
REASONS = {"priority": 0.7, "queue_full": 0.2, "queue_timeout": 0.1}


def admitted(name: str) -> Course:
    return lambda second: day.admitted_by_class(second)[name]


def refused(name: str) -> Course:
    return lambda second: day.refused(name, second)


def failed(second: int) -> float:
    return day.admitted(second) * day.error_share(second)


def served(second: int) -> float:
    return day.admitted(second) * (1 - day.error_share(second))


def turned_away(second: int) -> float:
    return day.offered(second) - day.admitted(second)


def median(second: int) -> float:
    return 0.9 * day.service_seconds(second)


def waits(second: int) -> float:
    return 0.002 + 0.09 * day.pressure(second) ** 6


def corrected(second: int) -> float:
    return median(second) + waits(second) + (0.15 if day.in_fault("gateway", second) else 0.0)


def busy(second: int) -> float:
    return day.admitted(second) * day.service_seconds(second)


def gateway(outcome: str) -> Course:
    """Calls/s to the vehicle gateway that end so."""

    def calls(second: int) -> float:
        rate = 0.3 * day.admitted(second)
        if day.breaker(second) == "open":
            return rate if outcome == "refused" else 0.0
        slow = 0.7 if day.in_fault("gateway", second) else 0.0
        return rate * {"ok": 1 - slow, "timeout": slow}.get(outcome, 0.0)

    return calls


def database(outcome: str) -> Course:
    """Calls/s to the database that end so."""

    def calls(second: int) -> float:
        ended = "error" if day.in_fault("database", second) else "ok"
        return day.admitted(second) * (outcome == ended)

    return calls


def whole(course: Course, **labels: str) -> list[Series]:
    """The same at every target, not a share of it."""
    return [Series({**labels, "instance": t, "job": "target"}, course) for t in day.TARGETS]


def part(course: Course, failed: bool) -> Course:
    """The part of a class that fails, or the rest."""
    return lambda s: course(s) * (day.error_share(s) if failed else 1 - day.error_share(s))


def gateway_seconds(second: int) -> float:
    """Median duration of a call to the gateway."""
    return 0.45 if day.in_fault("gateway", second) else 0.02


def during(span: range, otherwise: float = 0.0) -> Course:
    """1 in the span, `otherwise` outside."""
    return lambda second: 1.0 if second in span else otherwise
