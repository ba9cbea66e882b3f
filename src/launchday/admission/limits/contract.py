"""What every limit is: a number, what it learns from, and why it changed."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, runtime_checkable


class Outcome(StrEnum):
    """What an admitted request says about the health of the service.

    `SUCCESS`: its duration is a sample. `DROPPED`: answered 5xx or raised: a sign of overload,
    and its duration is none. `IGNORED`: says nothing (4xx, cancelled).
    """

    SUCCESS = "success"
    DROPPED = "dropped"
    IGNORED = "ignored"


class LimitReason(StrEnum):
    """Why a limit changed; few and fixed, so that it can be the label of a metric.

    `GROWTH`: the limit was used and nothing was slow. `LATENCY`: requests wait inside the service.
    `OBJECTIVE`: too slow for the objective, whatever the cause. `DROPS`: requests failed.
    `SLOW_DEPENDENCY`: a smaller limit did not make requests faster, so it is taken back.
    `RECHECK`: a short look at whether a smaller limit is faster.
    """

    GROWTH = "growth"
    LATENCY = "latency"
    OBJECTIVE = "objective"
    DROPS = "drops"
    SLOW_DEPENDENCY = "slow_dependency"
    RECHECK = "recheck"


class LimitChange(NamedTuple):
    """One change of a limit, in requests, and its reason."""

    old: int
    new: int
    reason: LimitReason


@runtime_checkable
class Limit(Protocol):
    """The number that a `Limiter` asks for before every decision.

    `algorithm` is its name in metrics.
    """

    @property
    def algorithm(self) -> str: ...

    @property
    def limit(self) -> int: ...

    def on_sample(
        self, seconds: float, inflight: int, outcome: Outcome, now: float
    ) -> LimitChange | None:
        """Learn from one finished request; return the change of the limit, if it made one.

        `seconds` from admission to the end of the answer, `inflight` requests when it ended
        (itself included), `now` on the clock of the limiter, in seconds.
        """


def require_integer(name: str, value: Any, *, at_least: int, at_most: int | None = None) -> int:
    """Return `value` if it is an integer in range; ValueError names the argument and the range."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and at_least <= value <= (value if at_most is None else at_most):
        return int(value)
    allowed = f"of at least {at_least}" if at_most is None else f"from {at_least} to {at_most}"
    raise ValueError(f"{name} must be an integer {allowed}, not {value!r}")


def require_number(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    at_most: float = math.inf,
) -> float:
    """Return `value` if it is finite and in range; ValueError names the argument and the range."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and above < value <= at_most and at_least <= value < math.inf:
        return float(value)
    bounds = (("above", above), ("of at least", at_least), ("at most", at_most))
    allowed = " and ".join(f"{word} {bound:g}" for word, bound in bounds if math.isfinite(bound))
    raise ValueError(f"{name} must be a number {allowed}, not {value!r}")
