"""The relay benchmark: what makes a run void, medians, bars, one JSON object."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks._ladder_process import cores
from benchmarks._relay_runs import Round, row
from benchmarks.toxiproxy_relay import bars, judge, parse, show

ROOT = Path(__file__).parent.parent.parent
needs_cores = pytest.mark.skipif(
    cores()[0] is None or not Path("/proc/stat").exists(),
    reason="two cores and /proc are what the benchmark needs",
)
GOOD = Round(1000.0, 50.0, generator_share=0.5, others_share=0.0, most_others_share=0.12)


def result(rate: float, cpu: float, memory: float = 50.0) -> dict[str, Any]:
    rows = [
        row(path, toxic, 32, [replace(GOOD, requests_per_second=one, cpu_us_per_request=two)])
        for toxic in ("none", "latency_5ms")
        for path, one, two in (("embedded", rate, cpu), ("real", 1000.0, 50.0))
    ]
    live = {"embedded": {"connections": 9, "answered": 9, "resident_mb": memory}}
    return {"rows": rows, "live": live, "missing": [], "bars": bars(rows, live)}


def test_a_busy_generator_voids_a_relay_and_not_the_direct_path() -> None:
    busy = replace(GOOD, generator_share=0.99)
    assert busy.void("direct") is None
    assert "generator" in (busy.void("embedded") or "")
    assert "others" in (replace(GOOD, others_share=0.2).void("direct") or "")


def test_a_row_is_the_median_of_the_rounds_that_count() -> None:
    rounds = [replace(GOOD, requests_per_second=rate) for rate in (1.0, 2.0, 9.0)]
    void = replace(GOOD, requests_per_second=99.0, others_share=1.0)
    found = row("embedded", "none", 32, [*rounds, void])
    assert (found["requests_per_second"], found["rounds"], len(found["void"])) == (2.0, 3, 1)
    assert row("real", "none", 32, [void])["requests_per_second"] is None
    assert row("direct", "none", 32, rounds)["cpu_us_per_request"] is None


@pytest.mark.parametrize(
    ("rate", "cpu", "memory", "code"),
    [(950, 40, 50, 0), (890, 40, 50, 1), (950, 51, 50, 1), (950, 40, 201, 1)],
)
def test_a_missed_bar_is_exit_code_1(rate: float, cpu: float, memory: float, code: int) -> None:
    found = result(rate, cpu, memory)
    assert judge(found) == code
    assert "embedded" in show(found)


def test_without_the_real_server_nothing_is_missed() -> None:
    found = result(1, 1)
    rows = [one for one in found["rows"] if one["path"] != "real"]
    assert judge(found | {"rows": rows, "bars": bars(rows, found["live"])}) == 0


def test_wrong_arguments_are_exit_code_2() -> None:
    for words in (["--seconds", "0"], ["--paths", "none"], ["--rounds", "x"]):
        with pytest.raises(SystemExit) as caught:
            parse(words)
        assert caught.value.code == 2


@needs_cores
@pytest.mark.slow
def test_the_benchmark_prints_one_object_with_a_row_per_path_and_toxic() -> None:
    command = [sys.executable, "-m", "benchmarks.toxiproxy_relay", "--json", "--rounds", "1"]
    command += ["--seconds", "1", "--most-others", "60", "--paths", "embedded"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    keys = {(one["path"], one["toxic"], one["connections"]) for one in found["rows"]}
    wanted = {("direct", "none"), ("embedded", "none"), ("embedded", "latency_5ms")}
    assert keys == {(path, toxic, 32) for path, toxic in wanted}
    assert found["live"]["embedded"]["answered"] == 1000
