"""How long a plan takes: `python -m benchmarks.plan_speed [--json]`, ten minutes beside an hour.

Two records of a staircase are made, as large as those of a run: eight endpoints, latencies spread
over a hundred buckets, 1,200 series of the target a second. `launchday plan --json` reads each of
them in turn, three times. A round in which others used the machine is void. Exit code: 0 the hour
took at most 10 s (median); 1 longer; 2 all was void.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

if not __package__:  # run by its path
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks._generator_cli import command_line, run
from benchmarks._generator_rounds import everybody_cpu_seconds
from benchmarks._live_runs import launchday
from benchmarks.admission_ladder import say
from launchday.counts import Cell, cell_to_json
from launchday.outcomes import Outcome
from tests.capacity.staircase import served_by, staircase, write_steps

GOAL_SECONDS = 10.0
ROUNDS = 3
RECORDS = {"ten_minutes": 600, "hour": 3600}
_STEPS, _ENDPOINTS, _SERIES = 12, 8, 1200
_MOST_RPS = 400.0
_MEAN_SECONDS = {Outcome.OK: 0.05, Outcome.SHED: 0.002}


def write_record(path: Path, seconds: int) -> Path:
    """A staircase to 480 requests/s of so many seconds."""
    points = staircase([40.0 * step for step in range(1, _STEPS + 1)], seconds / _STEPS)
    done = served_by(points, _MOST_RPS)
    names = [f'some_seconds_total{{class="{k % 20}",reason="{k // 20}"}}' for k in range(_SERIES)]

    def metrics(second: int) -> dict[str, float]:
        values = {name: 1.37 * k * second for k, name in enumerate(names)}
        return {**values, "process_cpu_seconds_total": 0.002 * done(second)}

    write_steps(path, lambda *_: {}, points=points, metrics=metrics)
    _add_cells(path / "samples-0.jsonl", points, seconds)
    return path


def _add_cells(path: Path, points: tuple[tuple[float, float], ...], seconds: int) -> None:
    """Between the schedule, which is the first line, and the arrivals of each second."""
    rng = random.Random(1)
    done = served_by(points, math.inf)
    schedule, *others = path.read_text("utf-8").splitlines(keepends=True)
    with path.open("w", encoding="utf-8") as log:
        log.write(schedule)
        for second in range(seconds):
            cells = _cells(second, done(second + 1) - done(second), rng)
            log.write(json.dumps({"kind": "samples", "cells": cells, "arrivals": []}) + "\n")
        log.writelines(others)


def _cells(second: int, offered: float, rng: random.Random) -> list[dict[str, Any]]:
    rows = []
    answered = min(offered, _MOST_RPS)
    counts = {Outcome.OK: answered, Outcome.SHED: offered - answered}
    for endpoint, (outcome, mean) in itertools.product(range(_ENDPOINTS), _MEAN_SECONDS.items()):
        cell = Cell(round(counts[outcome] / _ENDPOINTS))
        for _ in range(cell.count):
            took = mean * rng.lognormvariate(0, 0.5)
            cell.corrected.record(took + 0.001 * rng.random())
            cell.service.record(took)
        if cell.count:
            rows.append(cell_to_json((second, f"e{endpoint}", "critical", outcome), cell))
    return rows


def timed(record: Path, most_others: float) -> dict[str, Any]:
    """One plan by the command line: seconds by the clock, and why it is void, if it is."""
    before, own_before = everybody_cpu_seconds(), _children_cpu_seconds()
    began = time.perf_counter()
    done = launchday("plan", record, "--json")
    seconds = time.perf_counter() - began
    own = _children_cpu_seconds() - own_before
    others = max(0.0, everybody_cpu_seconds() - before - own) / seconds
    if done.code != 0:
        raise RuntimeError(f"launchday plan ended with {done.code}: {done.errors[-300:]}")
    void = f"others used {others:.0%} of a core" if others > most_others else ""
    return {"seconds": seconds, "cpu_seconds": own, "void": void}


def _children_cpu_seconds() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Both records in turn, and the medians of what counts."""
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in RECORDS}
    with tempfile.TemporaryDirectory() as home:
        records = {name: write_record(Path(home) / name, s) for name, s in RECORDS.items()}
        for _, name in itertools.product(range(ROUNDS), RECORDS):
            rounds[name].append(timed(records[name], args.most_others))
            say(f"{name}: {rounds[name][-1]['seconds']:.1f} s {rounds[name][-1]['void']}".rstrip())
        size = sum(path.stat().st_size for path in records["hour"].iterdir())
    counted = {n: [r["seconds"] for r in found if not r["void"]] for n, found in rounds.items()}
    medians = {name: median(found) if found else None for name, found in counted.items()}
    hour, short = medians["hour"], medians["ten_minutes"]
    return {
        "hour_megabytes": round(size / 1e6),
        "hour_seconds": hour,
        "ten_minutes_seconds": short,
        "ratio": hour / short if hour and short else None,
        "rounds": rounds,
    }


def table(result: dict[str, Any]) -> str:
    """One line for each record."""

    def words(name: str) -> str:
        value = result[f"{name}_seconds"]
        return "void" if value is None else f"{value:.1f} s"

    return (
        f"ten minutes  {words('ten_minutes')}\n"
        f"an hour      {words('hour')}  ({result['hour_megabytes']} MB; "
        f"at most {GOAL_SECONDS:g} s wanted)\n"
    )


def judge(result: dict[str, Any]) -> int:
    """The exit code."""
    if result["hour_seconds"] is None:
        return 2
    return int(result["hour_seconds"] > GOAL_SECONDS)


def main() -> int:
    """Read the command line and measure."""
    return run(command_line(__doc__ or "").parse_args(), measure, table, judge)


if __name__ == "__main__":
    sys.exit(main())
