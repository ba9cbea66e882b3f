"""Every query of the dashboard on a real Prometheus, fed from the catalogue."""

import itertools
import math
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launchday.admission import Refusal
from launchday.metric_names import ALL, CRITICALITIES, Kind, Metric
from tests.dashboards.prometheus_server import programs, results, serving

SECONDS = 60
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
    "state": ("closed", "open", "half_open"),
}
OUTCOMES = {
    "car_dependency_seconds": ("ok", "error", "timeout", "refused"),
    "car_creations_total": ("created", "replayed", "conflict"),
    "car_sign_ins_total": ("accepted", "refused", "throttled"),
    "car_commands_total": ("done", "pending", "replayed"),
}


def label_sets(metric: Metric) -> list[str]:
    choices = [
        OUTCOMES.get(metric.name, VALUES["outcome"])
        if label == "outcome"
        else VALUES.get(label, ("x",))
        for label in metric.labels
    ]
    return [
        ",".join(f'{label}="{value}"' for label, value in zip(metric.labels, values, strict=True))
        for values in itertools.product(*choices)
    ]


def samples(metric: Metric, labels: str, second: int) -> Iterator[tuple[str, float]]:
    """Name with labels and value `second` seconds after the start; counters rise by 10/s."""
    if metric.kind is not Kind.HISTOGRAM:
        name = f"{metric.name}{{{labels}}}"
        yield name, 10 * second if metric.kind is Kind.COUNTER else 20
        return
    for index, edge in enumerate((*metric.buckets, math.inf), start=1):
        share = index / (len(metric.buckets) + 1)
        le = "+Inf" if edge == math.inf else repr(edge)
        prefix = f"{labels}," if labels else ""
        yield f'{metric.name}_bucket{{{prefix}le="{le}"}}', round(10 * second * share)
    yield f"{metric.name}_count{{{labels}}}", 10 * second
    yield f"{metric.name}_sum{{{labels}}}", 2.0 * second


def open_metrics(start: int) -> str:
    lines: list[str] = []
    for metric in ALL:
        lines.append(f"# TYPE {metric.name.removesuffix('_total')} {metric.kind}")
        for labels in label_sets(metric):
            by_series: dict[str, list[str]] = {}
            for second in range(SECONDS):
                for name, value in samples(metric, labels, second):
                    by_series.setdefault(name, []).append(f"{name} {value} {start + second}")
            lines.extend(itertools.chain.from_iterable(by_series.values()))
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """URL of a Prometheus with a minute of data, and the Unix time of the data's end."""
    _, tool = programs()
    folder = tmp_path_factory.mktemp("prometheus")
    # Blocks are cut at even hours; half an hour ago keeps clear of Prometheus' open block too.
    start = int(time.time()) - 1800
    (folder / "data.om").write_text(open_metrics(start), encoding="utf-8")
    create = [tool, "tsdb", "create-blocks-from", "openmetrics", "data.om", "data"]
    subprocess.run(create, cwd=folder, check=True, capture_output=True)
    with serving(folder, "{}\n") as url:
        yield url, start + SECONDS - 1


def test_every_query_gives_numbers(prometheus: tuple[str, int], expressions: list[str]) -> None:
    url, end = prometheus
    for expression in expressions:
        query = expression.replace("$__rate_interval", "5s")
        values = [float(result["value"][1]) for result in results(url, query, time=str(end))]
        assert values, f"no data: {query}"
        assert all(math.isfinite(value) for value in values), f"{values}: {query}"


def test_the_scrape_configuration_is_valid() -> None:
    _, tool = programs()
    root = Path(__file__).resolve().parents[2]
    command = [tool, "check", "config", str(root / "dashboards/prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
