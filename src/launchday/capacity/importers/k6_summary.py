"""The summary of one run of k6 (`--summary-export`, or `data` of `handleSummary`): one load."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from launchday.capacity.importers.quantiles import choose_quantile
from launchday.capacity.importers.source import Source, number, positive
from launchday.capacity.steps import Objective, Step

_QUANTILE = re.compile(r"p\((\d{1,2}(?:\.\d+)?)\)")
_ADVICE = '; k6 writes it with --summary-trend-stats="avg,med,p(90),p(95),p(99)"'
_KEPT_AT_LEAST = 0.99


def summary_step(source: Source, summary: Mapping[str, Any], objective: Objective) -> Step:
    """The step of a whole run: it must have held one load, and its warm-up is in it.

    In flight is X · R, for VUs pause. Requests that failed (`http_req_failed`) are errors.

    Raises:
        RecordError: a metric is missing, or the quantile was not exported.
    """
    metrics = summary["metrics"]
    if not isinstance(metrics, Mapping):
        raise source.refused("its metrics are no object: it is no summary of k6")
    durations = _values(source, metrics, "http_req_duration")
    mean = _read(source, durations, "http_req_duration", "avg") / 1000
    requests = _values(source, metrics, "http_reqs")
    rate = _read(source, requests, "http_reqs", "rate")
    count = _read(source, requests, "http_reqs", "count")
    errors = _failed_share(source, metrics)
    dropped = _dropped(source, metrics)
    quantile = _quantile(source, durations, objective)
    return Step(
        source=f"{source.at()} (summary of a whole run)",
        offered_rps=rate * (1 + dropped / count),
        goodput_rps=rate * (1 - errors),
        throughput_rps=rate,
        concurrency=rate * mean,
        mean_seconds=mean,
        latency_seconds=mean if objective.quantile is None else quantile,
        seconds=count / rate,
        requests=round(count),
        error_share=errors,
        unsteady=_why_unsteady(count, dropped),
    )


def _values(source: Source, metrics: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = metrics.get(name)
    if not isinstance(found, Mapping):
        raise source.refused(f"there is no metric {name} in it: no summary of HTTP requests of k6")
    inner = found.get("values", found)
    return inner if isinstance(inner, Mapping) else found


def _read(source: Source, values: Mapping[str, Any], metric: str, name: str) -> float:
    if name not in values:
        raise source.refused(f"{metric} has no {name!r} in it")
    return positive(source, None, f"{metric} {name}", str(values[name]))


def _failed_share(source: Source, metrics: Mapping[str, Any]) -> float:
    """`value`, or `rate` in newer summaries, of http_req_failed is the share that failed."""
    values = _values(source, metrics, "http_req_failed")
    found = values.get("rate", values.get("value"))
    share = number(source, None, "http_req_failed", str(found))
    if share > 1:
        raise source.refused(f"column 'http_req_failed': {share:g} is more than all of them")
    return share


def _dropped(source: Source, metrics: Mapping[str, Any]) -> float:
    if "dropped_iterations" not in metrics:
        return 0.0
    values = _values(source, metrics, "dropped_iterations")
    return number(source, None, "dropped_iterations", str(values.get("count")))


def _why_unsteady(count: float, dropped: float) -> tuple[str, ...]:
    if count >= _KEPT_AT_LEAST * (count + dropped):
        return ()
    return (f"k6 dropped {dropped:g} iterations beside {count:g} requests: it had too few VUs",)


def _quantile(source: Source, values: Mapping[str, Any], objective: Objective) -> float | None:
    there = {
        float(f"{float(match[1]) / 100:.8g}"): name
        for name in values
        if (match := _QUANTILE.fullmatch(name))
    }
    if "med" in values:
        there[0.5] = "med"
    name = choose_quantile(source, there, objective, _ADVICE)
    return None if name is None else _read(source, values, "http_req_duration", name) / 1000
