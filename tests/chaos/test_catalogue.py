"""The experiments in chaos/: all of them make sense."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from launchday.chaos.experiment import Experiment, load_experiment
from launchday.chaos.hypothesis import Expectation
from launchday.metric_names import ALL, Kind
from launchday.runs.measuring import series

ROOT = Path(__file__).resolve().parents[2]
CHAOS = ROOT / "chaos"
NAMES = sorted(path.stem for path in CHAOS.glob("[!_]*.py"))
LINKS = {"database", "gateway", "edge", "us", "eu", "cn"}
NUMBER = re.compile(r"Scenario (\d+) of the failure catalogue")
OF_PROCESSES = {"process_open_fds", "process_resident_memory_bytes"}


def endpoints_of_scenarios() -> set[str]:
    """The names that the reference backend's requests have in every scenario."""
    tree = ast.parse((ROOT / "locustfiles" / "_connected_car.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {
        argument.value
        for call in calls
        if getattr(call.func, "id", "") == "Request"
        for argument in call.args[2:3]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }
    return names | {"unlock", "climate_start", "charge_start"}


def series_of_the_target() -> set[str]:
    names = set(OF_PROCESSES)
    for metric in ALL:
        suffixes = ("_count", "_sum") if metric.kind is Kind.HISTOGRAM else ("",)
        names |= {metric.name + suffix for suffix in suffixes}
    return names


def expectations(experiment: Experiment) -> list[Expectation]:
    hypothesis = experiment.hypothesis
    return [*hypothesis.steady, *hypothesis.during, *hypothesis.after] if hypothesis else []


def test_the_catalogue_is_whole() -> None:
    found = [NUMBER.search((CHAOS / f"{name}.py").read_text(encoding="utf-8")) for name in NAMES]
    numbers = sorted(int(match[1]) for match in found if match)
    assert numbers == list(range(1, 21))


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_says_what_owners_notice_and_how_far_it_reaches(name: str) -> None:
    experiment = load_experiment(name, CHAOS)
    text = (CHAOS / f"{name}.py").read_text(encoding="utf-8")
    assert set(experiment.links) <= LINKS
    assert len(experiment.description) > 80
    if NUMBER.search(text):
        assert experiment.hypothesis is not None
        assert experiment.abort is not None
        reach = re.search(r"^Blast radius: (.+)$", text, re.MULTILINE)
        assert reach
        assert set(re.findall(r"`(\w+)`", reach[1])) == set(experiment.links)
        assert f"{experiment.duration_seconds:g} s" in reach[1]


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_speaks_of_endpoints_and_metrics_that_there_are(name: str) -> None:
    known, metrics = endpoints_of_scenarios(), series_of_the_target()
    for expectation in expectations(load_experiment(name, CHAOS)):
        for endpoint in expectation.endpoints:
            # In three_regions the region comes first: `eu state`, and `eu *` is all of it.
            assert endpoint.removeprefix(endpoint[:3]) == "*" or endpoint in known, endpoint
        if expectation.of_metrics:
            assert series(expectation.metric)[0] in metrics


@pytest.mark.parametrize("name", NAMES)
def test_the_document_lists_every_experiment(name: str) -> None:
    text = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    assert f"`{name}`" in text
