"""The synthetic launch day: how much is offered, admitted and refused at each second."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

from launchday.metric_names import CRITICALITIES

Course = Callable[[int], float]  # second of the day -> value

START = 1_767_258_000  # 2026-01-01 at nine, UTC: the same pictures from the same boards
SECONDS = 270
PHASES = {"quiet": range(50), "rise": range(50, 80), "peak": range(80, 230), "ebb": range(230, 270)}
FAULTS = {
    ("gateway-slow", "gateway", "latency"): range(120, 160),
    ("database-gone", "database", "down"): range(170, 185),
}
ALERTS = {"BreakerOpen": range(128, 168), "CapacityExhausted": range(100, 270)}
TARGETS = {"target-1:9100": 0.52, "target-2:9100": 0.48}  # a load balancer's shares
SHARES = dict(zip(CRITICALITIES, (0.05, 0.35, 0.25, 0.35), strict=True))
OFFERED = ((0, 45.0), (50, 60.0), (80, 400.0), (230, 430.0), (270, 290.0))
POSSIBLE = 190.0  # requests/s
ALPHA, BETA, GAMMA = 0.03, 0.0004, 14.0  # the scalability law that the latency follows


def in_fault(link: str, second: int) -> bool:
    """Whether a fault of this link is in."""
    return any(name == link and second in span for (_, name, _), span in FAULTS.items())


def breaker(second: int) -> str:
    """State of the circuit breaker of the gateway."""
    span = FAULTS["gateway-slow", "gateway", "latency"]
    if second not in range(span.start + 6, span.stop + 6):
        return "closed"
    return "open" if (second - span.start) % 10 < 8 else "half_open"


def offered(second: int) -> float:
    """Requests/s that reach the shedders, with a little unrest."""
    for (start, low), (end, high) in pairwise(OFFERED):
        if start <= second < end:
            level = low + (high - low) * (second - start) / (end - start)
            return level * (1 + 0.03 * math.sin(1.7 * second) + 0.02 * math.sin(0.61 * second))
    return OFFERED[-1][1]


def admitted_by_class(second: int) -> dict[str, float]:
    """Requests/s admitted: what matters most comes first."""
    left = POSSIBLE * (1 + 0.02 * math.sin(0.9 * second))
    if in_fault("gateway", second) or in_fault("database", second):
        left *= 0.85
    admitted = {}
    for name, share in SHARES.items():
        admitted[name] = min(share * offered(second), left)
        left -= admitted[name]
    return admitted


def admitted(second: int) -> float:
    """Requests/s admitted of all classes."""
    return sum(admitted_by_class(second).values())


def refused(name: str, second: int) -> float:
    """Requests/s of a class that are refused."""
    return SHARES[name] * offered(second) - admitted_by_class(second)[name]


def pressure(second: int) -> float:
    """How full the targets are, from 0 to 1."""
    return min(1.0, admitted(second) / POSSIBLE)


def service_seconds(second: int) -> float:
    """Mean time in a target by the law: n / X(n), with n found by iteration."""
    rate = admitted(second)
    inside = 1.0
    for _ in range(60):
        cost = 1 + ALPHA * (inside - 1) + BETA * inside * (inside - 1)
        inside = rate * cost / GAMMA
    slow = 1.2 if in_fault("gateway", second) else 1.0
    return slow * inside / rate


def error_share(second: int) -> float:
    """Share of the admitted requests that something behind the service fails."""
    if in_fault("database", second):
        return 0.12
    return 0.05 if in_fault("gateway", second) else 0.0


def ramp(start: int, end: int, high: float) -> Course:
    """From 0 to `high` between two seconds, back to 0 at the end of the day."""

    def course(second: int) -> float:
        if second < end:
            return high * max(0, second - start) / (end - start)
        return high * (SECONDS - second) / (SECONDS - end)

    return course
