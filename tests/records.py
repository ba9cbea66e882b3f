"""Synthetic records: a seeded surge written to a directory as the generator would write it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from launchday.counts import HealthSample
from launchday.load.curves import launch_day
from launchday.load.samples import SampleBook
from launchday.outcomes import Outcome
from launchday.record import (
    FAULTS_FILE,
    METRICS_FILE,
    AppendLog,
    Record,
    Rules,
    RunInfo,
    Schedule,
    read_record,
    write_run_info,
)

EPOCH = 1_700_000_000.0
CAPACITY_RPS = 100.0
CURVE = launch_day(
    baseline_rps=50,
    multiple=10,
    quiet_seconds=10,
    rise_seconds=1,
    peak_seconds=20,
    decay_seconds=1,
    tail_seconds=20,
)

IDLE = HealthSample(
    second=0,
    cpu_share=0.2,
    loop_stall_seconds=0.001,
    lateness_p50_seconds=0.001,
    lateness_p99_seconds=0.001,
    dropped=0,
    open_files=20,
    open_files_limit=1024,
    ports_used=20,
    ports=28232,
    clock_step_seconds=0.0,
    gc_pause_seconds=0.0,
)

# second, offered in that second -> outcome to (count, latency in seconds)
Behaviour = Callable[[int, int], Mapping[Outcome, tuple[int, float]]]


def shedding(second: int, offered: int) -> Mapping[Outcome, tuple[int, float]]:
    """A target that keeps its capacity and refuses the rest."""
    good = min(offered, int(CAPACITY_RPS))
    return {Outcome.OK: (good, 0.06), Outcome.SHED: (offered - good, 0.002)}


def collapsing(second: int, offered: int) -> Mapping[Outcome, tuple[int, float]]:
    """A target that serves everybody too late from the moment it is overloaded."""
    if second < 11:
        return {Outcome.OK: (offered, 0.06)}
    return {Outcome.TIMEOUT: (offered, 1.0)}


def write_record(
    path: Path,
    behaviour: Behaviour = shedding,
    *,
    rules: Rules | None = None,
    late: int = 0,
    dropped: int = 0,
    retry_after: bool = True,
    seconds: int | None = None,
    faults: tuple[Mapping[str, Any], ...] = (),
    lateness: Mapping[int, float] | None = None,
    health: Mapping[int, Mapping[str, Any]] | None = None,
    stopped: str | None = None,
) -> Path:
    """Write a record; `seconds` cuts it off there, as `kill -9` would.

    With `stopped` the generator was stopped there and wrote its last line; it is how the run ended.

    `lateness` (in seconds) is 1 ms and `health` that of an idle generator in each second that
    they do not name.
    """
    path.mkdir(parents=True, exist_ok=True)
    schedule = _schedule()
    info = RunInfo(
        run_id=path.name,
        scenario="launch_day",
        target="http://127.0.0.1:1",
        started_unix=EPOCH,
        title="synthetic",
        rules=rules or Rules(capacity_rps=CAPACITY_RPS),
        ended=stopped or ("completed" if seconds is None else "running"),
    )
    write_run_info(path, info)
    book = SampleBook(path / "samples-0.jsonl")
    book.begin(schedule)
    for second in range(int(schedule.duration_seconds) if seconds is None else seconds):
        _write_second(book, second, behaviour, retry_after)
        for number in range(int(CURVE.rate(second + 0.5))):
            book.arrival(
                second,
                started=number >= dropped,
                late=dropped <= number < late + dropped,
                lateness_seconds=(lateness or {}).get(second, 0.001),
            )
        book.flush()
        book.health(replace(IDLE, second=second, **(health or {}).get(second, {})))
    if seconds is None or stopped:
        book.end()
    book.close()
    log = AppendLog(path / FAULTS_FILE)
    for event in faults:
        log.write(event)
    log.close()
    return path


def with_metrics(path: Path, scrape: Mapping[str, float], seconds: int | None = None) -> Record:
    """A record of a target whose counters grow evenly: `scrape` is what they gain a second."""
    write_record(path, seconds=seconds)
    with (path / METRICS_FILE).open("w") as file:
        for second in range(54):
            values = {name: v if _is_gauge(name) else v * second for name, v in scrape.items()}
            file.write(json.dumps({"unix": EPOCH + second, "values": values}) + "\n")
    return read_record(path)


def _is_gauge(series: str) -> bool:
    return series.partition("{")[0] in ("car_breaker_state", "shed_limit", "shed_overloaded")


def _schedule() -> Schedule:
    total = sum(int(CURVE.rate(s + 0.5)) for s in range(int(CURVE.duration_seconds)))
    return Schedule(
        epoch_unix=EPOCH,
        duration_seconds=CURVE.duration_seconds,
        phases=CURVE.phases,
        points=CURVE.points,
        expected_arrivals=total,
        seed=1,
        request_timeout_seconds=1.0,
        late_after_seconds=0.01,
    )


def _write_second(book: SampleBook, second: int, behaviour: Behaviour, retry_after: bool) -> None:
    offered = int(CURVE.rate(second + 0.5))
    for outcome, (count, latency_seconds) in behaviour(second, offered).items():
        answered_503 = outcome in (Outcome.SHED, Outcome.MAINTENANCE, Outcome.DEPENDENCY)
        for _ in range(count):
            book.request(
                second,
                "state",
                "sheddable_plus",
                outcome,
                corrected_seconds=latency_seconds,
                service_seconds=latency_seconds,
                answered_503=answered_503,
                retry_after=answered_503 and retry_after,
                response_bytes=100,
            )


def fault_events(*events: str, effect: bool = True) -> tuple[Mapping[str, Any], ...]:
    """Events of one fault on the gateway between 15 s and 20 s."""
    at = {"planned": 0, "applied": 15, "verified": 15, "undone": 20, "residual": 20}
    return tuple(
        {
            "event": event,
            "link": "gateway",
            "fault": "latency 400 ms",
            "unix": EPOCH + at[event],
            "effect": effect,
        }
        for event in events
    )


COMPLETE_FAULT = fault_events("planned", "applied", "verified", "undone")
