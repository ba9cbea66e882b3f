"""A minute of a launch day as OpenMetrics: every metric of the catalogue, every label set."""

import itertools
import math
from collections.abc import Iterator

from launchday.admission import Refusal
from launchday.load.retry import GaveUp
from launchday.metric_names import ALL, CRITICALITIES, Kind, Metric
from launchday.outcomes import Outcome

SECONDS = 60
FAULT_SECONDS = range(20, 40)
PHASES = {"quiet": range(20), "peak": range(20, 60)}

VALUES: dict[str, tuple[str, ...]] = {
    "class": CRITICALITIES,
    "outcome": ("admitted", "rejected", "exempt", "cancelled"),
    "reason": tuple(Refusal),
    "status": ("503", "429"),
    "kind": ("stream", "websocket"),
    "route": ("/v1/vehicles/{vin}/state", "/v1/reservations"),
    "method": ("GET",),
    "code": ("200", "404", "503"),
    "dependency": ("gateway", "database"),
    "cause": ("overload", "maintenance", "dependency"),
    "phase": tuple(PHASES),
    "region": ("us", "eu"),
}
OUTCOMES: dict[str, tuple[str, ...]] = {
    "car_request_seconds": ("ok", "client_error", "server_error"),
    "car_dependency_seconds": ("ok", "error", "timeout", "refused"),
    "car_creations_total": ("created", "replayed", "conflict"),
    "car_sign_ins_total": ("accepted", "refused", "throttled"),
    "car_commands_total": ("done", "pending", "replayed"),
    "launchday_arrivals_total": ("scheduled", "started", "late", "dropped", "queued", "lost"),
    "launchday_requests_total": tuple(Outcome),
    "launchday_retries_total": tuple(Outcome),
    "launchday_corrected_seconds": tuple(Outcome),
    "launchday_service_seconds": tuple(Outcome),
}
STATES: dict[str, tuple[str, ...]] = {
    "car_breaker_state": ("closed", "open", "half_open"),
    "launchday_users": ("busy", "parked"),
}
REASONS: dict[str, tuple[str, ...]] = {"launchday_give_ups_total": tuple(GaveUp)}
# What comes from elsewhere: its type, labels and value at a second.
OTHERS = (
    ("up", "gauge", "", 0),
    ("ALERTS", "gauge", 'alertname="BreakerOpen",alertstate="firing",', 0),
    ("process_cpu_seconds", "counter", "", 0.5),
    ("process_resident_memory_bytes", "gauge", "", 0),
    ("toxiproxy_proxy_received_bytes", "counter", 'proxy="gateway",direction="upstream",', 1000),
)


def open_metrics(start: int, recorded: tuple[str, ...] = (), *, idle: bool = False) -> str:
    """The text; `recorded` are the names of the recording rules, which need no history then.

    Nothing is counted while it is `idle`, and the capacity of a plan is not known.
    """
    lines: list[str] = []
    for metric in ALL:
        if idle and metric.name.startswith("launchday_capacity"):
            continue
        lines.append(f"# TYPE {metric.name.removesuffix('_total')} {metric.kind}")
        for labels in _label_sets(metric):
            by_series: dict[str, list[str]] = {}
            for second in range(SECONDS):
                for name, value in _samples(metric, labels, second, 0 if idle else second):
                    by_series.setdefault(name, []).append(f"{name} {value} {start + second}")
            lines.extend(itertools.chain.from_iterable(by_series.values()))
    for name, kind, labels, step in (*OTHERS, *((name, "gauge", "", 0) for name in recorded)):
        lines.append(f"# TYPE {name} {kind}")
        series = f"{name}{'_total' if kind == 'counter' else ''}{{{labels}{_SCRAPED}}}"
        lines.extend(f"{series} {1 + step * s} {start + s}" for s in range(SECONDS))
    return "\n".join([*lines, "# EOF", ""])


_SCRAPED = 'instance="one:9100",job="target"'


def _label_sets(metric: Metric) -> list[str]:
    choices = [_choices(metric, label) for label in metric.labels]
    return [
        "".join(f'{label}="{value}",' for label, value in zip(metric.labels, values, strict=True))
        + _SCRAPED
        for values in itertools.product(*choices)
    ]


def _choices(metric: Metric, label: str) -> tuple[str, ...]:
    own = {"outcome": OUTCOMES, "state": STATES, "reason": REASONS}.get(label, {})
    return own.get(metric.name, VALUES.get(label, ("x",)))


def _samples(metric: Metric, labels: str, second: int, counted: int) -> Iterator[tuple[str, float]]:
    """Name with labels and value `second` seconds after the start; counters rise by 10/s.

    They count for `counted` seconds.
    """
    if metric.kind is Kind.COUNTER:
        yield f"{metric.name}{{{labels}}}", 10 * counted
        return
    if metric.kind is Kind.GAUGE:
        yield f"{metric.name}{{{labels}}}", _value(metric, labels, second)
        return
    for index, edge in enumerate((*metric.buckets, math.inf), start=1):
        share = index / (len(metric.buckets) + 1)
        le = "+Inf" if edge == math.inf else repr(edge)
        yield f'{metric.name}_bucket{{{labels},le="{le}"}}', round(10 * counted * share)
    yield f"{metric.name}_count{{{labels}}}", 10 * counted
    yield f"{metric.name}_sum{{{labels}}}", 2.0 * counted


def _value(metric: Metric, labels: str, second: int) -> float:
    if metric.name == "chaos_fault_active":
        return int(second in FAULT_SECONDS)
    if metric.name == "chaos_steady_state_ok":
        return int(second not in FAULT_SECONDS)
    if metric.name == "launchday_phase":
        (phase,) = (name for name in PHASES if f'phase="{name}"' in labels)
        return int(second in PHASES[phase])
    return 0.5 if metric.name.endswith("_ratio") else 20
