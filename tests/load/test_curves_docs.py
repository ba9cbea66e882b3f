"""docs/surges.md is true: its tables are those of the code, its snippets and commands run."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launchday import cli
from launchday.load.curve_plot import CurveView, facts, short, terminal_lines
from launchday.load.curves import CURVES, RateCurve

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "surges.md").read_text(encoding="utf-8")
SCENARIO = """
import json, runpy, sys
from argparse import Namespace
from launchday.load.locust_user import ArrivalUser, SurgeShape
names = runpy.run_path(sys.argv[1])
from locust import argument_parser
options = argument_parser.get_parser().parse_args([])
made = [n for n in names.values() if isinstance(n, type) and n.__module__ == "<run_path>"]
(shape,) = [each for each in made if issubclass(each, SurgeShape)]
(user,) = [each for each in made if issubclass(each, ArrivalUser)]
print(json.dumps([shape.curve(None, options).total, len(user.tasks)]))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def commands() -> list[str]:
    lines = "".join(blocks("sh")).splitlines()
    return [line.removeprefix(".venv/bin/launchday ") for line in lines if " curves" in line]


def test_the_tables_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `.*\|$", PAGE, re.MULTILINE)
    expected = []
    for definition in CURVES.values():
        curve = definition.curve()
        numbers = (curve.total, curve.peak_rps, curve.duration_seconds)
        cells = (f"`{definition.name}`", definition.summary, *map(short, numbers))
        expected.append(f"| {' | '.join((*cells, definition.source))} |")
    assert rows == expected


def test_the_plot_is_what_is_printed() -> None:
    definition = CURVES["launch_day"]
    curve = definition.curve()
    lines = terminal_lines(CurveView("", "", curve))
    title = f"launch_day: {definition.summary}"
    assert blocks("text") == ["\n".join((title, facts(curve), "", *lines, ""))]


def test_curves_are_put_together_as_the_page_says() -> None:
    (snippet,) = [each for each in blocks("python") if "week =" in each]
    made: dict[str, RateCurve] = {}
    exec(snippet, made)
    evening, launch = made["evening"], made["launch"]
    assert made["week"].total == pytest.approx(2 * evening.total + launch.total)
    assert made["both"].total == pytest.approx(evening.total + launch.total)
    assert made["half"].total == pytest.approx(launch.total / 2)
    assert made["quick"].total == pytest.approx(launch.total / 2)
    assert made["capped"].peak_rps == 200 < launch.peak_rps
    assert made["rough"].total == pytest.approx(launch.total)
    assert "peak_2" in {phase.name for phase in made["both"].phases}


def test_stages_of_the_page_are_curves() -> None:
    (snippet,) = [each for each in blocks("python") if "k6 =" in each]
    made: dict[str, RateCurve] = {}
    exec(snippet, made)
    assert made["k6"].peak_rps == 500
    assert made["k6_json"].points == ((0, 0), (30, 100), (120, 500))
    assert made["locust"].peak_rps == 500


def test_scenarios_of_the_page_are_scenarios(tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_text(blocks("csv")[0])
    found = []
    for number, snippet in enumerate(each for each in blocks("python") if "ArrivalUser" in each):
        path = tmp_path / f"scenario_{number}.py"
        path.write_text(snippet)
        done = subprocess.run(
            [sys.executable, "-c", SCENARIO, path.name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout.splitlines()[-1]))
    storm = CURVES["reconnect_storm"].curve()
    day = (4210 + 4388 + 9120 + 8790) / 4 / 2
    assert found == [[pytest.approx(storm.total), 1], [pytest.approx(day), 1]]


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_page_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("day.csv").write_text(blocks("csv")[0])
    Path("stages.json").write_text(json.dumps([{"duration": 9, "users": 9, "spawn_rate": 9}]))
    Path("k6.json").write_text(json.dumps([{"duration": "9s", "target": 9}]))
    monkeypatch.setattr(sys, "argv", ["launchday", *shlex.split(command, comments=True)])
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        signal.signal(signal.SIGINT, handler)
    printed = capsys.readouterr()
    assert (ended.value.code, printed.err) == (0, "")
    assert "arrivals" in printed.out
