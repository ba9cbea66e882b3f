"""What stands behind the backend, how it did lately, and the error when it failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Histogram

from launchday.metric_names import CAR_DEPENDENCY

DATABASE = "database"
GATEWAY = "gateway"


class DependencyFailed(Exception):
    """Something behind the backend failed or took too long; answered 503 with Retry-After."""

    def __init__(self, dependency: str) -> None:
        super().__init__(f"{dependency} failed")
        self.dependency = dependency


class Dependencies:
    """Times every call and remembers whether the last one worked."""

    def __init__(self, registry: CollectorRegistry) -> None:
        histogram = Histogram(
            CAR_DEPENDENCY.name,
            CAR_DEPENDENCY.help,
            CAR_DEPENDENCY.labels,
            registry=registry,
            buckets=CAR_DEPENDENCY.buckets,
        )
        self._seconds = {
            (dependency, outcome): histogram.labels(dependency, outcome)
            for dependency in (DATABASE, GATEWAY)
            for outcome in ("ok", "error", "timeout")
        }
        self.works = {DATABASE: True, GATEWAY: True}

    @contextmanager
    def call(self, dependency: str) -> Iterator[None]:
        """Time the block; a block that ran out of time or was given up counts as timeout."""
        started_at = time.perf_counter()
        outcome = "error"
        try:
            yield
            outcome = "ok"
        except (TimeoutError, asyncio.CancelledError):
            outcome = "timeout"
            raise
        finally:
            self.works[dependency] = outcome == "ok"
            self._seconds[dependency, outcome].observe(time.perf_counter() - started_at)
