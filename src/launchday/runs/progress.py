"""What is happening right now, read from the growing record."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from launchday import timeline
from launchday.counts import Arrivals
from launchday.record import (
    METRICS_FILE,
    SAMPLES_GLOB,
    Record,
    RunInfo,
    Schedule,
    absorb_samples_line,
    read_run_info,
    worker_of,
)
from launchday.runs.validity import lateness_p99

_WINDOW_SECONDS = 3
_METRICS_KEPT = 600  # scrapes; each holds every series of the target


@dataclass(frozen=True)
class Progress:
    """One look at a run. Rates are means of the last complete seconds.

    `lateness_p99_seconds`, `generator_cpu_share` (of the busiest process, in cores) and
    `not_started` (arrivals dropped or lost, of the whole run) say how far to trust the rest.
    """

    title: str
    phase: str
    elapsed_seconds: float
    left_seconds: float
    offered_rps: float = 0.0
    admitted_rps: float = 0.0
    goodput_rps: float = 0.0
    shed_rps: float = 0.0
    failed_rps: float = 0.0
    p99_seconds: float | None = None
    fault: str | None = None
    lateness_p99_seconds: float | None = None
    generator_cpu_share: float | None = None
    not_started: int = 0


@dataclass
class LiveRecord:
    """Follows the samples logs of a run, and the target's metrics, and keeps what they say."""

    path: Path
    record: Record = field(init=False)
    _files: dict[Path, IO[str]] = field(default_factory=dict)
    _torn: dict[Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        info: RunInfo = read_run_info(self.path)
        self.record = Record(self.path, info, [], 0, {}, {}, [], [])

    def poll(self) -> None:
        """Read what was appended since the last call."""
        for path in sorted(self.path.glob(SAMPLES_GLOB)):
            for line in self._new_lines(path):
                absorb_samples_line(self.record, json.loads(line), worker_of(path))
        if (metrics := self.path / METRICS_FILE).exists():
            new = [json.loads(line) for line in self._new_lines(metrics)]
            self.record.metrics = [*self.record.metrics, *new][-_METRICS_KEPT:]

    def _new_lines(self, path: Path) -> list[str]:
        if path not in self._files:
            self._files[path] = path.open(encoding="utf-8")
        text = self._torn.get(path, "") + self._files[path].read()
        *lines, self._torn[path] = text.split("\n")
        return lines

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def progress(self, schedule: Schedule, now_unix: float, fault: str | None) -> Progress:
        """A look at the run at `now_unix`."""
        elapsed = now_unix - schedule.epoch_unix
        # A second is complete once its slowest request has timed out and was flushed.
        until = int(elapsed - schedule.request_timeout_seconds - 1)
        w = timeline.window(self.record, range(max(0, until - _WINDOW_SECONDS), max(0, until)))
        return Progress(
            title=self.record.info.title,
            phase=_phase_at(schedule, elapsed),
            elapsed_seconds=max(0.0, elapsed),
            left_seconds=max(0.0, schedule.duration_seconds - elapsed),
            offered_rps=w.rate(w.offered),
            admitted_rps=w.rate(w.admitted_count),
            goodput_rps=w.rate(w.goodput),
            shed_rps=w.rate(w.shed),
            failed_rps=w.rate(w.errors),
            p99_seconds=w.admitted.quantile(0.99),
            fault=fault,
            lateness_p99_seconds=self._lateness_p99(int(elapsed) - 1),
            generator_cpu_share=max(
                (samples[-1].cpu_share for samples in self.record.health.values()), default=None
            ),
            not_started=sum(a.dropped + a.lost for a in self.record.arrivals.values()),
        )

    def _lateness_p99(self, until: int) -> float | None:
        recent = Arrivals()
        for second in range(until - _WINDOW_SECONDS, until):
            recent.merge(self.record.arrivals.get(second, Arrivals()))
        return lateness_p99(recent)


def _phase_at(schedule: Schedule, elapsed: float) -> str:
    for phase in schedule.phases:
        if phase.start_seconds <= elapsed < phase.end_seconds:
            return phase.name
    if 0 <= elapsed < schedule.duration_seconds:
        return "between"
    return "starting" if elapsed < 0 else "draining"
