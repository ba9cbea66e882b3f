"""What clients saw, counted per second and written to the record once a second."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from launchday.outcomes import Outcome
from launchday.record import (
    AppendLog,
    Arrivals,
    Cell,
    CellKey,
    Schedule,
    cell_to_json,
    schedule_to_json,
)


class SampleBook:
    """Counts requests by the second in which they were *meant* to start.

    So for each second offered = the sum over all outcomes, and a slow answer is charged to the
    second whose arrival waited for it. The file is made when the schedule begins; without a path
    nothing is written and only totals are kept.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._log: AppendLog | None = None
        self._cells: dict[CellKey, Cell] = {}
        self._arrivals: dict[int, Arrivals] = {}
        self.totals = Arrivals()
        self.crashes = 0

    def begin(self, schedule: Schedule) -> None:
        """Write the schedule, before the first arrival."""
        if self._path:
            self._log = AppendLog(self._path)
            self._log.write(schedule_to_json(schedule))

    def arrival(self, due_seconds: float, *, started: bool, late: bool = False) -> None:
        """Count one arrival that was started (in time or late) or dropped."""
        change = Arrivals(1, int(started), int(late), int(not started))
        self._arrivals.setdefault(int(due_seconds), Arrivals()).merge(change)
        self.totals.merge(change)

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
    ) -> None:
        """Count one finished request; `meant_seconds` is when it was meant to start."""
        key = (int(meant_seconds), endpoint, criticality, outcome.value)
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = Cell()
        cell.count += 1
        cell.answers_503 += answered_503
        cell.retry_after += answered_503 and retry_after
        cell.response_bytes += response_bytes
        cell.corrected.record(corrected_seconds)
        cell.service.record(service_seconds)

    def crash(self, words: str) -> None:
        """Note that the code of a journey raised; the first one is kept in words."""
        self.crashes += 1
        if self._log and self.crashes == 1:
            self._log.write({"kind": "crash", "words": words})

    def flush(self) -> None:
        """Write what was counted since the last flush; lines add up when read."""
        if self._log and (self._cells or self._arrivals):
            cells = [cell_to_json(key, cell) for key, cell in sorted(self._cells.items())]
            arrivals = [{"second": s, **asdict(a)} for s, a in sorted(self._arrivals.items())]
            self._log.write({"kind": "samples", "cells": cells, "arrivals": arrivals})
        self._cells.clear()
        self._arrivals.clear()

    def end(self) -> None:
        """Write what is left and the last line, which says that nothing is missing."""
        self.flush()
        if self._log:
            self._log.write({"kind": "end", **asdict(self.totals), "crashes": self.crashes})
        self.close()

    def close(self) -> None:
        """Stop writing; without `end` the record says that it is not complete."""
        if self._log:
            self._log.close()
            self._log = None
