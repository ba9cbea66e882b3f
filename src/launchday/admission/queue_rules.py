"""How many may wait and for how long, and which part of the limit is whose own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from launchday.admission.codel import INTERVAL_SECONDS
from launchday.admission.limits import require_integer, require_number
from launchday.metric_names import CRITICALITIES

LONGEST_QUEUE_TIMEOUT_SECONDS = 60.0
QUEUE_BYTES = 16 * 2**20
OVERLOAD_FORMS = ("standing", "minimum_delay")
RESERVES = (0.1, 0.4, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class QueueRules:
    """How many may wait, and for how long.

    `length`: requests, of all classes together; None: three times the limit; 0: nobody waits.
    `size_bytes`: what the announced bodies of those that wait may add up to, in bytes.
    `timeout_seconds`: longest wait of a request while there is no overload, and how long the queue
    must stand to be overloaded: above 0, at most 60, default 0.2 s. A few services long, so that
    chance refuses few; well below the objective, because it is spent in full when things get
    slow: with 4 slots of 50 ms, 0.15, 0.2 and 0.3 s refuse 2.3, 1.9 and 1.5 % at 0.8 of the
    capacity, and keep 89, 89 and 84 % of it when everything takes four times as long.
    `overload`: what tells that the queue is overloaded, "standing" (it was not empty for an
    interval) or "minimum_delay" (every wait of an interval was over 5 ms).
    Raises ValueError that names the argument, the value and what is allowed.
    """

    length: int | None = None
    size_bytes: int = QUEUE_BYTES
    timeout_seconds: float = INTERVAL_SECONDS
    overload: str = "standing"

    def __post_init__(self) -> None:
        if self.overload not in OVERLOAD_FORMS:
            allowed = " or ".join(map(repr, OVERLOAD_FORMS))
            raise ValueError(f"overload must be {allowed}, not {self.overload!r}")
        if self.length is not None:
            require_integer("queue_length", self.length, at_least=0)
        require_integer("queue_bytes", self.size_bytes, at_least=0)
        longest = LONGEST_QUEUE_TIMEOUT_SECONDS
        require_number("queue_timeout_seconds", self.timeout_seconds, above=0, at_most=longest)


def require_rules(value: Any) -> QueueRules:
    """Return `value` if it is rules of a queue; ValueError says what it is."""
    if not isinstance(value, QueueRules):
        raise ValueError(f"queue must be QueueRules(...) or None, not {value!r}")
    return value


def require_reserves(reserves: Sequence[float]) -> tuple[float, ...]:
    """Return the four shares; ValueError says what is allowed."""
    numbers = tuple(reserves) if isinstance(reserves, Sequence) else ()
    valid = len(numbers) == len(CRITICALITIES) and all(
        isinstance(share, int | float) and 0 <= share <= 1 for share in numbers
    )
    if not valid or sum(numbers) > 1:
        raise ValueError(
            "reserves must be four shares of the limit, from the most critical class down, each "
            f"from 0 to 1 and together at most 1, e.g. {RESERVES}, not {reserves!r}"
        )
    return tuple(float(share) for share in numbers)
