"""Rows a second apart are samples of a load, not loads: they are grouped by concurrency."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby, pairwise
from statistics import fmean, median

from launchday.capacity.importers.plateaus import SHORTEST_SECONDS, warm_up_of
from launchday.capacity.importers.source import Source
from launchday.capacity.steps import LeftOut

_SAMPLE_SECONDS = 2.0
_SUMS = frozenset({"errors", "shed", "requests"})


@dataclass(frozen=True)
class Row:
    """A row of a table: its line, its values by field, its time as written, a note."""

    line: int
    values: Mapping[str, float]
    time: str = ""
    note: str = ""


def group_samples(source: Source, rows: Sequence[Row]) -> tuple[tuple[Row, ...], list[LeftOut]]:
    """The rows as they are, unless they lie two seconds apart or less (or last no longer).

    Then rows of the same concurrency that follow each other become one, without the first fifth
    of them: counts are added, rates averaged, the mean latency weighted by throughput, and of
    quantiles the median is taken, for they cannot be merged. Groups below 10 s are left out.

    Raises:
        RecordError: they are such samples, but without a concurrency to group them by.
    """
    spacing = _spacing(rows)
    if spacing is None or spacing > _SAMPLE_SECONDS:
        return tuple(rows), []
    if "concurrency" not in rows[0].values:
        raise source.refused(
            f"its rows are {spacing:g} s apart: such samples are not loads, and there is no "
            "column of the concurrency to group them by"
        )
    grouped: list[Row] = []
    left_out: list[LeftOut] = []
    for level, found in groupby(rows, key=lambda row: row.values["concurrency"]):
        members = list(found)
        kept = members[math.ceil(warm_up_of(len(members) * spacing) / spacing) :]
        if len(members) * spacing < SHORTEST_SECONDS or not kept:
            where = f"{source.at(members[0].line)} to {members[-1].line}"
            words = f"{level:g} in flight for {len(members) * spacing:g} s only"
            left_out.append(LeftOut(where, f"{words}: at least {SHORTEST_SECONDS} s are needed"))
        else:
            grouped.append(_together(kept, spacing))
    return tuple(grouped), left_out


def _spacing(rows: Sequence[Row]) -> float | None:
    """Seconds from row to row, by their time or by how long each lasted; None: no such thing."""
    if len(rows) < 3:
        return None
    if "seconds" in rows[0].values:
        return median(row.values["seconds"] for row in rows)
    times = [_seconds(row.time) for row in rows]
    known = [time for time in times if time is not None]
    if len(known) < len(times):
        return None
    unit = 1000.0 if known[0] > 1e11 else 1.0
    gaps = [(after - before) / unit for before, after in pairwise(known)]
    return median(gaps) if min(gaps) > 0 else None


def _seconds(time: str) -> float | None:
    try:
        value = float(time)
    except ValueError:
        try:
            moment = datetime.fromisoformat(time.strip())
        except ValueError:
            return None
        value = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    return value if math.isfinite(value) else None


def _together(rows: Sequence[Row], spacing: float) -> Row:
    rates = [row.values["throughput"] for row in rows]
    values = {field: _merged(field, rows, rates) for field in rows[0].values}
    values["seconds"] = len(rows) * spacing
    note = f" to {rows[-1].line}"
    if "quantile" in values:
        note += " (median of the samples' quantiles)"
    return replace(rows[0], values=values, note=note)


def _merged(field: str, rows: Sequence[Row], rates: Sequence[float]) -> float:
    values = [row.values[field] for row in rows]
    if field in _SUMS:
        return math.fsum(values)
    if field == "mean":
        return fmean(values, rates)
    return median(values) if field == "quantile" else fmean(values)
