"""Our text of metrics, beside that of prometheus_client."""

from __future__ import annotations

import math
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing

import pytest
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    Summary,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from launchday.admission.exposition import text_of
from launchday.admission.prometheus import serve_metrics


class Stamped(Collector):
    def collect(self) -> Iterator[Family]:
        family = GaugeMetricFamily("stamped", "With a time.", labels=["one"])
        family.add_metric(["x"], 3, timestamp=1234.5)
        yield family


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("asked", 'A "counter"\nof two lines, \\ and all.', ["who"], registry=registry).labels(
        'a "b" \\ c\nd'
    ).inc(2)
    gauge = Gauge("level", "A gauge.", ["of"], registry=registry)
    for name, value in (("inf", math.inf), ("minus", -math.inf), ("nan", math.nan), ("tiny", 1e-9)):
        gauge.labels(name).set(value)
    Histogram("took_seconds", "A histogram.", ["b", "a"], registry=registry).labels(
        "1", "2"
    ).observe(0.3)
    Summary("size_bytes", "A summary.", registry=registry).observe(7)
    Info("build", "An info.", registry=registry).info({"version": "1"})
    Enum("state", "A state.", states=["on", "off"], registry=registry)
    registry.register(Stamped())
    return registry


def samples(text: str) -> list[tuple[object, ...]]:
    return sorted(
        (family.name, family.type, family.documentation, sample.name,
         sorted(sample.labels.items()), str(sample.value), sample.timestamp)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    )  # fmt: skip


def test_it_says_what_prometheus_client_says_without_times_of_creation(
    registry: CollectorRegistry,
) -> None:
    ours, theirs = text_of(registry.collect()).decode(), generate_latest(registry).decode()
    assert "_created" in theirs
    assert "_created" not in ours
    assert len(samples(ours)) > 25
    assert samples(ours) == samples(theirs)


def test_a_metrics_port_serves_it_and_takes_no_posts(registry: CollectorRegistry) -> None:
    with closing(serve_metrics(0, registry=registry)) as server:
        url = f"http://127.0.0.1:{server.port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert answer.read() == text_of(registry.collect())
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url, data=b"x", timeout=10)
        assert refused.value.code == 405
        refused.value.close()
