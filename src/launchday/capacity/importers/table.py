"""A table of loads, one a row: concurrency, throughput, latency (`--from csv`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from launchday.capacity.importers.columns import (
    DEFAULT_UNIT,
    USERS,
    Column,
    Columns,
    find_columns,
)
from launchday.capacity.importers.delimited import is_header, rows_of
from launchday.capacity.importers.quantiles import choose_quantile
from launchday.capacity.importers.row_groups import Row, group_samples
from launchday.capacity.importers.source import Source, number, positive
from launchday.capacity.steps import LeftOut, Objective, Step

_LITTLE_WITHIN = 0.05
_WRONG_UNIT = 100.0
_HIGH = 0.9
_MAY_BE_ZERO = frozenset({"goodput"}) | frozenset(
    f"{what}{how}" for what in ("error", "shed") for how in ("", "s", "_share", "_percent", "_rps")
)
_NEEDED = (
    "needed are a column of the throughput (throughput, tput, rps, x) and one of what was in "
    "flight (concurrency, n, users, threads, load) or of the mean latency (mean_ms)"
)


@dataclass(frozen=True)
class _Table:
    source: Source
    columns: Columns
    quantile: Column | None
    rows: tuple[Row, ...]
    copies: Mapping[int, int]
    objective: Objective

    @property
    def asks_mean(self) -> bool:
        """Whether the objective is one of the mean."""
        return self.objective.quantile is None

    @property
    def quantile_is_high(self) -> bool:
        """Whether the quantile that was asked for lies above any usual mean."""
        return (self.objective.quantile or 0.0) >= _HIGH

    @property
    def names_users(self) -> bool:
        """Whether the column of concurrency is of users, who may pause, not of requests."""
        column = self.columns.by_field.get("concurrency")
        return column is not None and column.header.strip().lower().replace(" ", "_") in USERS


def read_loads(
    sources: Sequence[Source], objective: Objective, chosen: Mapping[str, str]
) -> tuple[list[Step], list[LeftOut]]:
    """Every row of every table is a step; rows a second apart are grouped by concurrency.

    Without concurrency N = X · R, without a mean latency R = N / X (Little). A column of users,
    threads or clients is replaced by N = X · R where the mean latency is there and says less:
    users pause, requests in flight do not. Latencies without a unit in the header are milliseconds.

    Raises:
        RecordError: a table is ambiguous, lacks a column, or a cell cannot be.
        SettingsError: a chosen column does not exist.
    """
    steps: list[Step] = []
    left_out: list[LeftOut] = []
    for source in sources:
        table = _read(source, objective, chosen)
        rows, short = group_samples(source, table.rows)
        if rows == table.rows:  # samples of a second are often alike, loads are not
            rows, short = _without_copies(table)
        left_out += [*_unused(table), *short]
        _refuse_wrong_unit(table)
        _refuse_mean_above(table)
        steps += [_step(table, row) for row in rows]
    return steps, left_out


def _read(source: Source, objective: Objective, chosen: Mapping[str, str]) -> _Table:
    rows = rows_of(source)
    line, header = next(rows, (1, [""]))
    if not is_header(header):
        raise source.refused(f"has no header, its first row is numbers; {_NEEDED}", line)
    columns = find_columns(source, header, chosen)
    _refuse_missing(source, header, columns)
    quantile = choose_quantile(source, columns.quantiles, objective)
    read: list[Row] = []
    first: dict[tuple[str, ...], int] = {}
    copies: dict[int, int] = {}
    for line, cells in rows:
        read.append(_row(source, line, cells, columns, quantile))
        if (before := first.setdefault(tuple(cells), line)) != line:
            copies[line] = before
    if not read:
        raise source.refused("there is a header but no load below it")
    return _Table(source, columns, quantile, tuple(read), copies, objective)


def _without_copies(table: _Table) -> tuple[tuple[Row, ...], list[LeftOut]]:
    """Twice the same row would look like twice the evidence."""
    left_out = [
        LeftOut(table.source.at(line), f"it is line {before} again: a measurement counts once")
        for line, before in table.copies.items()
    ]
    return tuple(row for row in table.rows if row.line not in table.copies), left_out


def _refuse_missing(source: Source, header: Sequence[str], columns: Columns) -> None:
    there = columns.by_field
    if "throughput" in there and ("concurrency" in there or "mean" in there):
        return
    seen = ", ".join(repr(title.strip()) for title in header)
    raise source.refused(
        f"its columns are {seen[:400]}; {_NEEDED}: rename them or choose with "
        "--column throughput=NAME"
    )


def _row(
    source: Source, line: int, cells: Sequence[str], columns: Columns, quantile: Column | None
) -> Row:
    values = {
        field: _value(source, line, field, cells, column)
        for field, column in columns.by_field.items()
        if field != "time"
    }
    if quantile is not None:
        values["quantile"] = _value(source, line, "quantile", cells, quantile)
    time = columns.by_field.get("time")
    return Row(line, values, cells[time.index] if time else "")


def _value(source: Source, line: int, field: str, cells: Sequence[str], column: Column) -> float:
    cell = cells[column.index].strip()
    if field.endswith("_share") and cell.endswith("%"):
        return _share(source, line, column, cell[:-1], 100)
    if field.endswith(("_share", "_percent")):
        return _share(source, line, column, cell, 100 if field.endswith("_percent") else 1)
    read = number if field in _MAY_BE_ZERO else positive
    value = read(source, line, column.header, cell) * column.seconds_per_unit
    if field == "replicas" and value != int(value):
        raise source.refused(f"column {column.header!r}: {cell!r} is no whole number", line)
    return value


def _share(source: Source, line: int, column: Column, cell: str, whole: int) -> float:
    value = number(source, line, column.header, cell)
    if value > whole:
        more = "; name it error_percent if it is per cent" if whole == 1 else ""
        raise source.refused(
            f"column {column.header!r}: {cell!r} is more than all of them ({whole}){more}", line
        )
    return value / whole


def _refuse_wrong_unit(table: _Table) -> None:
    """Little's law shows a unit that is wrong by a thousand."""
    mean = table.columns.by_field.get("mean")
    ratios = [
        r.values["throughput"] * r.values["mean"] / r.values["concurrency"]
        for r in table.rows
        if "mean" in r.values and "concurrency" in r.values
    ]
    if not ratios or mean is None:
        return
    ratio = median(ratios)
    if ratio >= _WRONG_UNIT or (ratio <= 1 / _WRONG_UNIT and not table.names_users):
        raise table.source.refused(
            f"column {mean.header!r}: throughput x latency is {float(f'{ratio:.3g}'):,g} times the "
            "concurrency, so its unit is wrong: say it in the header, as mean_s or mean_ms (without"
            f" one, {DEFAULT_UNIT} is meant)"
        )


def _refuse_mean_above(table: _Table) -> None:
    """A mean above a high quantile takes rare outliers; in most rows it is another unit."""
    mean, high = table.columns.by_field.get("mean"), table.quantile
    if high is None or not table.quantile_is_high or (mean is None and table.names_users):
        return
    above = sum(_least_mean(row.values) > row.values["quantile"] for row in table.rows)
    if above * 2 > len(table.rows):
        name = repr(mean.header) if mean else "concurrency by throughput"
        raise table.source.refused(
            f"the mean ({name}) is above the quantile ({high.header!r}) in {above} of "
            f"{len(table.rows)} rows, so one of the units is wrong: say them in the headers, as "
            f"mean_s or p99_ms (without one, {DEFAULT_UNIT} is meant)"
        )


def _least_mean(values: Mapping[str, float]) -> float:
    """The mean as it stands there, or by Little's law, which holds within 5 %."""
    if "mean" in values:
        return values["mean"]
    return values["concurrency"] / values["throughput"] / (1 + _LITTLE_WITHIN)


def _unused(table: _Table) -> list[LeftOut]:
    """A misspelt header must not vanish without a word."""
    names = ", ".join(repr(name) for name in table.columns.unused)
    where = table.source.path.name
    return [LeftOut(where, f"columns that mean nothing here: {names[:400]}")] if names else []


def _step(table: _Table, row: Row) -> Step:
    values = row.values
    throughput = values["throughput"]
    concurrency, mean, note, unsteady = _in_flight(table, values)
    requests = values.get("requests", throughput * values.get("seconds", 0.0))
    errors = _lost_share(table, row, "error", requests)
    shed = _lost_share(table, row, "shed", requests)
    if errors + shed > 1:
        raise table.source.refused("more requests failed or were shed than there were", row.line)
    return Step(
        source=f"{table.source.at(row.line)}{row.note}{note}",
        offered_rps=values.get("offered", throughput),
        goodput_rps=min(throughput, values.get("goodput", throughput * (1 - errors - shed))),
        throughput_rps=throughput,
        concurrency=concurrency,
        mean_seconds=mean,
        latency_seconds=mean if table.asks_mean else values.get("quantile"),
        seconds=values.get("seconds", 0.0),
        requests=round(requests),
        shed_share=shed,
        error_share=errors,
        replicas=round(values.get("replicas", 1)),
        unsteady=unsteady,
    )


def _in_flight(
    table: _Table, values: Mapping[str, float]
) -> tuple[float, float, str, tuple[str, ...]]:
    """N and R, what to say of where they come from, and whether Little's law is broken."""
    throughput, named, mean = values["throughput"], values.get("concurrency"), values.get("mean")
    if named is None:
        return throughput * values["mean"], values["mean"], " (in flight = X · R)", ()
    if mean is None:
        return named, named / throughput, " (mean latency = N / X)", ()
    flight = throughput * mean
    if abs(flight - named) <= _LITTLE_WITHIN * named:
        return named, mean, "", ()
    if flight < named and table.names_users:
        return flight, mean, f" ({named:g} users, in flight = X · R)", ()
    return (
        named,
        mean,
        "",
        (
            f"Little's law is off by {abs(flight / named - 1):.0%}: {named:g} in flight, but "
            f"{throughput:g} requests/s of {mean * 1000:.3g} ms make {flight:.3g}",
        ),
    )


def _lost_share(table: _Table, row: Row, what: str, requests: float) -> float:
    """The share of requests that failed or were shed, however it is written."""
    values = row.values
    for field in (f"{what}_share", f"{what}_percent"):
        if field in values:
            return values[field]
    if f"{what}_rps" in values:
        return min(1.0, values[f"{what}_rps"] / values["throughput"])
    count = values.get("errors" if what == "error" else "shed", 0.0)
    if count == 0:
        return 0.0
    if requests <= 0:
        raise table.source.refused(
            f"{count:g} {what}s, but of how many? Add a column requests or seconds, or give "
            f"{what}_rate",
            row.line,
        )
    if count > requests * 1.01:
        raise table.source.refused(f"{count:g} {what}s of {requests:g} requests", row.line)
    return min(1.0, count / requests)
