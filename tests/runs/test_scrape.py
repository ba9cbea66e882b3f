"""What is kept of a target's metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from launchday.runs.scrape import parse


def test_every_series_but_buckets_and_times_of_creation_is_kept() -> None:
    registry = CollectorRegistry()
    seconds = Histogram("car_seconds", "Calls.", ("route",), registry=registry)
    seconds.labels("/v1/vehicles").observe(0.25)
    Counter("car_requests", "Requests.", ("code", "route"), registry=registry).labels(
        "200", 'a "quoted", {odd} route'
    ).inc(2)
    Gauge("car_bucket_size", "No histogram.", registry=registry).set(7)
    found = parse(generate_latest(registry).decode())
    assert found == {
        'car_seconds_count{route="/v1/vehicles"}': 1.0,
        'car_seconds_sum{route="/v1/vehicles"}': 0.25,
        'car_requests_total{code="200",route="a "quoted", {odd} route"}': 2.0,
        "car_bucket_size": 7.0,
    }
