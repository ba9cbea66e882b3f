"""The shedder's metrics for Prometheus; the only file here that needs prometheus_client."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from itertools import accumulate, product
from threading import Thread
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from launchday import metric_names as names
from launchday.admission.exposition import application
from launchday.admission.limits import LimitChange, LimitReason
from launchday.admission.middleware import LoadSheddingMiddleware
from launchday.admission.refusal import Refusal
from launchday.admission.refusal_reply import status_of
from launchday.admission.snapshot import MEASURES, measures
from launchday.admission.tally import Distribution, Tally
from launchday.metric_names import Kind, Metric

_FAMILIES = {
    Kind.COUNTER: CounterMetricFamily,
    Kind.GAUGE: GaugeMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
}
Sample = tuple[Iterable[str], float]
LONG_LIVED = ("stream", "websocket")


class PrometheusObserver(Collector):
    """Exports the `shed_*` metrics of `launchday.metric_names`; every label set starts at 0.

    `registry`: default is that of prometheus_client. One observer serves one middleware. Counts
    are plain integers on the path of a request and become metrics only when they are scraped.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.tally = Tally()
        self._by_class = self.tally.by_class
        self._shedder: LoadSheddingMiddleware | None = None
        (registry or prometheus_client.REGISTRY).register(self)

    def attached(self, shedder: LoadSheddingMiddleware) -> None:
        self._shedder = shedder

    def exempt(self, criticality: str) -> None:
        self._by_class[criticality].exempt += 1

    def queued(self, criticality: str) -> None:
        self._by_class[criticality].queued += 1

    def unqueued(self, criticality: str) -> None:
        self._by_class[criticality].queued -= 1

    def admitted(self, criticality: str, waited_seconds: float) -> None:
        tally = self._by_class[criticality]
        tally.admitted += 1
        tally.inflight += 1
        tally.admitted_wait.add(waited_seconds)

    def rejected(
        self, criticality: str, reason: Refusal, retry_after_seconds: int, waited_seconds: float
    ) -> None:
        tally = self._by_class[criticality]
        tally.rejected += 1
        tally.rejections[reason.number] += 1
        tally.rejected_wait.add(waited_seconds)
        self.tally.retry_after.add(retry_after_seconds)

    def cancelled(self, criticality: str, waited_seconds: float) -> None:
        tally = self._by_class[criticality]
        tally.cancelled += 1
        tally.cancelled_wait.add(waited_seconds)

    def finished(self, criticality: str, service_seconds: float) -> None:
        tally = self._by_class[criticality]
        tally.inflight -= 1
        tally.service.add(service_seconds)

    def would_reject(self, criticality: str, reason: Refusal) -> None:
        self._by_class[criticality].would_reject[reason.number] += 1

    def limit_changed(self, change: LimitChange) -> None:
        direction = "up" if change.new > change.old else "down"
        self.tally.limit_changes[direction, change.reason] += 1

    def discarded(self, body_bytes: int) -> None:
        self.tally.discarded_bytes += body_bytes

    def websocket_rejected(self, reason: Refusal) -> None:
        self.tally.websocket_rejections[reason] += 1

    def decided(self, seconds: float) -> None:
        self.tally.decision.add(seconds)

    def collect(self) -> Iterator[Family]:
        """Yield the metrics; called by prometheus_client for every scrape."""
        yield from self._counters()
        yield from self._histograms()
        yield from self._gauges()

    def _counters(self) -> Iterator[Family]:
        tally, by_class = self.tally, self._by_class.items()
        outcomes = ("admitted", "rejected", "exempt", "cancelled")
        yield _family(
            names.SHED_REQUESTS,
            [((name, kind), getattr(one, kind)) for name, one in by_class for kind in outcomes],
        )
        yield _family(
            names.SHED_REJECTIONS,
            [
                ((name, reason, str(status_of(reason))), one.rejections[reason.number])
                for name, one in by_class
                for reason in Refusal
            ],
        )
        yield _family(
            names.SHED_WOULD_REJECT,
            [
                ((name, why), one.would_reject[why.number])
                for name, one in by_class
                for why in Refusal
            ],
        )
        changes = product(("up", "down"), LimitReason)
        yield _family(
            names.SHED_LIMIT_CHANGES, [(key, tally.limit_changes[key]) for key in changes]
        )
        yield _family(names.SHED_BODY_DISCARDED, [((), tally.discarded_bytes)])
        sockets = tally.websocket_rejections
        yield _family(names.SHED_WEBSOCKET_REJECTIONS, [((why,), sockets[why]) for why in Refusal])

    def _histograms(self) -> Iterator[Family]:
        waits = ("admitted", "rejected", "cancelled")
        yield _histogram(
            names.SHED_QUEUE_WAIT,
            [
                ((name, kind), getattr(one, f"{kind}_wait"))
                for name, one in self._by_class.items()
                for kind in waits
            ],
        )
        services = [((name,), one.service) for name, one in self._by_class.items()]
        yield _histogram(names.SHED_SERVICE, services)
        yield _histogram(names.SHED_RETRY_AFTER, [((), self.tally.retry_after)])
        yield _histogram(names.SHED_DECISION, [((), self.tally.decision)])

    def _gauges(self) -> Iterator[Family]:
        shedder, by_class = self._shedder, self._by_class.items()
        values = dict.fromkeys(MEASURES, 0.0) if shedder is None else measures(shedder)
        for metric, value in values.items():
            yield _family(metric, [((), value)])
        yield _family(names.SHED_INFLIGHT, [((name,), one.inflight) for name, one in by_class])
        yield _family(names.SHED_QUEUE_LENGTH, [((name,), one.queued) for name, one in by_class])
        pools = {} if shedder is None else shedder.pools
        open_now = [((kind,), pools[kind].open if pools else 0) for kind in LONG_LIVED]
        yield _family(names.SHED_LONG_LIVED, open_now)
        yield _family(names.SHED_INFO, [] if shedder is None else _info(shedder))


def _info(shedder: LoadSheddingMiddleware) -> list[Sample]:
    # Imported late: launchday/__init__ is still being read when a stranger's import gets here.
    from launchday import __version__

    return [((shedder.limiter.limit.algorithm, shedder.mode, __version__), 1.0)]


def _family(metric: Metric, samples: Iterable[Sample]) -> Family:
    family: Any = _FAMILIES[metric.kind](metric.name, metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric([*labels], value)
    found: Family = family
    return found


def _histogram(metric: Metric, samples: Iterable[tuple[Iterable[str], Distribution]]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, found in samples:
        edges = [*map(floatToGoString, found.edges), "+Inf"]
        buckets = zip(edges, accumulate(found.counts), strict=True)
        family.add_metric([*labels], [*buckets], found.total)
    return family


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
    port: int,
    host: str = "127.0.0.1",
    registry: CollectorRegistry | None = None,
    *,
    workers: int = 1,
) -> MetricsServer:
    """Serve `/metrics` on its own port from its own thread, out of reach of the shedder.

    `port` 0 takes a free one (see `MetricsServer.port`); `registry` defaults to that of
    prometheus_client. `workers`: processes of this service on this machine; each takes the first
    free port from `port` on, and is scraped there. Raises OSError when no address is free, or
    when it is not allowed.
    """
    registry = registry or prometheus_client.REGISTRY
    for number in range(port, port + workers):
        try:
            server, thread = prometheus_client.start_http_server(number, host, registry)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or number == port + workers - 1:
                raise
        else:
            server.set_app(application(registry.collect))
            return MetricsServer(server, thread)
    raise ValueError(f"workers must be at least 1, not {workers!r}")
