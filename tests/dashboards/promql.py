"""What a PromQL expression names: metrics with their matchers, and labels that it groups by."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from launchday.metric_names import ALL, Kind, Metric

# What others export, and what Prometheus makes of our rules: name -> labels.
ELSEWHERE: dict[str, set[str]] = {
    "up": set(),
    "ALERTS": {"alertname", "alertstate", "severity"},
    "process_cpu_seconds_total": set(),
    "process_resident_memory_bytes": set(),
    "toxiproxy_proxy_received_bytes_total": {"proxy", "direction", "listener", "upstream"},
}
_SELECTOR = re.compile(
    r"(?<![\w:$])(job:[\w:]+|up|ALERTS"
    r"|(?:shed|car|chaos|launchday|toxiproxy|process)_[a-z0-9_]+)\b(?:\{([^}]*)\})?"
)
_MATCHER = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


@dataclass(frozen=True)
class Selector:
    """`metric{label=...}` as written; `labels` are the names that it matches on."""

    metric: str
    labels: frozenset[str]


def selectors(expression: str) -> Iterator[Selector]:
    """Every selector of `expression`."""
    for name, matchers in _SELECTOR.findall(re.sub(r"\b(by|on) \([^)]*\)", "", expression)):
        yield Selector(name, frozenset(_MATCHER.findall(re.sub(r'"[^"]*"', "", matchers))))


def filled_in(expression: str, window: str = "50s") -> str:
    """What Grafana sends: every variable is All, a rate is over 5 s, the range is `window`."""
    expression = expression.replace("$__rate_interval", "5s").replace("$__range", window)
    return re.sub(r"\$(?!__)\w+", ".*", expression)


def asked_by(variable: dict[str, Any]) -> tuple[str, str]:
    """What a variable asks for, and the label of it that it shows.

    `label_values(SERIES, LABEL)`, or `query_result(EXPRESSION)` and a pattern that finds the label.
    """
    values = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
    if values:
        return values[1], values[2]
    result = re.fullmatch(r"query_result\((.+)\)", variable["definition"])
    label = re.fullmatch(r'/\[\{,\](\w+)="\(\[\^"\]\*\)"/', variable["regex"])
    if not result or not label:
        raise ValueError(f"neither label_values nor query_result: {variable}")
    return result[1], label[1]


def grouped_by(expression: str) -> set[str]:
    """Labels that `expression` groups by."""
    groups = _GROUPING.findall(expression)
    return {label.strip() for group in groups for label in group.split(",") if label.strip()}


def series() -> dict[str, Metric]:
    """Series name -> metric, for every series that Prometheus can hold from the catalogue."""
    names: dict[str, Metric] = {}
    for metric in ALL:
        suffixes = ("_bucket", "_count", "_sum") if metric.kind is Kind.HISTOGRAM else ("",)
        names.update({metric.name + suffix: metric for suffix in suffixes})
    return names


def labels_of(name: str) -> set[str]:
    """Labels that series `name` has, those that the scrape adds included."""
    if name.startswith("job:"):
        return {"job"}
    found = ELSEWHERE[name] if name in ELSEWHERE else set(series()[name].labels)
    own = found | {"job", "instance"}
    return own | {"le"} if name.endswith("_bucket") else own
