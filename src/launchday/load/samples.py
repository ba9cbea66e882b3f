"""What clients saw, counted per second and written to the record once a second."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from launchday.counts import (
    Arrivals,
    Cell,
    CellKey,
    HealthSample,
    arrivals_to_json,
    cell_to_json,
    health_to_json,
)
from launchday.load.cells import CellBook
from launchday.load.retry import GaveUp
from launchday.outcomes import Outcome
from launchday.record import AppendLog, Schedule, schedule_to_json

# Counted in 0.3 ms: arrivals that fall due meanwhile are late by no more.
_MOST_NOTED = 512
_Noted = tuple[float, bool, bool, bool, float]


class Follower(Protocol):
    """Who is told what a book has written."""

    def arrivals(self, arrivals: Arrivals) -> None:
        """Arrivals that were counted since the flush before."""

    def cell(self, key: CellKey, cell: Cell) -> None:
        """Requests that were counted since the flush before."""

    def health(self, sample: HealthSample) -> None:
        """How the generator was in the last second."""

    def gave_up(self, reason: GaveUp) -> None:
        """A client that could have asked again and did not."""


def _go_on() -> None:
    """Make no pause."""


class SampleBook:
    """Counts requests by the second in which they were *meant* to start.

    So for each second offered = the sum over all outcomes, and a slow answer is charged to the
    second whose arrival waited for it. The file is made when the schedule begins; without a path
    nothing is written and only totals are kept.

    `pause` is called after each cell that a flush writes: to write a busy second at once would
    hold up the arrivals that are due meanwhile (launchday.load.breath). A flush that is killed in
    a pause loses nothing: the next one writes what is left.
    """

    def __init__(self, path: Path | None = None, pause: Callable[[], None] = _go_on) -> None:
        self._path = path
        self._pause = pause
        self._unwritten: deque[tuple[CellKey, Cell]] = deque()
        self._log: AppendLog | None = None
        self._noted: list[_Noted] = []
        self._arrivals: dict[int, Arrivals] = {}
        self._totals = Arrivals()
        self._follower: Follower | None = None
        self.cells = CellBook()
        self.crashes = 0

    @property
    def totals(self) -> Arrivals:
        """All arrivals so far; its `lateness` is complete after each flush."""
        self._count()
        return self._totals

    def begin(self, schedule: Schedule) -> None:
        """Write the schedule, before the first arrival."""
        if self._path:
            self._log = AppendLog(self._path)
            self._log.write(schedule_to_json(schedule))

    def follow(self, follower: Follower) -> None:
        """Tell `follower` from now on what each flush writes."""
        self._follower = follower

    def arrival(
        self,
        due_seconds: float,
        *,
        started: bool,
        late: bool = False,
        queued: bool = False,
        lateness_seconds: float = 0.0,
    ) -> None:
        """Count one arrival that was started (perhaps late, perhaps from the queue) or dropped.

        `lateness_seconds`: how long after its due time a user began with it.
        """
        self._noted.append((due_seconds, started, late, queued, lateness_seconds))
        if len(self._noted) >= _MOST_NOTED:
            self._count()

    def lost(self, due_seconds: float, count: int = 1) -> None:
        """Count arrivals of a worker that went away: nobody can say what became of them."""
        for counted in (self._totals, self._in_second(due_seconds)):
            counted.scheduled += count
            counted.lost += count

    def _count(self) -> None:
        noted, self._noted = self._noted, []
        by_second: defaultdict[int, list[_Noted]] = defaultdict(list)
        for each in noted:
            by_second[int(each[0])].append(each)
        for second, group in by_second.items():
            counted = self._in_second(second)
            started = [each for each in group if each[1]]
            late, queued = sum([each[2] for each in started]), sum([each[3] for each in started])
            counted.lateness.record_all([each[4] for each in started])
            for to in (self._totals, counted):
                to.scheduled += len(group)
                to.started += len(started)
                to.dropped += len(group) - len(started)
                to.late += late
                to.queued += queued

    def _in_second(self, due_seconds: float) -> Arrivals:
        second = int(due_seconds)
        counted = self._arrivals.get(second)
        if counted is None:
            counted = self._arrivals[second] = Arrivals()
        return counted

    def request(
        self,
        meant_seconds: float,
        endpoint: str,
        criticality: str,
        outcome: Outcome,
        *,
        corrected_seconds: float,
        service_seconds: float,
        answered_503: bool,
        retry_after: bool,
        response_bytes: int,
        retry: bool = False,
    ) -> None:
        """Count one finished request; `meant_seconds` is when it was meant to start."""
        self.cells.request(
            meant_seconds,
            endpoint,
            criticality,
            outcome,
            corrected_seconds=corrected_seconds,
            service_seconds=service_seconds,
            answered_503=answered_503,
            retry_after=retry_after,
            response_bytes=response_bytes,
            retry=retry,
        )

    def crash(self, words: str) -> None:
        """Note that the code of a journey raised; the first one is kept in words."""
        self.crashes += 1
        if self.crashes == 1:
            self._write({"kind": "crash", "words": words})

    def health(self, sample: HealthSample) -> None:
        """Write how the generator was in the last second."""
        self._write(health_to_json(sample))
        if self._follower:
            self._follower.health(sample)

    def flush(self) -> Arrivals:
        """Write what was counted since the last flush; lines add up when read.

        Returns the arrivals among it, for `Health.sample`.
        """
        arrivals = self._flush_arrivals()
        self._unwritten.extend(sorted(self.cells.take().items()))
        while self._unwritten:
            key, cell = self._unwritten.popleft()
            self._write({"kind": "samples", "cells": [cell_to_json(key, cell)], "arrivals": []})
            if self._follower:
                self._follower.cell(key, cell)
            self._pause()
        return arrivals

    def _flush_arrivals(self) -> Arrivals:
        self._count()
        by_second, self._arrivals = self._arrivals, {}
        flushed = Arrivals()
        for counted in by_second.values():
            flushed.merge(counted)
        if by_second:
            rows = [{"second": s, **arrivals_to_json(a)} for s, a in sorted(by_second.items())]
            self._write({"kind": "samples", "cells": [], "arrivals": rows})
        self._totals.lateness.merge(flushed.lateness)
        if self._follower:
            self._follower.arrivals(flushed)
        return flushed

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._log:
            self._log.write(line)

    def end(self) -> None:
        """Write what is left and the last line, which says that nothing is missing."""
        self.flush()
        totals = arrivals_to_json(self.totals)
        self._write({"kind": "end", **totals, "crashes": self.crashes})
        self.close()

    def close(self) -> None:
        """Stop writing; without `end` the record says that it is not complete."""
        if self._log:
            self._log.close()
            self._log = None
