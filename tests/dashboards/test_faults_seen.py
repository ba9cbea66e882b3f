"""The annotation of the dashboards, asked of what the conductor's exporter gives."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from launchday.runs.exposition import FaultGauges, exposed
from tests.dashboards.conftest import load
from tests.dashboards.prometheus_server import results, serving
from tests.ports import free_port

SCRAPES = """
scrape_configs:
  - job_name: launchday
    scrape_interval: 250ms
    scrape_timeout: 250ms
    static_configs: [{{ targets: ["127.0.0.1:{port}"] }}]
"""


def fault(link: str) -> dict[str, object]:
    return {"experiment": "Both", "link": link, "fault": f"down {link}", "unix": 1.0}


def wait_for(url: str, query: str, count: int) -> list[dict[str, Any]]:
    """Poll until `query` has so many results."""
    deadline = time.monotonic() + 30
    while len(found := results(url, query)) != count:
        assert time.monotonic() < deadline, f"{query} has {found}, not {count} results"
        time.sleep(0.05)
    return found


@pytest.fixture
def annotation() -> dict[str, Any]:
    marks = load("launchday-overview")["annotations"]["list"]
    (found,) = [each for each in marks if each["name"] == "Faults"]
    assert isinstance(found, dict)
    return found


def words(annotation: dict[str, Any], labels: dict[str, str]) -> str:
    """What stands at the shaded region, as Grafana fills it in."""
    written = f"{annotation['titleFormat']}, {annotation['textFormat']}"
    filled = re.sub(r"{{(\w+)}}", lambda label: labels[label[1]], written)
    return f"{filled}, {annotation['tagKeys']}={labels[annotation['tagKeys']]}"


def test_a_shaded_region_says_which_fault_of_which_experiment(annotation: dict[str, Any]) -> None:
    gauges = FaultGauges()
    gauges.saw({"event": "applied", **fault("gateway")})
    (sample,) = [
        sample
        for metric in gauges.registry.collect()
        for sample in metric.samples
        if metric.name == "chaos_fault_active"
    ]
    assert annotation["target"]["expr"].startswith(f"{sample.name} == {sample.value:g} and ")
    assert words(annotation, sample.labels) == "down gateway on gateway, Both, link=gateway"


@pytest.mark.slow  # Prometheus takes 5 s until it scrapes
def test_graphs_are_shaded_for_each_fault_while_it_is_in_and_not_without_a_conductor(
    annotation: dict[str, Any], tmp_path: Path
) -> None:
    shaded = annotation["target"]["expr"].replace("$run", "this")
    of_another_run = annotation["target"]["expr"].replace("$run", "other")
    port = free_port()
    with serving(tmp_path, SCRAPES.format(port=port)) as url:
        with exposed(port) as gauges:
            gauges.at("this", ("peak",), "peak", 1.0)
            for link in ("gateway", "database"):
                gauges.saw({"event": "planned", **fault(link)})
            wait_for(url, "chaos_fault_active == 0", 2)
            assert results(url, shaded) == []
            gauges.saw({"event": "applied", **fault("gateway")})
            (found,) = wait_for(url, shaded, 1)
            assert words(annotation, found["metric"]).startswith("down gateway on gateway, ")
            assert results(url, of_another_run) == []
            gauges.saw({"event": "applied", **fault("database")})
            wait_for(url, shaded, 2)
            gauges.saw({"event": "undone", **fault("gateway")})
            (left,) = wait_for(url, shaded, 1)
            assert left["metric"]["link"] == "database"
        # As after kill -9: nobody says 0, and what was 1 must not stay for five minutes.
        wait_for(url, "up == 0", 1)
        assert results(url, "chaos_fault_active") == []
        assert len(results(url, "last_over_time(chaos_fault_active[1m])")) == 2
