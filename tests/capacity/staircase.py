"""Synthetic records of a staircase: what clients saw and what the target's metrics said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from launchday.counts import Arrivals, Cell, arrivals_to_json, cell_to_json, health_to_json
from launchday.outcomes import Outcome
from launchday.rate_curve import Phase
from launchday.record import (
    FAULTS_FILE,
    METRICS_FILE,
    AppendLog,
    Rules,
    RunInfo,
    Schedule,
    schedule_to_json,
    write_run_info,
)
from tests.records import EPOCH, IDLE

Behaviour = Callable[[int, int], Mapping[Outcome, tuple[int, float]]]
Metrics = Callable[[int], Mapping[str, float]]

RATES = (50, 100, 150, 200, 250, 300)
STEP_SECONDS = 20


def quick(_: int, offered: int) -> Mapping[Outcome, tuple[int, float]]:
    """Everything well, in 50 ms."""
    return {Outcome.OK: (offered, 0.05)}


def plateau(rps: int) -> Behaviour:
    """All that is above `rps` is shed."""

    def behaviour(_: int, offered: int) -> Mapping[Outcome, tuple[int, float]]:
        good = min(offered, rps)
        return {Outcome.OK: (good, 0.05), Outcome.SHED: (offered - good, 0.002)}

    return behaviour


def staircase(rates: Sequence[float], step_seconds: float) -> tuple[tuple[float, float], ...]:
    """The points of a curve without rises."""
    return tuple(
        (k * step_seconds + edge, rate)
        for k, rate in enumerate(rates)
        for edge in (0.0, step_seconds)
    )


def write_steps(
    path: Path,
    behaviour: Behaviour = quick,
    *,
    points: tuple[tuple[float, float], ...] = staircase(RATES, STEP_SECONDS),
    metrics: Metrics | None = None,
    faults: Sequence[Mapping[str, Any]] = (),
    late: Mapping[int, float] | None = None,
    dropped: Mapping[int, int] | None = None,
    health: Mapping[int, Mapping[str, Any]] | None = None,
    info: Mapping[str, Any] | None = None,
    until: int | None = None,
    endpoints: Sequence[str] = ("state",),
) -> Path:
    """Write a record; `late` is the lateness in seconds of those seconds, `until` cuts it off."""
    path.mkdir(parents=True)
    schedule = _schedule(points)
    given: dict[str, Any] = {
        "run_id": path.name,
        "scenario": "breakpoint",
        "target": "http://127.0.0.1:1",
        "started_unix": EPOCH,
        "rules": Rules(),
        "ended": "completed" if until is None else "running",
    }
    write_run_info(path, RunInfo(**{**given, **(info or {})}))
    log = AppendLog(path / "samples-0.jsonl")
    log.write(schedule_to_json(schedule))
    for second in range(int(schedule.duration_seconds) if until is None else until):
        offered = _offered(schedule, second)
        cells = _cells(second, behaviour, offered, endpoints)
        log.write({"kind": "samples", "cells": cells, "arrivals": []})
        arrivals = _arrivals(
            offered, (late or {}).get(second, 0.001), (dropped or {}).get(second, 0)
        )
        rows = [{"second": second, **arrivals_to_json(arrivals)}]
        log.write({"kind": "samples", "cells": [], "arrivals": rows})
        sample = replace(IDLE, second=second + 1, **(health or {}).get(second + 1, {}))
        log.write(health_to_json(sample))
    if until is None:
        log.write({"kind": "end", "crashes": 0})
    log.close()
    _write_others(path, faults, metrics, int(schedule.duration_seconds) if until is None else until)
    return path


def _write_others(
    path: Path, faults: Sequence[Mapping[str, Any]], metrics: Metrics | None, seconds: int
) -> None:
    log = AppendLog(path / FAULTS_FILE)
    for event in faults:
        log.write(event)
    log.close()
    if metrics is not None:
        log = AppendLog(path / METRICS_FILE)
        for second in range(seconds + 1):
            log.write({"unix": EPOCH + second, "values": metrics(second)})
        log.close()


def _schedule(points: tuple[tuple[float, float], ...]) -> Schedule:
    end = points[-1][0]
    schedule = Schedule(EPOCH, end, (Phase("all", 0.0, end),), points, 0, 1, 1.0, 0.01)
    total = sum(_offered(schedule, second) for second in range(int(end)))
    return replace(schedule, expected_arrivals=total)


def _offered(schedule: Schedule, second: int) -> int:
    curve = schedule.curve
    return round(curve.cumulative(second + 1) - curve.cumulative(second))


def _cells(
    second: int, behaviour: Behaviour, offered: int, endpoints: Sequence[str]
) -> list[dict[str, Any]]:
    rows = []
    for outcome, (count, seconds) in behaviour(second, offered).items():
        for endpoint in endpoints:
            cell = Cell(count // len(endpoints))
            cell.corrected.record(seconds, cell.count)
            cell.service.record(seconds, cell.count)
            rows.append(cell_to_json((second, endpoint, "critical", outcome), cell))
    return rows


def _arrivals(scheduled: int, lateness: float, dropped: int) -> Arrivals:
    started = scheduled - dropped
    found = Arrivals(scheduled, started, started if lateness > 0.01 else 0, dropped)
    found.lateness.record(lateness, started)
    return found


def served_by(points: tuple[tuple[float, float], ...], most_rps: float) -> Callable[[int], float]:
    """How many requests were served until a second: the plan, no more than `most_rps`."""
    schedule = _schedule(points)
    done = [0.0]
    for second in range(int(schedule.duration_seconds)):
        done.append(done[-1] + min(_offered(schedule, second), most_rps))
    return lambda second: done[second]
