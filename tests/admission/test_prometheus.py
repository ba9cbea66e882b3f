"""The shedder's metrics: right names, right labels, and right values."""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

import launchday
from launchday import LoadSheddingMiddleware, metric_names
from launchday.admission import QueueRules
from launchday.admission.prometheus import MetricsServer, PrometheusObserver, serve_metrics
from launchday.metric_names import CRITICALITIES

Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def samples_of(text: str) -> Samples:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(server: MetricsServer) -> Samples:
    with urllib.request.urlopen(f"http://{server.host}:{server.port}/metrics", timeout=10) as page:
        return samples_of(page.read().decode())


def test_every_label_set_starts_at_zero(registry: CollectorRegistry) -> None:
    PrometheusObserver(registry)
    server = serve_metrics(0, registry=registry)
    try:
        samples = scrape(server)
    finally:
        server.close()
    for name in CRITICALITIES:
        for outcome in ("admitted", "rejected", "exempt", "cancelled"):
            assert samples["shed_requests_total", (name, outcome)] == 0
        for reason in ("limit", "queue_full", "queue_timeout"):
            assert samples["shed_rejections_total", (name, reason, "503")] == 0
        for outcome in ("admitted", "rejected", "cancelled"):
            assert samples["shed_queue_wait_seconds_count", (name, outcome)] == 0
        assert samples["shed_inflight", (name,)] == 0
        assert samples["shed_queue_length", (name,)] == 0
        assert samples["shed_service_seconds_count", (name,)] == 0
    assert samples["shed_retry_after_seconds_count", ()] == 0


def test_every_shed_metric_of_the_catalogue_is_exported_as_it_says(
    registry: CollectorRegistry,
) -> None:
    PrometheusObserver(registry)
    exported = {family.name: family for family in registry.collect()}
    wanted = [metric for metric in metric_names.ALL if metric.name.startswith("shed_")]
    assert set(exported) == {metric.name.removesuffix("_total") for metric in wanted}
    for metric in wanted:
        family = exported[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)


class Held:
    """An app that answers only after `open` is set, behind a limit of 1 and a queue of 2."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.open = asyncio.Event()
        self.middleware = LoadSheddingMiddleware(
            self.answer,
            limit=1,
            queue=QueueRules(length=2, timeout_seconds=20),
            criticality=lambda scope: "sheddable" if scope["path"] == "/low" else "critical",
            observer=PrometheusObserver(registry),
            retry_after_seconds=(3, 3),
        )

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        await self.open.wait()
        length = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": b"ok"})


async def test_values_tell_what_happened(
    registry: CollectorRegistry, serve: Any, connect: Any, until: Any
) -> None:
    held = Held(registry)
    limiter = held.middleware.limiter
    metrics = serve_metrics(0, registry=registry)
    async with serve(held.middleware) as port:
        holder, waiter, leaver, refused = [await connect(port) for _ in range(4)]
        holder.send("GET /")
        await until(lambda: limiter.inflight == 1)
        refused.send("GET /low")
        await until(lambda: limiter.queued == 1)
        leaver.send("GET /low")
        await until(lambda: limiter.queued == 2)
        waiter.send("GET /low")
        assert (await refused.answer())[0] == 503
        during = await asyncio.to_thread(scrape, metrics)
        leaver.close()
        await asyncio.sleep(0.1)
        held.open.set()
        assert [(await client.answer())[0] for client in (holder, waiter)] == [200, 200]
        assert (await refused.ask("GET /healthz"))[0] == 200
    after = await asyncio.to_thread(scrape, metrics)
    metrics.close()
    _check_gauges(during)
    _check_totals(after)


def _check_gauges(during: Samples) -> None:
    assert during["shed_limit", ()] == 1
    assert during["shed_inflight", ("critical",)] == 1
    assert during["shed_queue_length", ("sheddable",)] == 2
    assert during["shed_info", ("fixed", "enforce", launchday.__version__)] == 1


def _check_totals(after: Samples) -> None:
    assert after["shed_requests_total", ("critical", "admitted")] == 1
    assert after["shed_requests_total", ("sheddable", "admitted")] == 1
    assert after["shed_requests_total", ("sheddable", "rejected")] == 1
    assert after["shed_requests_total", ("sheddable", "cancelled")] == 1
    assert after["shed_requests_total", ("critical", "exempt")] == 1
    assert after["shed_rejections_total", ("sheddable", "queue_full", "503")] == 1
    assert after["shed_retry_after_seconds_sum", ()] == 3
    assert after["shed_queue_wait_seconds_sum", ("sheddable", "admitted")] >= 0.1
    assert after["shed_service_seconds_sum", ("critical",)] >= 0.1
    for name in CRITICALITIES:
        assert after["shed_inflight", (name,)] == after["shed_queue_length", (name,)] == 0
    # Five requests came, and every one is counted once: holder, waiter, leaver, refused, health.
    assert _total(after, "shed_requests_total") == 5
    assert _total(after, "shed_queue_wait_seconds_count") == 4
    assert _total(after, "shed_service_seconds_count") == 2


def _total(samples: Samples, name: str) -> float:
    return sum(value for (sample, _), value in samples.items() if sample == name)


async def test_a_request_cancelled_in_the_queue_is_counted(registry: CollectorRegistry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    middleware = LoadSheddingMiddleware(app, limit=1, observer=PrometheusObserver(registry))
    permit = middleware.limiter.try_acquire()
    assert permit is not None

    async def nothing(*_: Any) -> Any: ...

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    task = asyncio.create_task(middleware(scope, nothing, nothing))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    labels = {"class": "critical"}
    cancelled = {**labels, "outcome": "cancelled"}
    assert registry.get_sample_value("shed_requests_total", cancelled) == 1
    assert registry.get_sample_value("shed_queue_length", labels) == 0
    permit.release()


def test_a_taken_metrics_port_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        serve_metrics(taken.getsockname()[1], registry=CollectorRegistry())


def test_each_worker_takes_the_next_free_port() -> None:
    first = serve_metrics(0, registry=CollectorRegistry())
    second = serve_metrics(first.port, registry=CollectorRegistry(), workers=8)
    assert first.port < second.port < first.port + 8
    second.close()
    first.close()
