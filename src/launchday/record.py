"""The run directory: file names, what is in them, how they are written and read back.

    run.json               who, what, versions, argv, resolved settings, how it ended
    samples-<worker>.jsonl the schedule first, then per second what clients saw and how the
                           generator was, at last "end"; of a master: what was lost
    ledger-<worker>.jsonl  what clients were told about each Idempotency-Key (launchday.ledger)
    stored.jsonl           what the target says it stored and the cars executed (launchday.ledger)
    faults.jsonl           planned, applied, verified, undone
    metrics.jsonl          the target's /metrics, once a second
    verdict.json           held, breached or inconclusive, with reasons
    report.html            for people
    junit.xml              for CI

Logs are append-only and flushed line by line: a run that was killed can still be judged.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# With `as`: whoever reads a record finds what it holds here.
from launchday.counts import Arrivals as Arrivals
from launchday.counts import Cell as Cell
from launchday.counts import CellKey as CellKey
from launchday.counts import HealthSample as HealthSample
from launchday.counts import arrivals_from_json, cell_from_json, health_from_json
from launchday.errors import RecordError
from launchday.rate_curve import Phase, RateCurve

SCHEMA = 2
_READABLE = (1, SCHEMA)
RUN_FILE = "run.json"
FAULTS_FILE = "faults.jsonl"
METRICS_FILE = "metrics.jsonl"
VERDICT_FILE = "verdict.json"
REPORT_FILE = "report.html"
JUNIT_FILE = "junit.xml"
COMPARISON_FILE = "comparison.html"
SAMPLES_GLOB = "samples-*.jsonl"


@dataclass(frozen=True)
class Rules:
    """What must hold for the verdict `held`.

    `objective_seconds`: a 2xx answer within it is goodput, and the p99 of admitted requests must
    not exceed it. `capacity_rps`: known capacity of the target, or None. `goodput_share`: share of
    min(offered, capacity) that must stay during overload. `recovery_seconds`: allowed time from
    the end of the overload until goodput is back. `steady_share`: share of requests that must be
    `ok` before anything happens.

    The run is inconclusive unless the generator was honest (launchday.runs.validity):
    `kept_share`: share of arrivals that it must start in time. `lateness_p99_seconds`: what the
    p99 of the lateness of a second must not exceed, in all but `late_seconds_share` of the
    seconds. `unstarted_share`: share of arrivals that may be dropped or lost.
    """

    objective_seconds: float = 0.5
    capacity_rps: float | None = None
    goodput_share: float = 0.9
    recovery_seconds: float = 10.0
    kept_share: float = 0.98
    steady_share: float = 0.99
    lateness_p99_seconds: float = 0.01
    late_seconds_share: float = 0.25
    unstarted_share: float = 0.001


@dataclass(frozen=True)
class RunInfo:
    """What is in run.json. Times with `unix` are seconds since the epoch."""

    run_id: str
    scenario: str
    target: str
    started_unix: float
    title: str = ""
    experiment: str | None = None
    rules: Rules = field(default_factory=Rules)
    toxiproxy: str | None = None
    argv: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    ended_unix: float | None = None
    ended: str = "running"
    schema: int = SCHEMA


@dataclass(frozen=True)
class Schedule:
    """What the generator intended: written by each worker before its first arrival.

    `points` are those of the curve: (seconds, arrivals per second); `expected_arrivals` is this
    worker's share of the whole schedule as it was when the worker began. Where workers may come
    and go: `arrivals_of_all` is the whole schedule of all of them, None if it was not counted
    (then the shares add up to it), and `workers` how many shared it then: 0 in the log of a
    master, which makes no arrivals itself.
    """

    epoch_unix: float
    duration_seconds: float
    phases: tuple[Phase, ...]
    points: tuple[tuple[float, float], ...]
    expected_arrivals: int
    seed: int
    request_timeout_seconds: float
    late_after_seconds: float
    arrivals_of_all: int | None = None
    workers: int = 1

    @property
    def curve(self) -> RateCurve:
        """The planned rate of arrivals."""
        return RateCurve(self.points, self.phases)


@dataclass
class Record:
    """A run directory, read; `health` has the samples of each worker by its name."""

    path: Path
    info: RunInfo
    schedules: list[Schedule]
    finished_workers: int
    cells: dict[CellKey, Cell]
    arrivals: dict[int, Arrivals]
    faults: list[dict[str, Any]]
    metrics: list[dict[str, Any]]
    crashes: int = 0
    crash_words: list[str] = field(default_factory=list)
    health: dict[str, list[HealthSample]] = field(default_factory=dict)

    @property
    def schedule(self) -> Schedule | None:
        """The first worker's schedule (all workers share curve, epoch and seed), or None."""
        return self.schedules[0] if self.schedules else None

    @property
    def complete(self) -> bool:
        """Whether every worker wrote its last line."""
        return 0 < len(self.schedules) == self.finished_workers


class AppendLog:
    """An append-only file of JSON lines, flushed after each line.

    Raises:
        RecordError: the file cannot be opened or written (full disk, permissions).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # Unbuffered: a line is with the system or it is an error here, never at closing time.
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise _cannot_write(path, error) from error

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one line and hand it to the operating system."""
        self.write_bytes(json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def write_bytes(self, lines: bytes) -> None:
        """Append lines that are JSON already, at once, and hand them to the operating system."""
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def close(self) -> None:
        """Close the file; what was written stays."""
        self._file.close()


def _cannot_write(path: Path, error: OSError) -> RecordError:
    full = "free some space or " if error.errno == errno.ENOSPC else ""
    return RecordError(f"cannot write {path}: {error.strerror}; {full}choose another directory")


def write_atomically(path: Path, text: str) -> None:
    """Write a whole file so that a reader sees the old or the new one, never half of it."""
    temporary = path.with_suffix(path.suffix + ".tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _cannot_write(path, error) from error
    move(temporary, path)


def move(source: Path, path: Path) -> None:
    """Give a file that is whole its name, atomically."""
    try:
        os.replace(source, path)
    except OSError as error:
        raise _cannot_write(path, error) from error


def create_run_directory(runs: Path, run_id: str) -> Path:
    """Make the directory of a new run.

    Raises:
        RecordError: it cannot be made, or a run of that name exists.
    """
    path = runs / run_id
    try:
        path.mkdir(parents=True, exist_ok=False)
    except OSError as error:
        raise _cannot_write(path, error) from error
    return path


def write_run_info(path: Path, info: RunInfo) -> None:
    """Write run.json atomically."""
    write_atomically(path / RUN_FILE, json.dumps(asdict(info), indent=2) + "\n")


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log; a torn last line (the writer was killed) is passed over."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            try:
                yield json.loads(line)
            except ValueError as error:
                if not line.endswith("\n"):
                    return
                raise RecordError(f"{path} line {number} is no JSON: {error}") from error


def read_run_info(path: Path) -> RunInfo:
    """Read run.json.

    Raises:
        RecordError: the directory holds no readable run.json, or one of another schema.
    """
    try:
        data = json.loads((path / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(
            f"{path} is no run directory: no readable {RUN_FILE} ({error})"
        ) from error
    if not isinstance(data, dict):
        raise RecordError(f"{path / RUN_FILE} is damaged: no JSON object")
    if data.get("schema") not in _READABLE:
        raise RecordError(
            f"{path} has record schema {data.get('schema')!r}; this launchday reads "
            f"{' and '.join(map(str, _READABLE))}"
        )
    try:
        rules = Rules(**data.pop("rules"))
        return RunInfo(**{**data, "rules": rules, "argv": tuple(data["argv"])})
    except (AttributeError, KeyError, TypeError) as error:
        raise RecordError(f"{path / RUN_FILE} is damaged: {error}") from error


def read_record(path: Path, *, metrics: bool = True) -> Record:
    """Read a run directory, also one whose run was killed.

    Without `metrics` those stay on the disk: of an hour they are more than all the rest.

    Raises:
        RecordError: it is no run directory, or a log is damaged before its last line.
    """
    record = Record(path, read_run_info(path), [], 0, {}, {}, [], [])
    try:
        for samples in sorted(path.glob(SAMPLES_GLOB)):
            for line in read_lines(samples):
                absorb_samples_line(record, line, worker_of(samples))
        record.faults = [_with(f, "event", "unix") for f in read_lines(path / FAULTS_FILE)]
        if metrics:
            record.metrics = [_with(m, "unix", "values") for m in read_lines(path / METRICS_FILE)]
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    return record


def _with(line: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The line, if it is an object with these keys.

    Raises:
        TypeError, KeyError: it is not.
    """
    for key in keys:
        _ = line[key]
    return line


def worker_of(samples: Path) -> str:
    """The name of the worker that wrote this samples log: its number, or "master"."""
    return samples.stem.removeprefix("samples-")


def absorb_samples_line(record: Record, line: Mapping[str, Any], worker: str = "0") -> None:
    """Add one line of a samples log to what `record` holds."""
    if line["kind"] == "schedule":
        schedule = schedule_from_json(line)
        _ = schedule.curve  # a curve that makes no sense is found here
        record.schedules.append(schedule)
    elif line["kind"] == "end":
        record.finished_workers += 1
        record.crashes += line["crashes"]
    elif line["kind"] == "crash":
        record.crash_words.append(line["words"])
    elif line["kind"] == "health":
        record.health.setdefault(worker, []).append(health_from_json(line))
    else:
        for row in line["cells"]:
            key = (row["second"], row["endpoint"], row["class"], row["outcome"])
            record.cells.setdefault(key, Cell()).merge(cell_from_json(row))
        for row in line["arrivals"]:
            arrivals = arrivals_from_json(row)
            record.arrivals.setdefault(row["second"], Arrivals()).merge(arrivals)


def schedule_to_json(schedule: Schedule) -> dict[str, Any]:
    """The first line of a samples log."""
    return {"kind": "schedule", **asdict(schedule)}


def schedule_from_json(line: Mapping[str, Any]) -> Schedule:
    """The inverse of `schedule_to_json`."""
    fields = {k: v for k, v in line.items() if k != "kind"}
    fields["phases"] = tuple(Phase(**phase) for phase in fields["phases"])
    fields["points"] = tuple((t, rate) for t, rate in fields["points"])
    return Schedule(**fields)
