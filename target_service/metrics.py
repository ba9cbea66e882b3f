"""The `car_*` metrics, and the layer that times what the backend itself answers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from random import Random
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from launchday import metric_names
from launchday.metric_names import Metric
from target_service import routes
from target_service.dependencies import Dependencies
from target_service.unavailable import Unavailable
from target_service.work import Work

UNMATCHED = "unmatched"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def counter(metric: Metric, registry: CollectorRegistry, outcomes: tuple[str, ...]) -> Counter:
    """Register a counter by outcome, every outcome at 0."""
    result = Counter(metric.name, metric.help, metric.labels, registry=registry)
    for outcome in outcomes:
        result.labels(outcome)
    return result


def _gauge(metric: Metric, registry: CollectorRegistry) -> Gauge:
    return Gauge(metric.name, metric.help, metric.labels, registry=registry)


class _SlotSeconds(Collector):
    """A counter that somebody else keeps: read when it is asked for, so that it is up to date."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def collect(self) -> Iterable[CounterMetricFamily]:
        metric = metric_names.CAR_SLOTS_BUSY_SECONDS
        yield CounterMetricFamily(metric.name, metric.help, value=self._work.busy_seconds)


class CarMetrics:
    """The reference backend's own metrics, in one registry together with those of its process."""

    def __init__(self, registry: CollectorRegistry, work: Work, random: Random) -> None:
        ProcessCollector(registry=registry)
        self.registry = registry
        self.dependencies = Dependencies(registry, random)
        self.unavailable = Unavailable(registry)
        request = metric_names.CAR_REQUEST
        self.request = Histogram(
            request.name, request.help, request.labels, registry=registry, buckets=request.buckets
        )
        # Every answer that a route gives on purpose: these label sets start at 0.
        for route in routes.ALL:
            for code in (*route.codes, 500, 503):
                self.request.labels(route.path, route.method, str(code))
        self.request.labels(UNMATCHED, "GET", "404")
        self.commands = counter(
            metric_names.CAR_COMMANDS, registry, ("done", "pending", "replayed")
        )
        self.sign_ins = counter(
            metric_names.CAR_SIGN_INS, registry, ("accepted", "refused", "throttled")
        )
        creations = metric_names.CAR_CREATIONS
        self.creations = Counter(
            creations.name, creations.help, creations.labels, registry=registry
        )
        stale = metric_names.CAR_STALE_READS
        self.stale_reads = Counter(stale.name, stale.help, registry=registry)
        _gauge(metric_names.CAR_CAPACITY, registry).set(work.capacity_rps)
        _gauge(metric_names.CAR_SLOTS, registry).set(work.slots)
        _gauge(metric_names.CAR_SLOTS_BUSY, registry).set_function(lambda: work.busy)
        registry.register(_SlotSeconds(work))
        _gauge(metric_names.CAR_SLOTS_WAITING, registry).set_function(lambda: work.waiting)


class RequestTimer:
    """Observes `car_request_seconds`. Sits inside the shedder, so refusals are not in it."""

    def __init__(self, app: ASGIApp, *, histogram: Histogram) -> None:
        self.app = app
        self._histogram = histogram
        self._children: dict[tuple[str, str, int], Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started_at = time.perf_counter()
        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watch)
        finally:
            self._child(scope, status).observe(time.perf_counter() - started_at)

    def _child(self, scope: Scope, status: int) -> Any:
        route = getattr(scope.get("route"), "path", UNMATCHED)
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        key = (route, method, status)
        if key not in self._children:
            self._children[key] = self._histogram.labels(route, method, str(status))
        return self._children[key]
