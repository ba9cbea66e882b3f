"""`docs/metrics.md`, written from the catalogue of metrics."""

from __future__ import annotations

from launchday.metric_names import ALL, Kind, Metric

_SECTIONS = {
    "shed_": "The load shedder, wherever it runs",
    "car_": "The reference backend and its gateway",
    "launchday_": "The generator, the conductor, and the plan",
    "chaos_": "Faults",
}
_HEAD = """\
# Metrics

Written from `src/launchday/metric_names.py` by `make dashboards`: instruments, boards, rules and
this page take the names from there. Every label set that can be known starts at 0. `class` is the
criticality: critical_plus, critical, sheddable_plus or sheddable.
"""


def page() -> str:
    """Return the whole page."""
    text = _HEAD
    for prefix, title in _SECTIONS.items():
        text += f"\n## {title}\n\n| name | type | labels | what it says |\n|---|---|---|---|\n"
        text += "".join(_row(metric) for metric in ALL if metric.name.startswith(prefix))
    return text


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
    words = metric.help
    if metric.kind is Kind.HISTOGRAM:
        words += f" {len(metric.buckets) + 1} buckets, up to {metric.buckets[-1]:g} s."
    return f"| `{metric.name}` | {metric.kind} | {labels} | {words} |\n"
