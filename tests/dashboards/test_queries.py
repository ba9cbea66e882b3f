"""Every query of every dashboard on a real Prometheus, fed with a synthetic launch day."""

import json
import math
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.dashboards.conftest import ROOT
from tests.dashboards.launch_day import FAULT_SECONDS, PHASES, SECONDS, open_metrics
from tests.dashboards.prometheus_server import programs, results, serving
from tests.dashboards.promql import asked_by, filled_in


@pytest.fixture(scope="module")
def prometheus(
    tmp_path_factory: pytest.TempPathFactory, rules: list[dict[str, Any]]
) -> Iterator[tuple[str, int]]:
    """URL of a Prometheus with a minute of data, and the Unix time of the data's end."""
    recorded = tuple(rule["record"] for rule in rules if "record" in rule)
    with holding(tmp_path_factory.mktemp("prometheus"), recorded) as found:
        yield found


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """The same of a minute in which nobody came."""
    with holding(tmp_path_factory.mktemp("idle"), (), idle=True) as found:
        yield found


@contextmanager
def holding(
    folder: Path, recorded: tuple[str, ...], *, idle: bool = False
) -> Iterator[tuple[str, int]]:
    _, tool = programs()
    # Blocks are cut at even hours; half an hour ago keeps clear of Prometheus' open block too.
    start = int(time.time()) - 1800
    (folder / "data.om").write_text(open_metrics(start, recorded, idle=idle), encoding="utf-8")
    create = [tool, "tsdb", "create-blocks-from", "openmetrics", "data.om", "data"]
    subprocess.run(create, cwd=folder, check=True, capture_output=True)
    with serving(folder, "{}\n") as url:
        yield url, start + SECONDS - 1


def over_time(url: str, query: str, end: int) -> list[dict[str, Any]]:
    """What a range query over the whole minute gives, a second a step."""
    parameters = {"query": query, "start": end - SECONDS + 1, "end": end, "step": "1s"}
    encoded = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"{url}/api/v1/query_range?{encoded}", timeout=10) as reply:
        found: list[dict[str, Any]] = json.load(reply)["data"]["result"]
        return found


def test_every_panels_query_gives_numbers(
    prometheus: tuple[str, int], expressions: list[str]
) -> None:
    url, end = prometheus
    for expression in expressions:
        query = filled_in(expression)
        values = [float(result["value"][1]) for result in results(url, query, time=str(end))]
        assert values, f"no data: {query}"
        assert all(math.isfinite(value) for value in values), f"{values}: {query}"


def test_what_is_not_known_while_nobody_comes_is_a_gap(
    idle: tuple[str, int], expressions: list[str]
) -> None:
    """Of NaN, which 0 / 0 is, Grafana makes a line across the gap, or draws nothing at all."""
    url, end = idle
    for expression in expressions:
        query = filled_in(expression)
        values = [float(result["value"][1]) for result in results(url, query, time=str(end))]
        assert all(math.isfinite(value) for value in values), f"{values}: {query}"


def test_every_variable_has_something_to_choose(
    prometheus: tuple[str, int], board: dict[str, Any]
) -> None:
    url, end = prometheus
    for variable in board["templating"]["list"][1:]:
        series, label = asked_by(variable)
        found = results(url, f"group by ({label}) ({filled_in(series)})", time=str(end))
        assert all(each["metric"] for each in found), variable["name"]
        assert found, variable["name"]


def test_a_fault_is_shaded_while_it_is_in_and_each_phase_begins_with_a_line(
    prometheus: tuple[str, int], board: dict[str, Any]
) -> None:
    url, end = prometheus
    marked = {
        annotation["name"]: {
            int(stamp) - end + SECONDS - 1: series["metric"].get("phase")
            for series in over_time(url, filled_in(annotation["target"]["expr"]), end)
            for stamp, _ in series["values"]
        }
        for annotation in board["annotations"]["list"]
        if "target" in annotation
    }
    assert set(marked["Faults"]) == set(FAULT_SECONDS)
    assert marked["Phases"] == {span[0]: phase for phase, span in PHASES.items()}


def test_every_alert_can_be_asked(prometheus: tuple[str, int], rules: list[dict[str, Any]]) -> None:
    url, end = prometheus
    for rule in rules:
        results(url, rule["expr"], time=str(end))  # an error is a status that urlopen raises


def test_the_scrape_configuration_and_the_rules_are_valid() -> None:
    _, tool = programs()
    command = [tool, "check", "config", str(ROOT / "dashboards/prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 rule files found" in done.stdout


def test_grafana_asks_as_often_as_prometheus_scrapes() -> None:
    scrapes = yaml.safe_load((ROOT / "dashboards/prometheus.yml").read_text(encoding="utf-8"))
    provisioned = ROOT / "dashboards/provisioning/datasources/prometheus.yaml"
    (source,) = yaml.safe_load(provisioned.read_text(encoding="utf-8"))["datasources"]
    assert source["jsonData"]["timeInterval"] == scrapes["global"]["scrape_interval"] == "1s"


def test_every_part_that_has_metrics_is_scraped_and_the_rules_are_in_the_container() -> None:
    config = yaml.safe_load((ROOT / "dashboards/prometheus.yml").read_text(encoding="utf-8"))
    jobs = {job["job_name"] for job in config["scrape_configs"]}
    assert jobs == {
        "target", "balancer", "gateway", "toxiproxy", "launchday", "generator", "locust",
        "capacity", "prometheus",
    }  # fmt: skip
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    mounts = compose["services"]["prometheus"]["volumes"]
    folder = Path(config["rule_files"][0]).parent
    assert f"./dashboards/{folder}:/etc/prometheus/{folder}:ro" in mounts
