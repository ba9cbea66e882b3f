"""Permits that take no slot of the limiter: long answers, and requests that nobody bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from launchday.admission.limits import Outcome, require_integer


class Admission(Protocol):
    """What an admitted request holds; to be given back exactly once."""

    waited_seconds: float

    def release(self, outcome: Outcome = ..., answered_at: float | None = ...) -> float:
        """Give it back; return how many seconds it was held."""


class Pool:
    """At most `limit` at once; None: no bound, still counted. `name` is for errors.

    Raises ValueError unless `limit` is None or an integer of at least 0.
    """

    def __init__(self, name: str, limit: int | None) -> None:
        self.limit = None if limit is None else require_integer(name, limit, at_least=0)
        self.open = 0

    def try_enter(self, *, at_any_price: bool = False) -> bool:
        """Take a place if one is free; `at_any_price`: also when none is."""
        if self.limit is not None and self.open >= self.limit and not at_any_price:
            return False
        self.open += 1
        return True

    def leave(self) -> None:
        """Give the place back."""
        self.open -= 1


class PoolPermit:
    """A place in a pool: `pool.try_enter()` said yes before."""

    waited_seconds = 0.0

    def __init__(self, pool: Pool, clock: Callable[[], float]) -> None:
        self._pool = pool
        self._clock = clock
        self._admitted_at = clock()

    def release(
        self, outcome: Outcome = Outcome.IGNORED, answered_at: float | None = None
    ) -> float:
        """Leave the pool; return how many seconds the place was held."""
        self._pool.leave()
        return self._clock() - self._admitted_at
