"""The target's metrics at the edges of a stretch of time: of a long file few lines are parsed."""

from __future__ import annotations

import bisect
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launchday.errors import RecordError
from launchday.record import METRICS_FILE

_UNIX = re.compile(rb'^\{\s*"unix"\s*:\s*([0-9.eE+-]+)')
_LINES_BETWEEN = 12
_STARTED = "process_start_time_seconds"
_COUNTERS = re.compile(r"^[^{]*(?:_total|_sum|_count)(?:\{|$)")


@dataclass(frozen=True)
class Reading:
    """What the metrics say of a stretch of `seconds`.

    `rises`: by how much each counter grew. `gauges`: the mean of the first and the last value of
    every other series.
    """

    seconds: float
    rises: Mapping[str, float]
    gauges: Mapping[str, float]


class Scrapes:
    """metrics.jsonl of a record. Empty if there is none; a torn last line is passed over.

    Raises:
        RecordError: the file cannot be read, or a line that is needed is damaged.
    """

    def __init__(self, record: Path) -> None:
        self._path = record / METRICS_FILE
        self._at: list[float] = []
        self._where: list[int] = []
        if not self._path.exists():
            return
        try:
            self._index()
        except OSError as error:
            raise RecordError(f"cannot read {self._path}: {error.strerror}") from error

    def _index(self) -> None:
        where = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    found = _UNIX.match(line)
                    if found is None:
                        raise RecordError(f"{self._path} line {number} is no line of metrics")
                    self._at.append(float(found[1]))
                    self._where.append(where)
                where += len(line)

    def read(self, start_unix: float, end_unix: float) -> Reading | None:
        """What happened between these times; None where fewer than two scrapes worked."""
        first, last = bisect.bisect_left(self._at, start_unix), bisect.bisect(self._at, end_unix)
        lines = range(first, last)
        begin = self._good(lines)
        end = self._good(reversed(lines))
        if begin is None or end is None or begin[0] >= end[0]:
            return None
        (i, before), (j, after) = begin, end
        values = [before, after]
        if _restarted(before, after) or _STARTED not in after:
            # Who does not say when it started may have done so twice: then some lines must do.
            stride = 1 if _restarted(before, after) else max(1, (j - i) // _LINES_BETWEEN)
            between = (self._values(line) for line in range(i + 1, j, stride))
            values[1:1] = [each for each in between if each]
        names = [name for name in after if _COUNTERS.match(name)]
        rises = {name: _rise([each.get(name) for each in values]) for name in names}
        gauges = {
            name: (before.get(name, value) + value) / 2
            for name, value in after.items()
            if name not in rises
        }
        return Reading(self._at[j] - self._at[i], rises, gauges)

    def _good(self, lines: range | Iterator[int]) -> tuple[int, dict[str, float]] | None:
        return next(((line, found) for line in lines if (found := self._values(line))), None)

    def _values(self, line: int) -> dict[str, float]:
        """The values of one scrape, without those that are no number; empty if it failed."""
        with self._path.open("rb") as file:
            file.seek(self._where[line])
            try:
                found: dict[str, Any] = json.loads(file.readline())
                pairs = {str(k): float(v) for k, v in found["values"].items()}
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise RecordError(f"{self._path} line {line + 1} is damaged: {error}") from error
        return {name: value for name, value in pairs.items() if math.isfinite(value)}


def _restarted(before: Mapping[str, float], after: Mapping[str, float]) -> bool:
    if before.get(_STARTED) != after.get(_STARTED):
        return True
    return any(
        value < before[name]
        for name, value in after.items()
        if name in before and _COUNTERS.match(name)
    )


def _rise(values: list[float | None]) -> float:
    """How much a counter grew; one that was not there, or fell, began at 0."""
    rise, last = 0.0, values[0] or 0.0
    for value in values[1:]:
        if value is not None:
            rise += value - last if value >= last else value
            last = value
    return rise
