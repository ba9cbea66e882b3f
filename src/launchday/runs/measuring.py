"""What an expectation is about, measured over some seconds of a record: pure functions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

from launchday.chaos.hypothesis import Expectation, Measure
from launchday.counts import Cell
from launchday.histogram import LogHistogram
from launchday.outcomes import ERRORS, REFUSED, Outcome
from launchday.record import Record

LEAST_REQUESTS = 10
LEAST_SCRAPED_SHARE = 0.8
_LONGEST_GAP_SECONDS = 2.5  # one scrape a second, and one may take 2 s
_SERVED = frozenset({Outcome.OK, Outcome.SLOW})
_WITHOUT_LATENCY = REFUSED | {Outcome.CONNECTION}
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Measured:
    """A value and how many requests (or scrapes) it is of; without one, `why_not` says why.

    `out_of` is how many requests there were (default 0: as many as `count`), since a latency is of
    some of them only: of those that were let in, say. `seconds` is how long a counter was watched.
    """

    value: float | None
    count: int = 0
    why_not: str = ""
    out_of: int = 0
    seconds: float = 0.0


_COUNTED: Mapping[str, Callable[[str, Cell], int]] = {
    Measure.SUCCESS_SHARE: lambda outcome, cell: cell.count if outcome in _SERVED else 0,
    Measure.GOOD_SHARE: lambda outcome, cell: cell.count if outcome == Outcome.OK else 0,
    Measure.FAILED_SHARE: lambda outcome, cell: cell.count if outcome in ERRORS else 0,
    Measure.SERVER_ERROR_SHARE: lambda outcome, cell: (
        cell.count if outcome == Outcome.SERVER_ERROR else 0
    ),
    Measure.CLIENT_ERROR_SHARE: lambda outcome, cell: (
        cell.count if outcome == Outcome.CLIENT_ERROR else 0
    ),
    Measure.TIMEOUT_SHARE: lambda outcome, cell: cell.count if outcome == Outcome.TIMEOUT else 0,
    Measure.ANSWERS_503_SHARE: lambda _, cell: cell.answers_503,
    Measure.RETRY_SHARE: lambda _, cell: cell.retries,
}
_QUANTILES: Mapping[str, tuple[float, Callable[[str], bool]]] = {
    Measure.P50_SECONDS: (0.5, lambda outcome: outcome not in _WITHOUT_LATENCY),
    Measure.P95_SECONDS: (0.95, lambda outcome: outcome not in _WITHOUT_LATENCY),
    Measure.P99_SECONDS: (0.99, lambda outcome: outcome not in _WITHOUT_LATENCY),
    Measure.SLOWEST_SECONDS: (1.0, lambda _: True),
    Measure.FAILED_P95_SECONDS: (0.95, lambda outcome: outcome in ERRORS),
}


def measure(
    record: Record, expectation: Expectation, seconds: range, *, least: int = LEAST_REQUESTS
) -> Measured:
    """Measure what `expectation` is about in whole `seconds` of the schedule.

    No value if fewer than `least` requests (default 10) were meant to start then, if fewer have the
    latency that is asked for (but for `failed_p95_seconds`: of few failures it says no less than of
    many), or if the record is whole and one of the endpoints is nowhere in it.

    For metrics, none if they were not scraped then, or have no such series. A gauge needs a value
    in 80 % of the seconds; where others are missing it has one all the same, since it can only be
    worse: see `why_not`. A counter is watched from the last scrape before the seconds to the last
    one in them, and needs both, and the first one in them; a series that was not there at first
    began at 0.
    """
    if expectation.of_metrics:
        return _of_metrics(record, expectation, seconds)
    cells = [
        (outcome, cell)
        for (second, endpoint, _, outcome), cell in record.cells.items()
        if second in seconds and expectation.concerns(endpoint)
    ]
    count = sum(cell.count for _, cell in cells)
    unknown = _unknown_endpoints(record, expectation)
    why = "; ".join(([f"{count or 'no'} requests, too few"] if count < least else []) + unknown)
    if why:
        return Measured(None, count, why)
    if expectation.measure in _COUNTED:
        counted = _COUNTED[expectation.measure]
        return Measured(sum(counted(outcome, cell) for outcome, cell in cells) / count, count)
    return _latency(expectation.measure, cells, count, least)


def _unknown_endpoints(record: Record, expectation: Expectation) -> list[str]:
    """What is wrong with the endpoints, in words: a typo beside a good name must not go unseen."""
    # While a run lasts, an endpoint may not have had its turn.
    if not expectation.endpoints or not record.complete:
        return []
    there = {endpoint for _, endpoint, _, _ in record.cells}
    return [
        f"the run has no endpoint {pattern!r}"
        for pattern in expectation.endpoints
        if not any(fnmatchcase(endpoint, pattern) for endpoint in there)
    ]


def _latency(kind: str, cells: Iterable[tuple[str, Cell]], count: int, least: int) -> Measured:
    quantile, counts = _QUANTILES[kind]
    latencies = LogHistogram.merged(cell.corrected for outcome, cell in cells if counts(outcome))
    total = latencies.total
    if kind == Measure.FAILED_P95_SECONDS:
        return Measured(latencies.quantile(quantile) or 0.0, total, out_of=count)
    if total < least:
        why = f"only {total}" if total else "none"
        return Measured(None, total, f"{why} of {count} requests let in, too few", count)
    return Measured(latencies.quantile(quantile), total, out_of=count)


@dataclass(frozen=True)
class _Scrape:
    """What one scrape says of the series that are asked for; None: it failed, or one is NaN."""

    second: float
    values: Mapping[str, float] | None


def _of_metrics(record: Record, expectation: Expectation, seconds: range) -> Measured:
    schedule = record.schedule
    if schedule is None or not len(seconds):
        return Measured(None, 0, "nothing was seen")
    at = [(float(line["unix"]) - schedule.epoch_unix, line) for line in record.metrics]
    wanted = series(expectation.metric)
    scrapes = [
        _Scrape(second, _values(line, wanted))
        for second, line in at
        if seconds.start - _LONGEST_GAP_SECONDS <= second < seconds.stop
    ]
    inside = [scrape for scrape in scrapes if scrape.second >= seconds.start]
    if not inside:
        return Measured(None, 0, "the target's metrics were not scraped")
    if not any(scrape.values for scrape in inside):
        failed = sum(scrape.values is None for scrape in inside)
        why = f"{failed} of {len(inside)} scrapes of the target's metrics failed or said NaN"
        return Measured(None, 0, why if failed else "the target has no such metric")
    if expectation.measure in (Measure.METRIC_HIGHEST, Measure.METRIC_LOWEST):
        return _of_gauge(expectation.measure, inside, seconds)
    before = [s for s in scrapes if s.second < seconds.start and s.values is not None]
    return _of_counter(expectation.measure, before[-1:], inside, seconds)


def _of_gauge(kind: str, scrapes: list[_Scrape], seconds: range) -> Measured:
    good = [(scrape.second, sum(scrape.values.values())) for scrape in scrapes if scrape.values]
    if len(good) < max(1, int(LEAST_SCRAPED_SHARE * len(seconds))):
        return Measured(None, len(good), f"a value in only {len(good)} of {len(seconds)} s")
    values = [value for _, value in good]
    borders = [seconds.start, *(second for second, _ in good), seconds.stop]
    gap = max(later - earlier for earlier, later in pairwise(borders))
    missing = len(scrapes) - len(good)
    why = [f"{missing} of {len(scrapes)} scrapes failed or lack it"] if missing else []
    why += [f"no value for {gap:.1f} s"] if gap > _LONGEST_GAP_SECONDS else []
    value = max(values) if kind == Measure.METRIC_HIGHEST else min(values)
    return Measured(value, len(good), "; ".join(why))


def _of_counter(
    kind: str, before: list[_Scrape], scrapes: list[_Scrape], seconds: range
) -> Measured:
    good = [scrape for scrape in scrapes if scrape.values is not None]
    readings = [scrape.values for scrape in [*before, *good] if scrape.values is not None]
    names = {name for values in readings for name in values}
    why = _why_no_increase(before, scrapes, seconds)
    if not why and not names <= readings[-1].keys():
        why = "the series vanished"
    if why:
        return Measured(None, len(good), why)
    increase = sum(_increase([values.get(name) for values in readings]) for name in names)
    watched = scrapes[-1].second - before[0].second
    value = increase if kind == Measure.METRIC_INCREASE else increase / watched
    failed = len(scrapes) - len(good)
    why = f"{failed} of {len(scrapes)} scrapes failed or said NaN" if failed else ""
    return Measured(value, len(good), why, seconds=watched)


def _why_no_increase(before: list[_Scrape], scrapes: list[_Scrape], seconds: range) -> str:
    first, last = scrapes[0], scrapes[-1]
    if not before:
        return "no scrape right before tells where the counter began"
    if first.values is None or first.second > seconds.start + _LONGEST_GAP_SECONDS:
        return "the first scrape is missing"
    if last.values is None or last.second < seconds.stop - _LONGEST_GAP_SECONDS:
        return "the last scrape is missing"
    return ""


def _increase(values: Iterable[float | None]) -> float:
    """How much one series grew: from 0 if it was not there at first, as its first count was."""
    first, *later = values
    increase, last = 0.0, first or 0.0
    for value in later:
        if value is not None:
            # A counter that fell began anew: what it shows was counted since.
            increase += value - last if value >= last else value
            last = value
    return increase


def _values(
    line: Mapping[str, Any], wanted: tuple[str, frozenset[tuple[str, str]]]
) -> dict[str, float] | None:
    if "error" in line:
        return None
    name, labels = wanted
    found = {
        key: float(value)
        for key, value in line["values"].items()
        if key.startswith(name) and (there := series(key))[0] == name and labels <= there[1]
    }
    return None if any(math.isnan(value) for value in found.values()) else found


def series(text: str) -> tuple[str, frozenset[tuple[str, str]]]:
    """`name{label="value"}` as the name and its labels."""
    name, _, labels = text.partition("{")
    return name, frozenset(_LABEL.findall(labels))
