"""The shedder's metrics for Prometheus; the only file here that needs prometheus_client."""

from __future__ import annotations

from threading import Thread
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from launchday import metric_names
from launchday.admission.limiter import Limiter, Refusal
from launchday.metric_names import CRITICALITIES, Metric

STATUS = "503"


class PrometheusObserver:
    """Exports the `shed_*` metrics of `launchday.metric_names`; every label set starts at 0.

    `registry`: default is that of prometheus_client. One observer serves one middleware.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry or prometheus_client.REGISTRY
        self._requests = self._counter(metric_names.SHED_REQUESTS)
        self._rejections = self._counter(metric_names.SHED_REJECTIONS)
        self._limit = self._gauge(metric_names.SHED_LIMIT)
        self._inflight = self._gauge(metric_names.SHED_INFLIGHT)
        self._queue_length = self._gauge(metric_names.SHED_QUEUE_LENGTH)
        self._queue_wait = self._histogram(metric_names.SHED_QUEUE_WAIT)
        self._service = self._histogram(metric_names.SHED_SERVICE)
        self._retry_after = self._histogram(metric_names.SHED_RETRY_AFTER)
        self._info = self._gauge(metric_names.SHED_INFO)
        self._by_class = {name: _ClassMetrics(self, name) for name in CRITICALITIES}

    def attached(self, limiter: Limiter) -> None:
        # Imported late: launchday/__init__ is still being read when a stranger's import gets here.
        from launchday import __version__

        self._limit.set_function(lambda: limiter.limit.limit)
        self._info.labels(limiter.limit.algorithm, "enforce", __version__).set(1)

    def exempt(self, criticality: str) -> None:
        self._by_class[criticality].exempt.inc()

    def queued(self, criticality: str) -> None:
        self._by_class[criticality].queue_length.inc()

    def unqueued(self, criticality: str) -> None:
        self._by_class[criticality].queue_length.dec()

    def admitted(self, criticality: str, waited_seconds: float) -> None:
        metrics = self._by_class[criticality]
        metrics.admitted.inc()
        metrics.inflight.inc()
        metrics.admitted_wait.observe(waited_seconds)

    def rejected(
        self, criticality: str, reason: Refusal, retry_after_seconds: int, waited_seconds: float
    ) -> None:
        metrics = self._by_class[criticality]
        metrics.rejected.inc()
        metrics.rejections[reason].inc()
        metrics.rejected_wait.observe(waited_seconds)
        self._retry_after.observe(retry_after_seconds)

    def cancelled(self, criticality: str, waited_seconds: float) -> None:
        metrics = self._by_class[criticality]
        metrics.cancelled.inc()
        metrics.cancelled_wait.observe(waited_seconds)

    def finished(self, criticality: str, service_seconds: float) -> None:
        metrics = self._by_class[criticality]
        metrics.inflight.dec()
        metrics.service.observe(service_seconds)

    def _counter(self, metric: Metric) -> Counter:
        return Counter(metric.name, metric.help, metric.labels, registry=self._registry)

    def _gauge(self, metric: Metric) -> Gauge:
        return Gauge(metric.name, metric.help, metric.labels, registry=self._registry)

    def _histogram(self, metric: Metric) -> Histogram:
        return Histogram(
            metric.name, metric.help, metric.labels, registry=self._registry, buckets=metric.buckets
        )


class _ClassMetrics:
    """The children of one criticality, looked up once: `labels()` costs more than `inc()`."""

    def __init__(self, owner: PrometheusObserver, name: str) -> None:
        requests, wait = owner._requests, owner._queue_wait
        self.admitted = requests.labels(name, "admitted")
        self.rejected = requests.labels(name, "rejected")
        self.exempt = requests.labels(name, "exempt")
        self.cancelled = requests.labels(name, "cancelled")
        self.admitted_wait = wait.labels(name, "admitted")
        self.rejected_wait = wait.labels(name, "rejected")
        self.cancelled_wait = wait.labels(name, "cancelled")
        self.inflight = owner._inflight.labels(name)
        self.queue_length = owner._queue_length.labels(name)
        self.service = owner._service.labels(name)
        self.rejections = {
            reason: owner._rejections.labels(name, reason.value, STATUS) for reason in Refusal
        }


class MetricsServer:
    """A running `/metrics` endpoint: its address, and how to end it."""

    def __init__(self, server: Any, thread: Thread) -> None:
        self._server = server
        self._thread = thread
        self.host: str = server.server_address[0]
        self.port: int = server.server_address[1]

    def close(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def serve_metrics(
    port: int, host: str = "127.0.0.1", registry: CollectorRegistry | None = None
) -> MetricsServer:
    """Serve `/metrics` on its own port from its own thread, out of reach of the shedder.

    `port` 0 takes a free one (see `MetricsServer.port`); `registry` defaults to that of
    prometheus_client. Raises OSError when the address is taken or not allowed.
    """
    registry = registry or prometheus_client.REGISTRY
    return MetricsServer(*prometheus_client.start_http_server(port, addr=host, registry=registry))
