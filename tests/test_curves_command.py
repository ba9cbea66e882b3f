from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launchday import cli
from launchday.load.curves import CURVES, launch_day

Here = Callable[..., tuple[object, str, str]]
ROOT = Path(__file__).parent.parent


def curves(
    *arguments: str | Path, before: str = "pass", **environment: str
) -> subprocess.CompletedProcess[str]:
    code = f"import sys; {before}; from launchday.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "curves", *map(str, arguments)],
        env={**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT / "src"), **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Here]:
    """Run the command in this process: exit code, standard output, standard error."""
    handler = signal.getsignal(signal.SIGINT)

    def run(*arguments: str | Path) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["launchday", "curves", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    yield run
    signal.signal(signal.SIGINT, handler)  # which main takes


def test_the_list_has_a_line_for_each_curve() -> None:
    done = curves(PYTHONUTF8="1")
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert len(lines) == len(CURVES) + 1
    assert max(map(len, lines)) <= 80
    (row,) = [line for line in lines if line.startswith("launch_day ")]
    assert "25,616" in row
    assert " 730 " in row
    assert " 65 " in row


def test_the_list_as_json_says_what_every_parameter_must_be(here: Here) -> None:
    rows = json.loads(here("--json")[1])
    assert [row["name"] for row in rows] == list(CURVES)
    multiple = rows[0]["parameters"][1]
    assert multiple == {
        "name": "multiple",
        "default": 10.0,
        "unit": "",
        "meaning": "peak over baseline",
        "must": "be at least 1",
    }


def test_a_curve_is_plotted_with_its_phases_parameters_and_source() -> None:
    done = curves("show", "launch_day", "-p", "multiple=5", "--arrivals", "even", PYTHONUTF8="1")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    for words in ("peak 365/s", "arrivals per second", "█", "●", "even, seed 1", "Source:"):
        assert words in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"PYTHONIOENCODING": "ascii"}])
def test_a_terminal_that_can_nothing_gets_ascii(environment: dict[str, str]) -> None:
    done = curves("show", "reconnect_storm", **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "####" in done.stdout


def test_files_are_written_and_named(tmp_path: Path, here: Here) -> None:
    page, picture = tmp_path / "day.html", tmp_path / "day.png"
    code, out, _ = here("show", "viral", "--html", page, "--png", picture)
    assert code == 0
    assert f"Written: {page}\nWritten: {picture}\n" in out
    assert "viral" in page.read_text(encoding="utf-8")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_picture_without_matplotlib_is_refused_in_a_sentence(tmp_path: Path) -> None:
    done = curves(
        "show", "viral", "--png", tmp_path / "x.png", before="sys.modules['matplotlib'] = None"
    )
    assert done.returncode == 2
    assert done.stderr == (
        "launchday: --png needs the package matplotlib: install launchday[plots], or use --html\n"
    )
    assert done.stdout == ""


def test_json_holds_the_curve_as_it_was_changed(tmp_path: Path, here: Here) -> None:
    options = ("--compress", "2", "--scale", "3", "--clip", "1000", "--noise", "0.1")
    page = tmp_path / "x.html"
    _, out, err = here("show", "launch_day", *options, "--seed", "5", "--json", "--html", page)
    assert err == f"Written: {page}\n"
    found = json.loads(out)
    curve = launch_day().compress(2).scale(3).clip(1000).noise(0.1, seed=5)
    assert [tuple(point) for point in found["points"]] == list(curve.points)
    assert found["arrivals"] == curve.total
    assert found["phases"][2]["name"] == "peak"
    assert page.exists()


def test_a_day_from_a_csv_and_stages_of_locust_and_k6(tmp_path: Path, here: Here) -> None:
    (tmp_path / "day.csv").write_text("0,600\n60,1200\n")
    stages = [{"duration": 60, "users": 10, "spawn_rate": 1}]
    (tmp_path / "stages.json").write_text(json.dumps(stages))
    k6 = {"stages": [{"duration": "10s", "target": 10}] * 2}
    (tmp_path / "k6.json").write_text(json.dumps(k6))
    for arguments, arrivals in (
        (("--csv", tmp_path / "day.csv", "--values", "count"), 1800),
        (("--stages", tmp_path / "stages.json", "--per-user-rps", "2"), 1100),
        (("--stages", "10s:10,10s:10"), 150),
        (("--stages", tmp_path / "k6.json"), 150),
    ):
        found = json.loads(here("show", *arguments, "--json")[1])
        assert found["arrivals"] == pytest.approx(arrivals)
        assert "peak" in {phase["name"] for phase in found["phases"]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("show", "give one of: the NAME of a curve"),
        ("show launch_day --stages 1s:1", "give one of: the NAME of a curve"),
        ("show lunch_day", "there is no curve 'lunch_day'; did you mean launch_day? `launchday"),
        ("show launch_day -p multiple=0.5", "multiple must be at least 1, got 0.5"),
        ("show launch_day -p multiple", "--param 'multiple' must be NAME=VALUE"),
        ("show --stages 1s:1 -p multiple=2", "--param belongs to a named curve"),
        ("show launch_day --values rate", "--values belongs to --csv"),
        ("show launch_day --per-user-rps 2", "--per-user-rps belongs to Locust's stages"),
        ("show --csv gone.csv", "gone.csv cannot be read: No such file or directory"),
        ("show --stages stages.json", "Locust's stages are users: say --per-user-rps, too"),
        ("show --stages gone.json --per-user-rps 1", "gone.json cannot be read: No such file"),
        ("show --stages torn.json --per-user-rps 1", "torn.json is no JSON"),
        ("show --stages one.json --per-user-rps 1", "one.json must hold a list of stages"),
        ("show launch_day --compress 0", "launchday: --compress must be above 0, got 0"),
        ("show launch_day --scale -1", "launchday: --scale must be above 0, got -1"),
        ("show launch_day --clip 0", "launchday: --clip must be above 0, got 0"),
        ("show launch_day --noise 3", "launchday: --noise must be between 0 and 1, got 3"),
        ("show launch_day --html x.png", "--html is 'x.png': its name must end in .html"),
        ("show launch_day --html x.html.gz", "--html is 'x.html.gz': its name must end in .html"),
        ("show launch_day --png x.svg", "--png is 'x.svg': its name must end in .png"),
        (
            "show --stages k6.json",
            "k6.json, read as k6's ramping-arrival-rate: stage 1: target must be a number, got '5'",
        ),
        (
            "show --stages k6.json --per-user-rps 1",
            "k6.json holds k6's stages, which are arrivals: leave out --per-user-rps",
        ),
        (
            "show --stages stages.json --per-user-rps 1",
            "stages.json, read as Locust's stages: stage 1: spawn_rate must be a number, got None",
        ),
        ("show launch_day --png gone/x.png", "cannot write gone/x.png: No such file or directory"),
        ("show launch_day --html gone/x.html", "cannot write gone/x.html: No such file"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    here: Here,
    arguments: str,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("torn.json").write_text('[{"duration"')
    Path("one.json").write_text("{}")
    Path("k6.json").write_text('[{"duration": "9s", "target": "5"}]')
    Path("stages.json").write_text('[{"duration": 9, "users": 9}]')
    before = set(Path().iterdir())
    code, out, err = here(*arguments.split())
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert out == ""
    assert set(Path().iterdir()) == before


def test_a_page_may_have_any_name_that_says_nothing_else(tmp_path: Path, here: Here) -> None:
    for name in ("page", "page.htm", "launch.v2"):
        assert here("show", "viral", "--html", tmp_path / name)[0] == 0
        assert (tmp_path / name).exists()
