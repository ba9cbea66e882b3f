"""`/metrics` of the conductor: which faults are in, for Prometheus and the dashboards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, start_http_server

from launchday.errors import PreflightError
from launchday.metric_names import CHAOS_FAULT_ACTIVE

Event = Mapping[str, Any]
_ON, _OFF = frozenset({"applied"}), frozenset({"planned", "undone"})


class FaultGauges:
    """`chaos_fault_active` of every planned fault: 1 while it is in, 0 before and after."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        name = CHAOS_FAULT_ACTIVE
        self._active = Gauge(name.name, name.help, name.labels, registry=self.registry)

    def saw(self, event: Event) -> None:
        """Follow an event of faults.jsonl. One that could not be undone stays 1."""
        if event.get("event") in _ON | _OFF and "link" in event:
            labels = (str(event.get(name, "")) for name in CHAOS_FAULT_ACTIVE.labels)
            self._active.labels(*labels).set(event["event"] in _ON)


@contextmanager
def exposed(port: int | None, host: str = "127.0.0.1") -> Iterator[Callable[[Event], None]]:
    """Answer on `http://host:port/metrics` while the block runs; None: tell nobody.

    Yields what is to be told of every event of faults.jsonl.

    Raises:
        PreflightError: the port is taken.
    """
    gauges = FaultGauges()
    if port is None:
        yield gauges.saw
        return
    try:
        server, thread = start_http_server(port, host, gauges.registry)
    except OSError as error:
        raise PreflightError(
            f"run.metrics_port is {port}: cannot listen there ({error.strerror}); choose another, "
            "or leave it out"
        ) from error
    try:
        yield gauges.saw
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
