"""The target's own metrics of a record, second by second: rates of counters, values of gauges."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from launchday.record import Record, Schedule

Labels = Mapping[str, str]
_LABEL = re.compile(r'(\w+)="([^"]*)"')
# Between scrapes further apart nothing is known: the target was too busy to answer, or away.
_LONGEST_GAP_SECONDS = 5.0


class TargetMetrics:
    """The series of some metrics, on the seconds of the schedule."""

    def __init__(self, record: Record, schedule: Schedule, names: frozenset[str]) -> None:
        self.seconds = math.ceil(schedule.duration_seconds)
        self._series: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(dict)
        for line in record.metrics:
            at = float(line["unix"]) - schedule.epoch_unix
            for key, value in line["values"].items():
                name = key.partition("{")[0]
                if name in names and math.isfinite(value):
                    self._series[name].setdefault(key, []).append((at, float(value)))

    def rates(self, name: str, *by: str, **wanted: str) -> dict[str, list[float | None]]:
        """Growth per second of the counters called `name`, summed up by the labels `by`."""
        return self._summed(name, by, wanted, counters=True)

    def gauges(self, name: str, *by: str, **wanted: str) -> dict[str, list[float | None]]:
        """The last value of each second, summed up by the labels `by`."""
        return self._summed(name, by, wanted, counters=False)

    def _summed(
        self, name: str, by: Sequence[str], wanted: Labels, *, counters: bool
    ) -> dict[str, list[float | None]]:
        result: dict[str, list[float | None]] = {}
        for key, samples in self._series[name].items():
            labels = dict(_LABEL.findall(key))
            if any(labels.get(label) != value for label, value in wanted.items()):
                continue
            values = _growth(samples, self.seconds) if counters else _last(samples, self.seconds)
            group = " ".join(labels.get(label, "") for label in by)
            result[group] = added(result[group], values) if group in result else values
        return result


def added(one: Sequence[float | None], other: Sequence[float | None]) -> list[float | None]:
    """The sums; None where one is."""
    pairs = zip(one, other, strict=True)
    return [None if a is None or b is None else a + b for a, b in pairs]


def divided(one: Sequence[float | None], other: Sequence[float | None]) -> list[float | None]:
    """The quotients; None where one is, or the divisor is 0."""
    pairs = zip(one, other, strict=True)
    return [None if a is None or not b else a / b for a, b in pairs]


def _growth(samples: Sequence[tuple[float, float]], seconds: int) -> list[float | None]:
    borders = [_value_at(samples, float(second)) for second in range(seconds + 1)]
    growth = [None if a is None or b is None else b - a for a, b in pairwise(borders)]
    # A counter that fell began anew: its process did.
    return [None if g is None or g < 0 else g for g in growth]


def _value_at(samples: Sequence[tuple[float, float]], at: float) -> float | None:
    """Between two scrapes a counter is taken to grow evenly."""
    right = bisect_right(samples, (at, math.inf))
    if right and samples[right - 1][0] == at:
        return samples[right - 1][1]
    if right == 0 or right == len(samples):
        return None
    (t0, v0), (t1, v1) = samples[right - 1], samples[right]
    if t1 - t0 > _LONGEST_GAP_SECONDS or v1 < v0:
        return None
    return v0 + (v1 - v0) * (at - t0) / (t1 - t0)


def _last(samples: Sequence[tuple[float, float]], seconds: int) -> list[float | None]:
    values: list[float | None] = [None] * seconds
    for at, value in samples:
        if 0 <= at < seconds:
            values[int(at)] = value
    return values
