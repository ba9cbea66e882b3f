"""What a plan found, as Prometheus text for a textfile collector or any file server."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from launchday import metric_names as names
from launchday.metric_names import Metric

_USL = {
    "alpha": names.LAUNCHDAY_CAPACITY_ALPHA,
    "beta": names.LAUNCHDAY_CAPACITY_BETA,
    "gamma": names.LAUNCHDAY_CAPACITY_GAMMA,
    "peak_concurrency": names.LAUNCHDAY_CAPACITY_PEAK,
    "r_squared": names.LAUNCHDAY_CAPACITY_R_SQUARED,
}
_ESTIMATES = {
    "slo_rps": names.LAUNCHDAY_CAPACITY_SLO,
    "forecast_rps": names.LAUNCHDAY_CAPACITY_FORECAST,
}


def capacity_exposition(document: Mapping[str, Any]) -> str:
    """Return the `launchday_capacity_*` metrics of a `capacity.json`.

    `usl` has alpha, beta, gamma, peak_concurrency, r_squared; `estimates` has slo_rps and
    forecast_rps. Each is a number or an estimate with a `value`; what is missing or no number is
    left out: a plan that could not tell must not look like one that says 0.
    """
    text = ""
    for section, metrics in (("estimates", _ESTIMATES), ("usl", _USL)):
        found = document.get(section)
        for key, metric in metrics.items():
            value = _number(found.get(key)) if isinstance(found, Mapping) else None
            text += "" if value is None else _gauge(metric, value)
    return text


def _number(found: Any) -> float | None:
    if isinstance(found, Mapping):
        found = found.get("value")
    if isinstance(found, bool) or not isinstance(found, int | float) or math.isnan(found):
        return None
    return float(found)


def _gauge(metric: Metric, value: float) -> str:
    number = repr(value) if math.isfinite(value) else "+Inf" if value > 0 else "-Inf"
    return (
        f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} gauge\n{metric.name} {number}\n"
    )
