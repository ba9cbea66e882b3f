"""How many requests may be in flight at once: the algorithms that produce the number."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Protocol, runtime_checkable


class Outcome(StrEnum):
    """What an admitted request says about the health of the service.

    `SUCCESS`: its duration is a sample. `DROPPED`: answered 5xx or raised: a sign of overload,
    and its duration is none. `IGNORED`: says nothing (4xx, cancelled).
    """

    SUCCESS = "success"
    DROPPED = "dropped"
    IGNORED = "ignored"


@runtime_checkable
class Limit(Protocol):
    """The number that a `Limiter` asks for before every decision.

    `algorithm` is its name in metrics.
    """

    @property
    def algorithm(self) -> str: ...

    @property
    def limit(self) -> int: ...

    def on_sample(self, seconds: float, inflight: int, outcome: Outcome, now: float) -> None:
        """Learn from one finished request.

        `seconds` from admission to the end of the answer, `inflight` requests when it ended
        (itself included), `now` on the clock of the limiter, in seconds.
        """


class FixedLimit:
    """The same limit for ever: right when the parallelism of the service is known.

    Rule of thumb: about 1.2 times the parallelism, more where permits
    are held while waiting for something slow, and at least two more.
    Raises ValueError unless `limit` is an integer of at least 1.
    """

    algorithm = "fixed"

    def __init__(self, limit: int) -> None:
        self.limit = require_integer("limit", limit, at_least=1)

    def on_sample(self, seconds: float, inflight: int, outcome: Outcome, now: float) -> None:
        """Learn nothing: the limit is fixed."""


def require_integer(name: str, value: Any, *, at_least: int, at_most: int | None = None) -> int:
    """Return `value` if it is an integer in range; ValueError names the argument and the range."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and at_least <= value <= (value if at_most is None else at_most):
        return int(value)
    allowed = f"of at least {at_least}" if at_most is None else f"from {at_least} to {at_most}"
    raise ValueError(f"{name} must be an integer {allowed}, not {value!r}")
