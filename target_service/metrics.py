"""The `car_*` metrics, and the layer that times what the backend itself answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from random import Random

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
OUTCOMES = ("ok", "client_error", "server_error")  # 2xx and 3xx, 4xx, 5xx
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def counter(metric: Metric, registry: CollectorRegistry, outcomes: tuple[str, ...]) -> Counter:
    """Register a counter by outcome, every outcome at 0."""
    result = _counter(metric, registry)
    for outcome in outcomes:
        result.labels(outcome)
    return result


def _counter(metric: Metric, registry: CollectorRegistry) -> Counter:
    return Counter(metric.name, metric.help, metric.labels, registry=registry)


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

    def __init__(
        self, registry: CollectorRegistry, work: Work, random: Random, *, region: str
    ) -> None:
        ProcessCollector(registry=registry)
        self.registry = registry
        self.dependencies = Dependencies(registry, random)
        self.unavailable = Unavailable(registry)
        self.requests = Requests(registry)
        self.commands = counter(
            metric_names.CAR_COMMANDS, registry, ("done", "pending", "replayed")
        )
        self.sign_ins = counter(
            metric_names.CAR_SIGN_INS, registry, ("accepted", "refused", "throttled")
        )
        self.creations = _counter(metric_names.CAR_CREATIONS, registry)
        self.stale_reads = _counter(metric_names.CAR_STALE_READS, registry)
        _gauge(metric_names.CAR_INFO, registry).labels(region).set(1)
        _gauge(metric_names.CAR_CAPACITY, registry).set(work.capacity_rps)
        _gauge(metric_names.CAR_SLOTS, registry).set(work.slots)
        _gauge(metric_names.CAR_SLOTS_BUSY, registry).set_function(lambda: work.busy)
        registry.register(_SlotSeconds(work))
        _gauge(metric_names.CAR_SLOTS_WAITING, registry).set_function(lambda: work.waiting)


class Requests:
    """Counts what the backend answered: latency by class and outcome, and each route's answers.

    One histogram for each route and status would be 208 of them, and a scrape would cost a tenth
    of a core. Every label set that a route gives on purpose starts at 0.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        request = metric_names.CAR_REQUEST
        self._latency = Histogram(
            request.name, request.help, request.labels, registry=registry, buckets=request.buckets
        )
        for criticality in (*metric_names.CRITICALITIES, routes.EXEMPT):
            for outcome in OUTCOMES:
                self._latency.labels(criticality, outcome)
        self._count = _counter(metric_names.CAR_REQUESTS, registry)
        self._seconds = _counter(metric_names.CAR_ROUTE_SECONDS, registry)
        self._of_route: dict[tuple[str, str, int], tuple[Counter, Counter]] = {}
        for route in routes.ALL:
            for code in (*route.codes, 500, 503):
                self._counters(route.path, route.method, code)
        self._counters(UNMATCHED, "GET", 404)

    def observe(
        self, criticality: str, route: str, method: str, status: int, seconds: float
    ) -> None:
        """Count one answer."""
        outcome = OUTCOMES[max(0, status // 100 - 3)]
        self._latency.labels(criticality, outcome).observe(seconds)
        count, total_seconds = self._counters(route, method, status)
        count.inc()
        total_seconds.inc(seconds)

    def _counters(self, route: str, method: str, status: int) -> tuple[Counter, Counter]:
        key = (route, method, status)
        if key not in self._of_route:
            count = self._count.labels(route, method, str(status))
            self._of_route[key] = (count, self._seconds.labels(route, method))
        return self._of_route[key]


class RequestTimer:
    """Observes what passes. Sits inside the shedder, so refusals are not in it.

    `criticality`: what the shedder takes a request for.
    """

    def __init__(
        self, app: ASGIApp, *, requests: Requests, criticality: Callable[[Scope], str]
    ) -> None:
        self.app = app
        self._requests = requests
        self._criticality = criticality

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
            self._observe(scope, status, time.perf_counter() - started_at)

    def _observe(self, scope: Scope, status: int, seconds: float) -> None:
        exempt = scope["path"].startswith(routes.ALWAYS_OPEN_PATHS)
        criticality = routes.EXEMPT if exempt else self._criticality(scope)
        route = getattr(scope.get("route"), "path", UNMATCHED)
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        self._requests.observe(criticality, route, method, status, seconds)
