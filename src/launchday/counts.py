"""What a samples log counts, second by second: requests, arrivals, the generator's own health."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from launchday.histogram import LogHistogram

CellKey = tuple[int, str, str, str]
"""second, endpoint, class, outcome"""


@dataclass
class Cell:
    """Requests of one second, endpoint, class and outcome.

    `answers_503` of them were answered 503, whatever the outcome; `retry_after` of those said when
    to come back. `retries` of them repeated a request that had failed or was refused.
    """

    count: int = 0
    answers_503: int = 0
    retry_after: int = 0
    response_bytes: int = 0
    corrected: LogHistogram = field(default_factory=LogHistogram)
    service: LogHistogram = field(default_factory=LogHistogram)
    retries: int = 0

    def merge(self, other: Cell) -> None:
        """Add what `other` counted."""
        self.count += other.count
        self.answers_503 += other.answers_503
        self.retry_after += other.retry_after
        self.response_bytes += other.response_bytes
        self.retries += other.retries
        self.corrected.merge(other.corrected)
        self.service.merge(other.service)


@dataclass
class Arrivals:
    """Arrivals of one second: scheduled = started + dropped + lost once the second is over.

    `late` and `queued` say something about some of the started ones: started later than the
    limit, and waited for a user in the queue. `lost` are those of a worker that went away.
    `lateness` holds how late each started one was.
    """

    scheduled: int = 0
    started: int = 0
    late: int = 0
    dropped: int = 0
    queued: int = 0
    lost: int = 0
    lateness: LogHistogram = field(default_factory=LogHistogram)

    def merge(self, other: Arrivals) -> None:
        """Add what `other` counted."""
        self.scheduled += other.scheduled
        self.started += other.started
        self.late += other.late
        self.dropped += other.dropped
        self.queued += other.queued
        self.lost += other.lost
        self.lateness.merge(other.lateness)


@dataclass(frozen=True)
class HealthSample:
    """How one generator process was, about once a second; None is what the system does not tell.

    `second` counts from the start of the schedule. `cpu_share` is the CPU time of all its threads
    by the time that passed, so 1.0 is one core. `loop_stall_seconds`: how late a timer of 50 ms
    fired, at worst. `lateness_*` and `dropped`: of the arrivals counted since the sample before.
    `ports_used` is an upper bound: what this process holds open, and what the machine has in
    TIME_WAIT. `clock_step_seconds`: how far the wall clock moved against the monotonic one.
    `sockets_refused`: requests for which the generator's own system had no socket or port.
    """

    second: int
    cpu_share: float
    loop_stall_seconds: float
    lateness_p50_seconds: float | None
    lateness_p99_seconds: float | None
    dropped: int
    open_files: int | None
    open_files_limit: int | None
    ports_used: int | None
    ports: int | None
    clock_step_seconds: float
    gc_pause_seconds: float
    sockets_refused: int = 0


def cell_to_json(key: CellKey, cell: Cell) -> dict[str, Any]:
    """One row of a samples line."""
    second, endpoint, criticality, outcome = key
    return {
        "second": second,
        "endpoint": endpoint,
        "class": criticality,
        "outcome": outcome,
        "count": cell.count,
        "answers_503": cell.answers_503,
        "retry_after": cell.retry_after,
        "bytes": cell.response_bytes,
        "corrected": cell.corrected.to_json(),
        "service": cell.service.to_json(),
        "retries": cell.retries,
    }


def cell_from_json(row: Mapping[str, Any]) -> Cell:
    """The inverse of `cell_to_json`; records of launchday 0.1 have no retries."""
    return Cell(
        row["count"],
        row["answers_503"],
        row["retry_after"],
        row["bytes"],
        LogHistogram.from_json(row["corrected"]),
        LogHistogram.from_json(row["service"]),
        row.get("retries", 0),
    )


def arrivals_to_json(arrivals: Arrivals) -> dict[str, Any]:
    """The arrivals of one second, as a samples line holds them."""
    return {**vars(arrivals), "lateness": arrivals.lateness.to_json()}


def arrivals_from_json(row: Mapping[str, Any]) -> Arrivals:
    """The inverse of `arrivals_to_json`; records of launchday 0.1 have the first four only."""
    return Arrivals(
        row["scheduled"],
        row["started"],
        row["late"],
        row["dropped"],
        row.get("queued", 0),
        row.get("lost", 0),
        LogHistogram.from_json(row.get("lateness", {})),
    )


def health_to_json(sample: HealthSample) -> dict[str, Any]:
    """A line of kind "health"."""
    return {"kind": "health", **asdict(sample)}


def health_from_json(line: Mapping[str, Any]) -> HealthSample:
    """The inverse of `health_to_json`."""
    return HealthSample(**{name: value for name, value in line.items() if name != "kind"})
