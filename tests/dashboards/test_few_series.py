"""What a board asks, of a few series that would deceive it: with promtool's own evaluation."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.dashboards.conftest import BOARDS, load, panels_of
from tests.dashboards.prometheus_server import programs
from tests.dashboards.promql import asked_by, filled_in


def check(
    folder: Path, expression: str, series: dict[str, str], expected: dict[str, float]
) -> None:
    """Fail, with what promtool says, unless `expression` gives `expected` after a minute."""
    _, tool = programs()
    test = {
        "interval": "1s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": expression,
                "eval_time": "1m",
                "exp_samples": [{"labels": k, "value": v} for k, v in expected.items()],
            }
        ],
    }
    (folder / "test.yml").write_text(json.dumps({"tests": [test]}), encoding="utf-8")
    command = [tool, "test", "rules", "test.yml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def query_of(board: str, title: str) -> str:
    (panel,) = [each for each in panels_of(load(board)) if each["title"] == title]
    return str(panel["targets"][0]["expr"])


def targets_of(board: dict[str, Any], region: str) -> str:
    (variable,) = [each for each in board["templating"]["list"] if each["name"] == "instance"]
    return filled_in(asked_by(variable)[0].replace("$region", region))


@pytest.mark.parametrize(
    ("region", "expected"),
    [("eu", {"two", "own"}), ("us|eu", {"one", "two", "own"}), (".*", {"one", "two", "own"})],
)
def test_all_targets_are_those_of_the_regions_chosen_and_those_without_a_region(
    tmp_path: Path, board: dict[str, Any], region: str, expected: set[str]
) -> None:
    series = {f'shed_info{{instance="{name}"}}': "1x60" for name in ("one", "two", "own")}
    regions = {"one": "us", "two": "eu"}
    series |= {f'car_info{{instance="{n}",region="{r}"}}': "1x60" for n, r in regions.items()}
    found = {f'shed_info{{instance="{name}"}}': 1.0 for name in sorted(expected)}
    check(tmp_path, targets_of(board, region), series, found)


def test_a_target_that_stopped_in_the_window_can_be_chosen(tmp_path: Path) -> None:
    series = {'shed_info{instance="gone"}': "1x30 stale"}
    query = targets_of(load(BOARDS[0]), ".*")
    check(tmp_path, query, series, {'shed_info{instance="gone"}': 1.0})


@pytest.mark.parametrize(
    ("fresh", "expected"), [("0+10x60", {"{}": 3.0}), ("0x60", {})], ids=["some", "none"]
)
def test_seconds_in_which_everybody_repeats_give_no_amplification_without_end(
    tmp_path: Path, fresh: str, expected: dict[str, float]
) -> None:
    series = {
        'launchday_requests_total{outcome="ok"}': fresh,
        'launchday_requests_total{outcome="shed"}': "0+20x60",
        'launchday_retries_total{outcome="shed"}': "0+20x60",
    }
    check(
        tmp_path, filled_in(query_of("launchday-client", "Retry amplification")), series, expected
    )


@pytest.mark.parametrize(
    ("told", "expected"),
    [("1", {'{expectation="all"}': 1.0}), ("0", {'{expectation="all"}': 0.0}), ("NaN", {})],
)
def test_what_nobody_can_tell_of_the_steady_state_is_a_gap(
    tmp_path: Path, told: str, expected: dict[str, float]
) -> None:
    series = {
        'chaos_steady_state_ok{instance="a",experiment="slow",expectation="all"}': " ".join(
            [told] * 61
        ),
        'launchday_phase{instance="a",run="one",phase="peak"}': "1x60",
    }
    check(tmp_path, filled_in(query_of("launchday-chaos", "Steady state")), series, expected)


@pytest.mark.parametrize("title", ["Faults", "Steady state", "Faults in the window"])
def test_of_a_run_that_is_not_chosen_nothing_is_shown(tmp_path: Path, title: str) -> None:
    series = {
        'chaos_steady_state_ok{instance="a",experiment="slow",expectation="all"}': "1x60",
        'chaos_fault_active{instance="a",experiment="slow",link="l",fault="f"}': "1x60",
        'launchday_phase{instance="a",run="one",phase="peak"}': "1x60",
    }
    query = query_of("launchday-chaos", title)
    check(tmp_path, filled_in(query.replace("$run", "another")), series, {})
