from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from launchday.chaos.experiment import Experiment, down, latency, load_experiment
from launchday.chaos.hypothesis import Abort, Expectation, Hypothesis
from launchday.chaos.toolkit.export import Exported, Surroundings, exported
from launchday.commands import launchday
from launchday.errors import LaunchdayError
from tests.chaos.chaos_toolkit import ROOT, command

EXPERIMENTS = sorted(path.stem for path in (ROOT / "chaos").glob("[!_]*.py"))


def translated(experiment: Experiment, **paths: str) -> Exported:
    return exported(experiment, "test", Surroundings(paths=paths))


def activities(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    hypothesis: list[dict[str, Any]] = document["steady-state-hypothesis"]["probes"]
    return [*hypothesis, *document["method"], *document["rollbacks"]]


def assert_callable(activity: Mapping[str, Any]) -> None:
    """As Chaos Toolkit checks it: the function is there and takes the arguments."""
    provider = activity["provider"]
    function = getattr(importlib.import_module(provider["module"]), provider["func"])
    inspect.signature(function).bind(**provider.get("arguments", {}))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_becomes_plain_data_that_can_be_called(name: str) -> None:
    experiment = load_experiment(name, ROOT / "chaos")
    document = exported(experiment, name, Surroundings()).document
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    for activity in activities(document):
        assert_callable(activity)
    assert document["runtime"]["rollbacks"] == {"strategy": "always"}
    assert document["runtime"]["hypothesis"] == {"strategy": "continuously"}
    assert [each["provider"]["func"] for each in document["rollbacks"]] == ["restore_links"]
    assert document["controls"][0]["provider"]["module"] == "launchday.chaos.toolkit.control"
    names = [activity["provider"]["func"] for activity in document["method"]]
    assert names[0] == "require_clean_links"
    assert names.count("fault_is_effective") == len(experiment.faults)
    made = names.count("create_toxic") + names.count("disable_proxy")
    assert made == names.count("delete_toxic") + names.count("enable_proxy") > 0
    assert document["steady-state-hypothesis"]["probes"]


def test_faults_keep_their_times_and_are_probed_when_they_are_whole() -> None:
    slow = latency("a", latency_ms=90, start_seconds=1, duration_seconds=4, ramp_seconds=1)
    method = translated(Experiment("T", "D", (slow, down("b")), 0, 8)).document["method"]
    times, now = [], 0.0
    for activity in method:
        now += activity.get("pauses", {}).get("before", 0)
        assert "after" not in activity.get("pauses", {})
        times.append((now, activity["provider"]["func"]))
    assert times == [
        (0, "require_clean_links"),
        (0, "probe_before"),
        (0, "disable_proxy"),
        (0, "fault_is_effective"),
        (1, "probe_before"),
        (1, "create_toxic"),
        (1.5, "update_toxic"),
        (2, "update_toxic"),
        (2, "fault_is_effective"),
        (5, "delete_toxic"),
        (8, "enable_proxy"),
        (8, "restore_links"),
    ]
    sizes = [
        activity["provider"]["arguments"]["attributes"]["latency"]
        for activity in method
        if activity["provider"]["func"] in ("create_toxic", "update_toxic")
    ]
    assert sizes == [30, 60, 90]


def test_what_must_hold_meanwhile_is_the_hypothesis_and_the_rest_is_asked_in_its_window() -> None:
    hypothesis = Hypothesis(
        steady=(Expectation("p95_seconds", at_most=0.2),),
        during=(
            Expectation("success_share", endpoints=("state",), at_least=0.9),
            Expectation("metric_highest", metric="breaker_open", at_least=1),
            Expectation("p95_seconds", at_most=0.3, after_seconds=5),
        ),
        recovery_seconds=7,
    )
    experiment = Experiment("T", "D", (down("a"),), 0, 8, hypothesis=hypothesis)
    document = translated(experiment, state="/v1/state").document
    (probe,) = document["steady-state-hypothesis"]["probes"]
    assert probe["tolerance"] == {"type": "range", "range": [0.9, 1]}
    assert probe["provider"]["arguments"]["paths"] == ["/v1/state"]
    names = [activity["name"] for activity in document["method"]]
    assert [name.partition(":")[0] for name in names] == [
        *("links are clean", "before", "without a", "a", "effect of a"),
        *("at the end of the faults", "at the end of the faults", "end of a"),
        *("all faults are undone", "recovered"),
    ]
    pauses = [
        activity["pauses"]["before"] for activity in document["method"] if "pauses" in activity
    ]
    assert pauses == [8, 7]


def test_what_cannot_be_said_is_left_out_in_words() -> None:
    hypothesis = Hypothesis(
        steady=(Expectation("success_share", at_least=0.9),),
        during=(
            Expectation("success_share", endpoints=("state",), at_least=0.9),
            Expectation("retry_share", at_most=0.1),
            Expectation("metric_increase", metric="a", at_most=1),
            Expectation("p95_seconds", at_most=0.3, baseline_factor=2),
        ),
    )
    experiment = Experiment("T", "D", (down("a"),), 0, 8, hypothesis=hypothesis, abort=None)
    result = translated(experiment)
    assert result.document["description"] == "D"
    assert [sentence.rpartition(": ")[2] for sentence in result.left_out] == [
        "no path is known for 'state', say --path NAME=/PATH",
        "only a scenario retries",
        "Chaos Toolkit cannot count over a window",
        "its baseline_factor; the absolute limit stays",
    ]
    (extension,) = result.document["extensions"]
    assert extension["left_out"] == list(result.left_out)


def test_what_is_lost_of_the_abort_conditions_is_said_wherever_one_may_look() -> None:
    abort = Abort(success_floor=0.4, for_seconds=5, error_budget_share=0.02)
    experiment = Experiment("T", "D", (down("a"),), 0, 8, breaks=("eu ",), abort=abort)
    result = translated(experiment)
    floor, breaks, budget = result.left_out
    assert floor.startswith("abort: the floor of 40% for 5 s is about the requests of the probes")
    assert "'eu '" in breaks
    assert "error budget of 2.00%" in budget
    description = result.document["description"]
    assert all(f"Not in this file: {each}." in description for each in result.left_out)
    assert "abort-in-part" in result.document["tags"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOXIPROXY_URL", raising=False)
    (tmp_path / "chaos").mkdir()
    (tmp_path / "chaos" / "slow.py").write_text(
        "from launchday.chaos.experiment import Experiment, latency\n"
        "EXPERIMENT = Experiment('Slow ö', 'D', (latency('a', latency_ms=5),), 0, 8)\n"
    )
    return tmp_path


def export(*arguments: str) -> None:
    launchday.main(["chaos", "export", *arguments], standalone_mode=False)


def test_json_and_yaml_say_the_same_with_the_urls_of_the_settings(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "launchday.toml").write_text(
        '[target]\nurl = "http://10.0.0.1:80"\n[run]\ntoxiproxy_url = "http://10.0.0.2:1"\n'
    )
    export("slow")
    said = json.loads(capsys.readouterr().out)
    export("slow", "--output", "slow.json")
    export("chaos/slow.py", "--output", "slow.yaml")
    assert "chaos run --rollback-strategy always slow.yaml" in capsys.readouterr().out
    assert json.loads((project / "slow.json").read_text()) == said
    assert yaml.safe_load((project / "slow.yaml").read_text()) == said
    assert said["title"] == "Slow ö"
    defaults = {name: each["default"] for name, each in said["configuration"].items()}
    assert defaults["toxiproxy_url"] == "http://10.0.0.2:1"
    assert defaults["target_url"] == "http://10.0.0.1:80"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["slow", "--output", "slow.xml"], "--output is 'slow.xml'; it must end in .json, .yaml"),
        (["slow", "--output", "none/slow.json"], "none/slow.json"),
        (["slow", "--path", "state"], "--path 'state' must be NAME=/PATH"),
        (["slow", "--path", "state=v1"], "must be NAME=/PATH"),
        (["fast"], "unknown experiment 'fast': chaos has slow"),
    ],
)
def test_a_wrong_export_is_refused_in_words(
    project: Path, arguments: list[str], words: str
) -> None:
    with pytest.raises(LaunchdayError, match=re.escape(words)):
        export(*arguments)


def test_actions_probes_and_export_need_no_chaos_toolkit() -> None:
    blocked = "import sys; sys.modules['chaoslib'] = sys.modules['chaostoolkit'] = None; "
    needed = "import launchday.chaos.toolkit.export, launchday.chaos.toolkit.actions"
    code = blocked + needed
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_stock_chaos_validate_takes_an_export_and_the_one_of_the_docs(tmp_path: Path) -> None:
    chaos = command()
    page = (ROOT / "docs" / "chaos-toolkit.md").read_text()
    (written,) = [b for b in re.findall(r"```json\n(.*?)```", page, re.DOTALL) if '"title"' in b]
    document = exported(
        load_experiment("slow_gateway", ROOT / "chaos"), "s", Surroundings()
    ).document
    (tmp_path / "docs.json").write_text(written)
    (tmp_path / "ours.yaml").write_text(yaml.safe_dump(document))
    for name in ("docs.json", "ours.yaml"):
        done = subprocess.run(
            [chaos, "--no-version-check", "--no-log-file", "validate", name],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_experiment_of_the_docs_can_be_called() -> None:
    page = (ROOT / "docs" / "chaos-toolkit.md").read_text()
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    (document,) = [block for block in blocks if "title" in block]
    for activity in activities(document):
        assert_callable(activity)
