"""A synthetic launch day as OpenMetrics, for `promtool tsdb create-blocks-from`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from dashboards.preview import model as day
from dashboards.preview.model import Course
from launchday.metric_names import ALL, Kind, Metric

SPREAD = 0.45  # of the logarithm of a latency


@dataclass(frozen=True)
class Series:
    """One series: the rate of a counter or histogram (1/s), or the value of a gauge.

    `latency` is the median of a histogram. A gauge that is NaN at a second has no sample there.
    """

    labels: dict[str, str]
    course: Course
    latency: Course = lambda second: 0.01


def lines(name: str, kind: Kind, buckets: tuple[float, ...], series: list[Series]) -> Iterator[str]:
    """OpenMetrics of one family; times are seconds of the day."""
    yield f"# TYPE {name.removesuffix('_total')} {kind}"
    for one in series:
        labels = ",".join(f'{key}="{value}"' for key, value in one.labels.items())
        if kind is Kind.HISTOGRAM:
            yield from _histogram(name, labels, buckets, one)
            continue
        total = 0.0
        for second in range(day.SECONDS):
            value = one.course(second)
            total += value
            shown = total if kind is Kind.COUNTER else value
            if not math.isnan(shown):
                yield f"{name}{{{labels}}} {shown:.6g} {second}"


def _histogram(name: str, labels: str, edges: tuple[float, ...], one: Series) -> Iterator[str]:
    below = [0.0] * (len(edges) + 1)
    sums = 0.0
    columns: list[list[str]] = [[] for _ in range(len(edges) + 3)]
    names = [f'{name}_bucket{{{labels},le="{edge!r}"}}' for edge in edges]
    names += [f'{name}_bucket{{{labels},le="+Inf"}}', f"{name}_count{{{labels}}}"]
    for second in range(day.SECONDS):
        rate, median = one.course(second), one.latency(second)
        for index, edge in enumerate((*edges, math.inf)):
            below[index] += rate * share_below(edge, round(median, 7))
        sums += rate * median * math.exp(SPREAD**2 / 2)
        for column, key, value in zip(columns, names, (*below, below[-1]), strict=False):
            column.append(f"{key} {value:.6g} {second}")
        columns[-1].append(f"{name}_sum{{{labels}}} {sums:.6g} {second}")
    for column in columns:
        yield from column


@cache
def share_below(edge: float, median: float) -> float:
    """Share of a log-normal distribution that lies below an edge."""
    if edge == math.inf:
        return 1.0
    return 0.5 * (1 + math.erf(math.log(edge / median) / (SPREAD * math.sqrt(2))))


def open_metrics(start: int, tables: dict[str, list[Series]], others: dict[str, Kind]) -> str:
    """The whole text, from Unix time `start` on; `others` are metrics of no catalogue of ours."""
    catalogue: dict[str, tuple[Kind, tuple[float, ...]]] = {
        m.name: (m.kind, m.buckets) for m in ALL
    }
    catalogue |= {name: (kind, ()) for name, kind in others.items()}
    text: list[str] = []
    for name, (kind, buckets) in catalogue.items():
        for line in lines(name, kind, buckets, tables.get(name, [])):
            if line.startswith("#"):
                text.append(line)
                continue
            key, _, second = line.rpartition(" ")
            text.append(f"{key} {start + int(second)}")
    return "\n".join([*text, "# EOF", ""])


def missing(tables: dict[str, list[Series]]) -> list[Metric]:
    """Metrics of the catalogue that the launch day has no series of."""
    return [metric for metric in ALL if metric.name not in tables]


def at_targets(*rows: tuple[dict[str, str], Course], latency: Course | None = None) -> list[Series]:
    """Each row once for each target, with the target's share."""
    return [
        Series(
            {**labels, "instance": target, "job": "target"}, scaled(course, share), latency or _fast
        )
        for target, share in day.TARGETS.items()
        for labels, course in rows
    ]


def _fast(second: int) -> float:
    return 0.01


def scaled(course: Course, factor: float) -> Course:
    """The course, times `factor`."""
    return lambda second: factor * course(second)


def constant(value: float) -> Callable[[int], float]:
    """Always `value`."""
    return lambda second: value
