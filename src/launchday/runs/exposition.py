"""`/metrics` of the conductor, for Prometheus and the dashboards: faults that are in, phases."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, start_http_server

from launchday.errors import PreflightError
from launchday.metric_names import (
    CHAOS_FAULT_ACTIVE,
    CHAOS_STEADY_STATE,
    LAUNCHDAY_PHASE,
    LAUNCHDAY_PLANNED,
    Metric,
)
from launchday.runs.hypotheses import Judged

Event = Mapping[str, Any]
_TWO_SCRAPES_SECONDS = 2.5
_ON, _OFF = frozenset({"applied"}), frozenset({"planned", "undone"})


class FaultGauges:
    """What a running experiment is doing to whom, and where its schedule is.

    `chaos_fault_active` of every planned fault is 1 while it is in, 0 before and after;
    `launchday_phase` is 1 for one phase of the schedule, or for "starting" or "draining";
    `chaos_steady_state_ok` says what holds of what the experiment wants steady.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._active = self._gauge(CHAOS_FAULT_ACTIVE)
        self._steady = self._gauge(CHAOS_STEADY_STATE)
        self._phase = self._gauge(LAUNCHDAY_PHASE)
        self._planned = self._gauge(LAUNCHDAY_PLANNED)
        self._phases: dict[str, Gauge] = {}
        self.undone_at: float | None = None
        """When the last fault was undone, by time.monotonic()."""

    def saw(self, event: Event) -> None:
        """Follow an event of faults.jsonl. One that could not be undone stays 1."""
        if event.get("event") in _ON | _OFF and "link" in event:
            labels = (str(event.get(name, "")) for name in CHAOS_FAULT_ACTIVE.labels)
            self._active.labels(*labels).set(event["event"] in _ON)
        if event.get("event") == "undone":
            self.undone_at = time.monotonic()

    def steady(self, experiment: str, judged: Iterable[Judged]) -> None:
        """Note what holds of the steady state; None, which is neither, is NaN."""
        for each in judged:
            held = math.nan if each.held is None else float(each.held)
            self._steady.labels(experiment, each.title).set(held)

    def at(self, run: str, phases: Iterable[str], phase: str, planned_rate: float) -> None:
        """Note where the schedule is: in `phase`, one of `phases` or none of them."""
        for name in (*phases, phase):
            self._phases.setdefault(name, self._phase.labels(run, name))
        for name, gauge in self._phases.items():
            gauge.set(name == phase)
        self._planned.set(planned_rate)

    def _gauge(self, metric: Metric) -> Gauge:
        return Gauge(metric.name, metric.help, metric.labels, registry=self.registry)


@contextmanager
def exposed(port: int | None, host: str = "127.0.0.1") -> Iterator[FaultGauges]:
    """Answer on `http://host:port/metrics` while the block runs; None: tell nobody.

    Yields what is to be told of every event of faults.jsonl and of the schedule.

    Raises:
        PreflightError: the port is taken.
    """
    gauges = FaultGauges()
    if port is None:
        yield gauges
        return
    try:
        server, thread = start_http_server(port, host, gauges.registry)
    except OSError as error:
        raise PreflightError(
            f"run.metrics_port is {port}: cannot listen there ({error.strerror}); choose another, "
            "or leave it out"
        ) from error
    try:
        yield gauges
    finally:
        if gauges.undone_at is not None:
            # Who is interrupted ends at once, and Prometheus would not hear that nothing is left.
            time.sleep(max(0.0, gauges.undone_at + _TWO_SCRAPES_SECONDS - time.monotonic()))
        server.shutdown()
        server.server_close()
        thread.join()
