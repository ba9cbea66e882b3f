from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.chaos.experiment import (
    LONGEST_LATENCY_MS,
    Experiment,
    Fault,
    Flapping,
    bandwidth,
    down,
    latency,
    limit_data,
    load_experiment,
    reset_peer,
    slicer,
    slow_close,
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
    with pytest.raises(ValueError, match=r"toxic must be one of latency, .*, down, got 'slow'"):
        Fault("db", "slow", {})
    with pytest.raises(ValueError, match="attributes of timeout must be timeout"):
        Fault("db", "timeout", {"latency": 1})


def test_faults_say_in_words_what_they_do() -> None:
    assert latency("g", latency_ms=400, jitter_ms=100).words == "latency 400 ms ± 100 downstream"
    assert timeout("g", toxicity=0.25).words == "timeout 0 ms downstream on 25% of connections"
    assert down("g").words == "down"
    assert bandwidth("g", rate_kbps=20, ramp_seconds=5).words == (
        "bandwidth 20 KB/s downstream, over 5 s"
    )
    assert down("g", flapping=Flapping(5, 2)).words == "down, 5 s on and 2 s off"
    assert slicer("g", average_bytes=64, delay_us=10).words == (
        "slicer 64 ± 0 bytes each 10 µs downstream"
    )
    assert limit_data("g", limit_bytes=9, stream="upstream").words == "limit_data 9 bytes upstream"
    assert slow_close("g", delay_ms=5).words == "slow_close 5 ms downstream"
    assert timeout("g", name="black-hole").words == "black-hole"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: bandwidth("g", rate_kbps=0), "rate_kbps must be 1 to .*, got 0"),
        (lambda: slicer("g", average_bytes=0), "average_bytes must be 1 to .*, got 0"),
        (
            lambda: slicer("g", average_bytes=8, variation_bytes=8),
            "variation_bytes must be less than average_bytes, got 8",
        ),
        (lambda: limit_data("g", limit_bytes=-1), "limit_bytes must be 0 to .*, got -1"),
        (lambda: reset_peer("g", timeout_ms=-1), "timeout_ms must be 0 to 3600000, got -1"),
        (lambda: down("g", toxicity=0.5), "toxicity of down must be 1, got 0.5"),
        (lambda: down("g", ramp_seconds=1), "ramp_seconds of down must be 0, got 1"),
        (
            lambda: timeout("g", duration_seconds=5, ramp_seconds=6),
            r"ramp_seconds must be at most duration_seconds \(5\), got 6",
        ),
        (lambda: timeout("g", duration_seconds=0), "duration_seconds must be positive, got 0"),
        (lambda: timeout("g", start_seconds=-1), "start_seconds must be 0 or more, got -1"),
        (lambda: timeout("g", ramp_seconds=float("nan")), "ramp_seconds must be 0 or more"),
        (
            lambda: timeout("g", ramp_seconds=1, flapping=Flapping(1, 1)),
            "ramp_seconds must be 0 for a fault that flaps, got 1",
        ),
        (lambda: Flapping(0.1, 1), "on_seconds must be 0.2 or more, got 0.1"),
        (lambda: Flapping(1, float("inf")), "off_seconds must be 0 or more, got inf"),
        (
            lambda: down("g", flapping=(5, 5)),  # type: ignore[arg-type] # what anybody may write
            r"flapping must be a Flapping, got \(5, 5\)",
        ),
        (lambda: down("g", name="a b"), "name must consist of"),
    ],
)
def test_a_wrong_fault_is_refused_with_argument_and_value(
    make: Callable[[], object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ((down("a"), down("a", start_seconds=3)), "must not overlap under the same name: 'down'"),
        (
            (timeout("a", name="x"), latency("a", latency_ms=1, name="x", start_seconds=9)),
            "must not overlap under the same name: 'x' on a",
        ),
        (
            (latency("a", latency_ms=5, start_seconds=2), down("a")),
            "must not start on a while it is down",
        ),
        (
            (latency("a", latency_ms=5, ramp_seconds=4), timeout("a", start_seconds=3)),
            "must not start on a while 'latency 5 ms downstream, over 4 s' grows",
        ),
        ((down("a", start_seconds=10),), "start_seconds of 'down' must be less than the 10 s"),
        (
            (down("a", start_seconds=5, duration_seconds=6),),
            r"'down' must end within the 10 s .*, got start_seconds \+ duration_seconds = 11",
        ),
        (
            (timeout("a", start_seconds=8, ramp_seconds=2),),
            "ramp_seconds of .* at least 1 s less than the 2 s that the fault lasts",
        ),
        (
            (latency("a", latency_ms=5, ramp_seconds=9.5),),
            "ramp_seconds of .* at least 1 s less than the 10 s that the fault lasts",
        ),
    ],
)
def test_faults_that_could_not_be_told_apart_or_do_not_fit_are_refused(
    faults: tuple[Fault, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Experiment(**(GOOD | {"faults": faults, "duration_seconds": 10}))


def test_the_same_fault_twice_is_fine_one_after_the_other_or_on_two_links() -> None:
    first, second = down("a", duration_seconds=2), down("a", start_seconds=2)
    faults = first, second, down("b")
    assert Experiment(**(GOOD | {"faults": faults, "duration_seconds": 9})).links == ("a", "b")


def test_each_link_is_probed_in_its_own_protocol() -> None:
    faults = {"faults": (down("db"), down("gateway"))}
    experiment = Experiment(**(GOOD | faults | {"probe": {"db": "postgres"}}))
    assert [experiment.probe_of(link) for link in experiment.links] == ["postgres", "http"]


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
        ("probe", "mysql"),
        ("probe", {"db": "mysql"}),
        ("probe", {"other": "http"}),
        ("breaks", "eu "),
    ],
)
def test_a_wrong_experiment_is_refused_with_the_name_of_the_argument(
    argument: str, value: object
) -> None:
    with pytest.raises(ValueError, match=f"^{argument} must"):
        Experiment(**(GOOD | {argument: value}))


def test_an_experiment_names_each_of_its_links_once() -> None:
    faults = (latency("b", latency_ms=1), down("a"), down("b"))
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    (tmp_path / "bad.py").write_text(source)
    # As the command line names it, and by its whole path.
    monkeypatch.chdir(tmp_path)
    for directory in (Path(), tmp_path):
        with pytest.raises(PreflightError, match=words) as refused:
            load_experiment("bad", directory)
        assert "\n" not in str(refused.value)
