"""Which series the synthetic launch day has: each of the catalogue, and what others export."""

from __future__ import annotations

from dashboards.preview.backend_series import backend
from dashboards.preview.launch_day import Series
from dashboards.preview.run_series import conductor, generator
from dashboards.preview.shedder_series import shedder
from launchday.metric_names import Kind

OTHERS = {
    "ALERTS": Kind.GAUGE,
    "job:launchday_critical_burn:rate5m": Kind.GAUGE,
    "job:launchday_critical_burn:rate1h": Kind.GAUGE,
    "process_cpu_seconds_total": Kind.COUNTER,
    "process_resident_memory_bytes": Kind.GAUGE,
    "toxiproxy_proxy_received_bytes_total": Kind.COUNTER,
}


def tables() -> dict[str, list[Series]]:
    """Metric -> its series."""
    return shedder() | backend() | generator() | conductor()
