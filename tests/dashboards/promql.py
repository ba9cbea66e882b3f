"""What a PromQL expression names: metrics with their matchers, and labels that it groups by."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from launchday.metric_names import ALL, Kind, Metric

_SELECTOR = re.compile(r"\b((?:shed|car|chaos|launchday|toxiproxy)_[a-z0-9_]+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
_GROUPING = re.compile(r"\b(?:by|without)\s*\(([^)]*)\)")


@dataclass(frozen=True)
class Selector:
    """`metric{label=...}` as written; `labels` are the names that it matches on."""

    metric: str
    labels: frozenset[str]


def selectors(expression: str) -> Iterator[Selector]:
    """Every selector of `expression` for a metric of ours."""
    for name, matchers in _SELECTOR.findall(expression):
        yield Selector(name, frozenset(_MATCHER.findall(re.sub(r'"[^"]*"', "", matchers))))


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
    own = set(series()[name].labels) | {"job", "instance"}
    return own | {"le"} if name.endswith("_bucket") else own
