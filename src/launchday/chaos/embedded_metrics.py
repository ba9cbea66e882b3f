"""`/metrics` of the embedded Toxiproxy: byte counters that move while connections live, gauges.

Names and labels of the counters are Toxiproxy's (its METRICS.md), which counts a connection only
when it closes. The gauges are ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from launchday.chaos.registry import Registry

_PROXY = ("proxy", "listener", "upstream")


def exposition(registry: Registry) -> bytes:
    """The metrics of all proxies in Prometheus' text format."""
    metrics = CollectorRegistry()
    metrics.register(_Proxies(registry))
    return generate_latest(metrics)


class _Proxies(Collector):
    def __init__(self, registry: Registry) -> None:
        self._proxies = registry.proxies.values()

    def collect(self) -> Iterator[Metric]:
        yield from self._bytes()
        yield from self._gauges()

    def _bytes(self) -> Iterator[Metric]:
        labels = ("direction", *_PROXY)
        received = CounterMetricFamily(
            "toxiproxy_proxy_received_bytes", "Bytes that came in, live.", labels=labels
        )
        sent = CounterMetricFamily(
            "toxiproxy_proxy_sent_bytes", "Bytes that were handed on, live.", labels=labels
        )
        for proxy in self._proxies:
            counts = proxy.transferred()
            for direction, bytes_in, bytes_out in (
                ("upstream", counts[0], counts[1]),
                ("downstream", counts[2], counts[3]),
            ):
                values = (direction, proxy.name, proxy.listen, proxy.upstream)
                received.add_metric(values, bytes_in)
                sent.add_metric(values, bytes_out)
        yield from (received, sent)

    def _gauges(self) -> Iterator[Metric]:
        enabled = GaugeMetricFamily(
            "toxiproxy_proxy_enabled", "1 while the proxy listens.", labels=_PROXY
        )
        connections = GaugeMetricFamily(
            "toxiproxy_proxy_connections", "Live connections of clients.", labels=_PROXY
        )
        toxics = GaugeMetricFamily(
            "toxiproxy_proxy_toxic_connections",
            "Live connections that the toxic hits.",
            labels=(*_PROXY, "toxic", "type", "stream"),
        )
        for proxy in self._proxies:
            values = (proxy.name, proxy.listen, proxy.upstream)
            enabled.add_metric(values, proxy.enabled)
            connections.add_metric(values, len(proxy.connections))
            hit = Counter(name for one in proxy.connections for name in one.hit_by())
            for toxic in proxy.toxics:
                which = (*values, toxic.name, toxic.type, toxic.stream.lower())
                toxics.add_metric(which, hit[toxic.name])
        yield from (enabled, connections, toxics)
