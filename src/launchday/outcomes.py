"""What a client can see: the outcome of one request."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The outcome of one request, as its client sees it."""

    OK = "ok"  # 2xx within the objective
    SLOW = "slow"  # 2xx, later than the objective
    SHED = "shed"  # 503, the service refused because it is overloaded
    MAINTENANCE = "maintenance"  # 503, announced
    DEPENDENCY = "dependency"  # 503, something behind the service failed
    THROTTLED = "throttled"  # 429
    CLIENT_ERROR = "client_error"  # other 4xx, and 3xx: redirects are not followed
    INVALID = "invalid"  # 2xx, but the scenario found the answer wrong
    SERVER_ERROR = "server_error"  # other 5xx
    TIMEOUT = "timeout"  # no answer within the client's patience
    CONNECTION = "connection"  # refused, reset, closed half-way


REFUSED = frozenset({Outcome.SHED, Outcome.MAINTENANCE, Outcome.THROTTLED})
"""Turned away at the door: their latency says nothing about the admitted ones."""

ERRORS = frozenset(
    {
        Outcome.DEPENDENCY,
        Outcome.SERVER_ERROR,
        Outcome.CLIENT_ERROR,
        Outcome.INVALID,
        Outcome.TIMEOUT,
        Outcome.CONNECTION,
    }
)
"""What an owner experiences as broken."""

# A request that a stopping service gave up half-way (draining) may have been processed, as one
# that waited for something behind it: whoever was turned away for maintenance was not.
_DEPENDENCY_REASONS = frozenset({"dependency", "draining"})
_MAINTENANCE_REASONS = frozenset({"maintenance"})


def outcome_of(
    status: int,
    *,
    latency_seconds: float,
    objective_seconds: float,
    reason: str | None = None,
    retry_after: bool = False,
) -> Outcome:
    """The outcome of an answered request.

    A 503 is told apart by the `reason` of its problem+json body; without one it counts as shed
    if it carries Retry-After (the service meant it) and as a server error if not.
    """
    if status == 503:
        return _outcome_of_503(reason, retry_after)
    if status == 429:
        return Outcome.THROTTLED
    if status >= 500:
        return Outcome.SERVER_ERROR
    if status >= 300:
        return Outcome.CLIENT_ERROR
    return Outcome.OK if latency_seconds <= objective_seconds else Outcome.SLOW


def _outcome_of_503(reason: str | None, retry_after: bool) -> Outcome:
    if reason in _DEPENDENCY_REASONS:
        return Outcome.DEPENDENCY
    if reason in _MAINTENANCE_REASONS:
        return Outcome.MAINTENANCE
    if reason is not None or retry_after:
        return Outcome.SHED
    return Outcome.SERVER_ERROR
