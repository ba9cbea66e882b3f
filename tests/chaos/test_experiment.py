from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.chaos.experiment import (
    LONGEST_LATENCY_MS,
    Experiment,
    Fault,
    down,
    latency,
    load_experiment,
    timeout,
)
from launchday.errors import PreflightError

EXPERIMENTS = Path(__file__).parents[2] / "chaos"
GOOD: dict[str, Any] = {
    "title": "t",
    "description": "d",
    "faults": (down("db"),),
    "after_seconds": 0,
    "duration_seconds": 1,
}


@given(st.integers(0, LONGEST_LATENCY_MS), st.data())
def test_a_latency_with_a_jitter_up_to_itself_is_accepted(latency_ms: int, data: Any) -> None:
    jitter_ms = data.draw(st.integers(0, latency_ms))
    fault = latency("gateway", latency_ms=latency_ms, jitter_ms=jitter_ms)
    assert fault.attributes == {"latency": latency_ms, "jitter": jitter_ms}


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"latency_ms": -1}, "latency_ms must be 0 to 3600000, got -1"),
        ({"latency_ms": 3_600_001}, "latency_ms must be 0 to 3600000, got 3600001"),
        ({"latency_ms": 1.5}, "latency_ms must be a whole number, got 1.5"),
        ({"latency_ms": True}, "latency_ms must be a whole number, got True"),
        ({"latency_ms": 10, "jitter_ms": 11}, "jitter_ms must be 0 to latency_ms, got 11"),
        ({"latency_ms": 1, "toxicity": 1.1}, "toxicity must be 0 to 1, got 1.1"),
        ({"latency_ms": 1, "toxicity": float("nan")}, "toxicity must be 0 to 1, got nan"),
        ({"latency_ms": 1, "stream": "both"}, "stream must be downstream or upstream, got 'both'"),
    ],
)
def test_a_wrong_latency_is_refused_with_argument_and_value(
    keywords: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        latency("gateway", **keywords)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ü", "a%2f", "a\n"])
def test_a_link_that_toxiproxy_cannot_address_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="link must consist of"):
        down(name)


def test_a_fault_of_another_kind_or_with_other_attributes_is_refused() -> None:
    with pytest.raises(ValueError, match="toxic must be one of latency, timeout, down, got 'slow'"):
        Fault("db", "slow", {})
    with pytest.raises(ValueError, match="attributes of timeout must be timeout"):
        Fault("db", "timeout", {"latency": 1})


def test_faults_say_in_words_what_they_do() -> None:
    assert latency("g", latency_ms=400, jitter_ms=100).words == "latency 400 ms ± 100 downstream"
    assert timeout("g", toxicity=0.25).words == "timeout 0 ms downstream on 25% of connections"
    assert down("g").words == "down"


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("title", " "),
        ("faults", ()),
        ("faults", latency("db", latency_ms=1)),
        ("faults", [down("db")]),
        ("faults", (down,)),
        ("after_seconds", -1),
        ("after_seconds", float("inf")),
        ("duration_seconds", 0),
        ("phase", "no phase"),
        ("probe_path", "healthz"),
        ("probe_path", "/a b\r\n"),
    ],
)
def test_a_wrong_experiment_is_refused_with_the_name_of_the_argument(
    argument: str, value: object
) -> None:
    with pytest.raises(ValueError, match=f"^{argument} must"):
        Experiment(**(GOOD | {argument: value}))


def test_an_experiment_names_each_of_its_links_once() -> None:
    faults = (down("b"), down("a"), latency("b", latency_ms=1))
    assert Experiment(**(GOOD | {"faults": faults})).links == ("b", "a")


def test_the_experiments_of_the_repository_load() -> None:
    for file in sorted(EXPERIMENTS.glob("*.py")):
        assert load_experiment(file.stem, EXPERIMENTS) == load_experiment(str(file), Path("/"))


def test_slow_gateway_delays_the_gateway_during_the_peak() -> None:
    experiment = load_experiment("slow_gateway", EXPERIMENTS)
    assert experiment.faults == (latency("gateway", latency_ms=400, jitter_ms=100),)
    assert (experiment.phase, experiment.after_seconds, experiment.duration_seconds) == (
        "peak",
        8,
        12,
    )


def test_an_unknown_experiment_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "b.py").touch()
    (tmp_path / "a.py").touch()
    with pytest.raises(PreflightError, match=r"unknown experiment 'c': .* has a, b$"):
        load_experiment("c", tmp_path)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1\n\ny = (", r"bad\.py:3: SyntaxError: "),
        ("import no_such_module", r"bad\.py:1: ModuleNotFoundError: No module named"),
        (
            "from launchday.chaos.experiment import latency\n\nf = latency('g', latency_ms=-5)",
            r"bad\.py:3: ValueError: latency_ms must be 0 to 3600000, got -5$",
        ),
        ("x = 1", r"bad\.py: defines no EXPERIMENT"),
        ("import sys\n\nsys.exit(3)", r"bad\.py:3: SystemExit: 3$"),
        (
            "from launchday.chaos.experiment import Experiment, latency\n\n"
            "EXPERIMENT = Experiment('t', 'd', (latency('g', latency_ms=5)), 0, 1)",
            r"bad\.py:3: ValueError: faults must be a tuple",
        ),
        ("EXPERIMENT = 3", r"bad\.py: defines no EXPERIMENT"),
    ],
)
def test_a_file_that_is_no_experiment_is_refused_with_file_line_and_cause(
    tmp_path: Path, source: str, words: str
) -> None:
    (tmp_path / "bad.py").write_text(source)
    with pytest.raises(PreflightError, match=words) as refused:
        load_experiment("bad", tmp_path)
    assert "\n" not in str(refused.value)
