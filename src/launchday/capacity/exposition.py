"""What a plan found, as Prometheus text for a textfile collector or any file server."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from launchday import metric_names as names
from launchday.metric_names import Metric

# Where in capacity.json each number is.
_PLACES: tuple[tuple[Metric, tuple[str, ...]], ...] = (
    (names.LAUNCHDAY_CAPACITY_SLO, ("per_replica",)),
    (names.LAUNCHDAY_CAPACITY_FORECAST, ("replicas", "forecast_rps")),
    (names.LAUNCHDAY_CAPACITY_ALPHA, ("usl", "alpha")),
    (names.LAUNCHDAY_CAPACITY_BETA, ("usl", "beta")),
    (names.LAUNCHDAY_CAPACITY_GAMMA, ("usl", "gamma")),
    (names.LAUNCHDAY_CAPACITY_PEAK, ("usl", "peak_concurrency")),
    (names.LAUNCHDAY_CAPACITY_R_SQUARED, ("usl", "r_squared")),
)


def capacity_exposition(document: Mapping[str, Any]) -> str:
    """Return the `launchday_capacity_*` metrics of a `capacity.json`.

    Each is a number or an estimate with a `value`, infinite ones as "inf". What is missing, null
    or no number is left out: a plan that could not tell must not look like one that says 0.
    """
    found = ((metric, _number(_at(document, place))) for metric, place in _PLACES)
    return "".join(_gauge(metric, value) for metric, value in found if value is not None)


def _at(document: Any, place: tuple[str, ...]) -> Any:
    for key in (*place, "value"):
        if not isinstance(document, Mapping):
            return document if key == "value" else None
        document = document.get(key)
    return document


def _number(found: Any) -> float | None:
    if found in ("inf", "-inf"):
        return float(found)
    if isinstance(found, bool) or not isinstance(found, int | float) or math.isnan(found):
        return None
    return float(found)


def _gauge(metric: Metric, value: float) -> str:
    number = repr(value) if math.isfinite(value) else "+Inf" if value > 0 else "-Inf"
    return (
        f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} gauge\n{metric.name} {number}\n"
    )
