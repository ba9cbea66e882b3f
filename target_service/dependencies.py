"""What stands behind the backend: every call timed, bounded, and refused while it is broken."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from launchday.metric_names import CAR_BREAKER_OPENED, CAR_BREAKER_STATE, CAR_DEPENDENCY
from target_service.breaker import Breaker, State

DATABASE = "database"
GATEWAY = "gateway"
NAMES = (DATABASE, GATEWAY)
# When nobody calls, one failure must not be news for ever.
FORGOTTEN_AFTER_SECONDS = 5.0
OUTCOMES = ("ok", "error", "timeout", "refused")

logger = logging.getLogger(__name__)


class DependencyFailed(Exception):
    """Something behind the backend failed or took too long; answered 503 with Retry-After.

    `retry_after_seconds`: how long its breaker stays open, 0 if it is not.
    """

    def __init__(self, dependency: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(f"{dependency} failed")
        self.dependency = dependency
        self.retry_after_seconds = retry_after_seconds


class Dependencies:
    """Times every call and guards it by a circuit breaker, one for each dependency."""

    def __init__(self, registry: CollectorRegistry, random: Random) -> None:
        seconds = Histogram(
            CAR_DEPENDENCY.name,
            CAR_DEPENDENCY.help,
            CAR_DEPENDENCY.labels,
            registry=registry,
            buckets=CAR_DEPENDENCY.buckets,
        )
        state = Gauge(
            CAR_BREAKER_STATE.name,
            CAR_BREAKER_STATE.help,
            CAR_BREAKER_STATE.labels,
            registry=registry,
        )
        opened = Counter(
            CAR_BREAKER_OPENED.name,
            CAR_BREAKER_OPENED.help,
            CAR_BREAKER_OPENED.labels,
            registry=registry,
        )
        self._by_name = {
            name: _Dependency.create(name, seconds, state, opened, random) for name in NAMES
        }

    def works(self, dependency: str) -> bool:
        """Return whether calls are let through and the last one worked, or failed long ago."""
        entry = self._by_name[dependency]
        if entry.breaker.state is not State.CLOSED:
            return False
        return time.monotonic() - entry.failed_at > FORGOTTEN_AFTER_SECONDS

    def state(self, dependency: str) -> State:
        """Return the state of its breaker."""
        return self._by_name[dependency].breaker.state

    @contextmanager
    def call(self, dependency: str) -> Iterator[None]:
        """Time the block; refuse it with DependencyFailed while the breaker is open.

        A block that ran out of time counts as timeout and as failure. One that was cancelled,
        because the client left, counts as timeout; it says nothing about the dependency.
        """
        entry = self._by_name[dependency]
        if not entry.breaker.allows():
            entry.seconds["refused"].observe(0.0)
            raise DependencyFailed(dependency, entry.breaker.seconds_left())
        started_at = time.perf_counter()
        outcome = "error"
        try:
            yield
            outcome = "ok"
            entry.failed_at = -math.inf
            entry.breaker.succeeded()
        except asyncio.CancelledError:
            outcome = "timeout"
            entry.breaker.gave_up()
            raise
        except BaseException as error:
            outcome = "timeout" if isinstance(error, TimeoutError) else "error"
            entry.failed_at = time.monotonic()
            entry.breaker.failed()
            raise
        finally:
            entry.seconds[outcome].observe(time.perf_counter() - started_at)


@dataclass
class _Dependency:
    breaker: Breaker
    seconds: dict[str, Any]
    failed_at: float = -math.inf  # the last call, by the monotonic clock; not if it worked

    @classmethod
    def create(
        cls, name: str, seconds: Histogram, state: Gauge, opened: Counter, random: Random
    ) -> _Dependency:
        by_state = {each: state.labels(name, each.value) for each in State}
        opened_here = opened.labels(name)

        def show(now: State) -> None:
            for each, gauge in by_state.items():
                gauge.set(each is now)
            if now is State.OPEN:
                opened_here.inc()
            if now is not State.HALF_OPEN:
                logger.warning("%s: circuit breaker %s", name, now.value)

        breaker = Breaker(time.monotonic, random, on_change=show)
        by_state[State.CLOSED].set(1)
        children = {outcome: seconds.labels(name, outcome) for outcome in OUTCOMES}
        return cls(breaker, children)
