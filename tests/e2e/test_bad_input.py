"""Each mistake is one line that says what to do, exit code 2, and nothing is left running."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.support import (
    EXPERIMENT,
    ROOT,
    SHORT,
    launchday,
    processes_mentioning,
    somebody_elses_service,
)

pytestmark = pytest.mark.e2e

RUN = ("run", "launch_day", "--runs")


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def assert_one_line(done: subprocess.CompletedProcess[str], words: str, runs: Path) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("launchday: ")
    assert words in lines[0]
    assert "Traceback" not in done.stdout + done.stderr
    if sys.platform == "linux":
        assert processes_mentioning(str(runs)) == []


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = launchday(*RUN, str(tmp_path), "--local", LAUNCHDAY_LOCAL__TARGET_PORT=port)
    assert_one_line(done, f"port {port} for the reference backend is taken", tmp_path)


def test_a_target_that_is_not_up(tmp_path: Path) -> None:
    done = launchday(*RUN, str(tmp_path), "--target", f"http://127.0.0.1:{closed_port()}")
    assert_one_line(done, "does not answer", tmp_path)


def test_a_target_that_is_not_yours(tmp_path: Path) -> None:
    done = launchday(*RUN, str(tmp_path), "--target", "http://192.0.2.1")
    assert_one_line(done, "neither loopback nor private", tmp_path)


def test_no_target_at_all(tmp_path: Path) -> None:
    assert_one_line(launchday(*RUN, str(tmp_path)), "--target URL, or --local", tmp_path)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def broken(:\n", "SyntaxError: invalid syntax (broken.py, line 1)"),
        (
            "import time\nimport no_such_module\n",
            "'no_such_module' (broken.py, line 2)",
        ),
        ("x = 1\n", "has no SurgeShape and ArrivalUser"),
    ],
)
def test_a_locustfile_that_does_not_import(tmp_path: Path, source: str, words: str) -> None:
    scenario = tmp_path / "broken.py"
    scenario.write_text(source)
    with somebody_elses_service() as url:
        done = launchday("run", str(scenario), "--runs", str(tmp_path / "runs"), "--target", url)
    assert_one_line(done, words, tmp_path)


def test_a_locustfile_without_arrivals(tmp_path: Path) -> None:
    scenario = tmp_path / "closed.py"
    scenario.write_text(
        "from locust import HttpUser, task\n"
        "class Closed(HttpUser):\n    @task\n    def look(self):\n        self.client.get('/')\n"
    )
    with somebody_elses_service() as url:
        done = launchday("run", str(scenario), "--runs", str(tmp_path / "runs"), "--target", url)
    assert_one_line(done, "SurgeShape", tmp_path)


def test_an_unknown_parameter_of_the_scenario(tmp_path: Path) -> None:
    with somebody_elses_service() as url:
        done = launchday(*RUN, str(tmp_path), "--target", url, "-p", "multipel=5")
    assert_one_line(done, "scenario launch_day has no parameter 'multipel'", tmp_path)


def test_a_parameter_that_is_not_the_scenarios_to_set(tmp_path: Path) -> None:
    with somebody_elses_service() as url:
        done = launchday(*RUN, str(tmp_path), "--target", url, "-p", "host=http://192.0.2.1")
    assert_one_line(done, "'host' is no parameter of a scenario", tmp_path)


@pytest.mark.slow
def test_an_experiment_that_outlasts_the_scenario(tmp_path: Path) -> None:
    experiment = tmp_path / "long.py"
    experiment.write_text(EXPERIMENT.format(duration_seconds=500))
    where = ("--runs", str(tmp_path / "runs"), "--experiment", str(experiment))
    done = launchday("run", "launch_day", "--local", *where, *SHORT)
    assert_one_line(done, "after the schedule of the scenario", tmp_path)


@pytest.mark.slow
def test_an_experiment_that_starts_after_its_phase(tmp_path: Path) -> None:
    experiment = tmp_path / "late.py"
    experiment.write_text(EXPERIMENT.format(duration_seconds=2))
    where = ("--runs", str(tmp_path / "runs"), "--experiment", str(experiment))
    done = launchday("run", "launch_day", "--local", *where, *SHORT, "-p", "peak_seconds=1")
    assert_one_line(done, "which lasts only 1 s", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--local", "--target", "http://127.0.0.1:1"], "leave out --target"),
        (["--target", "http://127.0.0.1:1", "--no-shedding"], "needs --local"),
    ],
)
def test_options_that_exclude_each_other(tmp_path: Path, arguments: list[str], words: str) -> None:
    assert_one_line(launchday(*RUN, str(tmp_path), *arguments), words, tmp_path)


def test_an_objective_that_no_client_waits_for(tmp_path: Path) -> None:
    done = launchday(*RUN, str(tmp_path), "--local", LAUNCHDAY_RULES__OBJECTIVE_SECONDS="1.5")
    assert_one_line(done, "must be below run.request_timeout_seconds", tmp_path)


def test_a_defect_of_ours_is_one_line_too_and_never_a_verdict(tmp_path: Path) -> None:
    program = (
        "import launchday.commands as c, launchday.cli as cli\n"
        "def broken(*a, **k): raise ZeroDivisionError('x')\n"
        "c.launchday.main = broken\n"
        "cli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert_one_line(done, "a defect of launchday, please report it with", tmp_path)
    written = Path(done.stderr.split()[-1])
    assert "ZeroDivisionError" in written.read_text()
    written.unlink()


def test_a_parameter_that_makes_no_sense(tmp_path: Path) -> None:
    with somebody_elses_service() as url:
        done = launchday(*RUN, str(tmp_path), "--target", url, "-p", "multiple=0")
    assert_one_line(done, "multiple must be at least 1, got 0", tmp_path)


def test_an_unknown_scenario(tmp_path: Path) -> None:
    done = launchday("run", "lunch_day", "--local", "--runs", str(tmp_path))
    assert_one_line(done, "unknown scenario 'lunch_day'; known are: app_release, ", tmp_path)
    assert "launch_day" in done.stderr


def test_an_unknown_experiment(tmp_path: Path) -> None:
    done = launchday(*RUN, str(tmp_path), "--local", "--experiment", "slow_gatway")
    assert_one_line(done, "slow_gateway", tmp_path)


def test_an_unknown_key_in_the_settings_file(tmp_path: Path) -> None:
    (tmp_path / "launchday.toml").write_text("[rules]\nobjektive_seconds = 1\n")
    done = launchday("run", "launch_day", "--local", cwd=tmp_path)
    assert_one_line(done, "unknown setting rules.objektive_seconds", tmp_path)


def test_a_run_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with somebody_elses_service() as url:
        done = launchday(*RUN, str(tmp_path / "file"), "--target", url)
    assert_one_line(done, "cannot write", tmp_path)


@pytest.mark.slow
def test_a_disk_that_fills_up_during_the_run(tmp_path: Path) -> None:
    # A limit on the size of files is what an ordinary user can make of a full disk.
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    with somebody_elses_service() as url:
        done = launchday(*RUN, str(tmp_path), "--target", url, preexec_fn=small_files)
    assert_one_line(done, "cannot write", tmp_path)


def test_a_toxiproxy_that_does_not_answer(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    arguments = (*RUN, str(tmp_path), "--local", "--experiment", "slow_gateway")
    assert_one_line(launchday(*arguments, TOXIPROXY_URL=url), url, tmp_path)


def test_an_experiment_without_a_toxiproxy(tmp_path: Path) -> None:
    with somebody_elses_service() as url:
        done = launchday(*RUN, str(tmp_path), "--target", url, "--experiment", "slow_gateway")
    assert_one_line(done, "TOXIPROXY_URL", tmp_path)


def test_a_directory_that_is_no_record(tmp_path: Path) -> None:
    for command in (["verdict"], ["report"], ["plan", "--forecast", "100"]):
        assert_one_line(launchday(*command, str(tmp_path)), "no run directory", tmp_path)


def test_an_unknown_option_shows_the_usage_and_no_traceback() -> None:
    done = launchday("run", "launch_day", "--locl", cwd=ROOT)
    assert done.returncode == 2
    assert "--locl" in done.stderr
    assert "Traceback" not in done.stderr
