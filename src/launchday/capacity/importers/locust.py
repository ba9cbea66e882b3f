"""Locust's `--csv` history (`…_stats_history.csv`): a load for each number of users held."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from statistics import fmean, stdev

from scipy.stats import t as student

from launchday.capacity.importers.delimited import rows_of
from launchday.capacity.importers.plateaus import SHORTEST_SECONDS, warm_up_of
from launchday.capacity.importers.quantiles import choose_quantile
from launchday.capacity.importers.source import Source, number
from launchday.capacity.steady import why_unsteady
from launchday.capacity.steps import LeftOut, Objective, Step

_WINDOW_SECONDS = 10
"""Locust's percentiles of a moment are those of the ten seconds before it."""

_FEWEST_WINDOWS = 5
_QUANTILE = re.compile(r"(\d{1,2}(?:\.\d+)?)%")
_NEEDED = (
    "Timestamp",
    "User Count",
    "Name",
    "Total Request Count",
    "Total Failure Count",
    "Total Average Response Time",
)


@dataclass(frozen=True)
class _Moment:
    """One row `Aggregated`: totals since Locust's start, the quantile of the last 10 s."""

    line: int
    time: float
    users: float
    requests: float
    failures: float
    busy_seconds: float
    quantile_seconds: float | None


def read_locust(
    sources: Sequence[Source], objective: Objective, chosen: Mapping[str, str]
) -> tuple[list[Step], list[LeftOut]]:
    """Rows `Aggregated` of the same user count that follow each other are a load.

    Throughput, failures and the mean are differences of Locust's totals, so they are exact;
    in flight is X · R, for users pause. The quantile is the geometric mean of those of windows of
    10 s that do not overlap, its interval Student's t on their logarithms, with five windows or
    more. The beginning (a fifth, 2 to 30 s) is left out; loads below 10 s are left out whole.

    Raises:
        RecordError: a column is missing, a cell cannot be, time goes back.
    """
    steps: list[Step] = []
    left_out: list[LeftOut] = []
    for source in sources:
        for users, group in groupby(_moments(source, objective), key=lambda m: m.users):
            found = _step(source, users, list(group), objective) if users > 0 else None
            if isinstance(found, Step):
                steps.append(found)
            elif found is not None:
                left_out.append(found)
    return steps, left_out


def _moments(source: Source, objective: Objective) -> list[_Moment]:
    rows = rows_of(source)
    _, header = next(rows, (1, [""]))
    places = {name.strip(): index for index, name in enumerate(header)}
    _refuse_missing(source, places)
    there = {
        float(f"{float(match[1]) / 100:.8g}"): name
        for name in places
        if (match := _QUANTILE.fullmatch(name))
    }
    quantile = choose_quantile(
        source, there, objective, "; set PERCENTILES_TO_REPORT in the locustfile to have it"
    )
    moments: list[_Moment] = []
    for line, cells in rows:
        if cells[places["Name"]].strip() != "Aggregated":
            continue
        moments.append(_moment(source, line, cells, places, quantile))
        if len(moments) > 1 and moments[-1].time < moments[-2].time:
            raise source.refused("column 'Timestamp': the time goes back", line)
    if not moments:
        raise source.refused("there is no row 'Aggregated' in it")
    return moments


def _refuse_missing(source: Source, places: Mapping[str, int]) -> None:
    missing = [name for name in _NEEDED if name not in places]
    if not missing:
        return
    advice = ""
    if "Request Count" in places or "Occurrences" in places:
        advice = "; give the file that ends in _stats_history.csv"
    seen = ", ".join(repr(name) for name in places)
    raise source.refused(
        f"it has no column {', '.join(repr(name) for name in missing)}; its columns are "
        f"{seen[:400]}{advice}"
    )


def _moment(
    source: Source, line: int, cells: Sequence[str], places: Mapping[str, int], quantile: str | None
) -> _Moment:
    def read(name: str) -> float:
        return number(source, line, name, cells[places[name]])

    requests, mean = read("Total Request Count"), read("Total Average Response Time") / 1000
    percentile = None
    if quantile is not None and cells[places[quantile]].strip() != "N/A":
        percentile = read(quantile) / 1000
    return _Moment(
        line=line,
        time=read("Timestamp"),
        users=read("User Count"),
        requests=requests,
        failures=read("Total Failure Count"),
        busy_seconds=requests * mean,
        quantile_seconds=percentile,
    )


def _step(
    source: Source, users: float, moments: Sequence[_Moment], objective: Objective
) -> Step | LeftOut:
    where = f"{source.at(moments[0].line)} to {moments[-1].line} ({users:g} users)"
    held = moments[-1].time - moments[0].time
    if held < SHORTEST_SECONDS:
        words = f"held for {held:g} s only: at least {SHORTEST_SECONDS} s are needed"
        return LeftOut(where, words)
    moments = _after_reset(moments)
    begin = moments[0].time + warm_up_of(held)
    kept = [moment for moment in moments if moment.time >= begin]
    seconds = kept[-1].time - kept[0].time if kept else 0.0
    done = kept[-1].requests - kept[0].requests if kept else 0.0
    busy = kept[-1].busy_seconds - kept[0].busy_seconds if kept else 0.0
    if seconds <= 0 or done < 1 or busy <= 0:
        return LeftOut(where, "nothing was finished after the warm-up")
    errors = min(1.0, (kept[-1].failures - kept[0].failures) / done)
    rate, mean = done / seconds, busy / done
    latency, low, high = _quantile(kept, moments[0].time)
    asks_mean = objective.quantile is None
    return Step(
        source=where,
        offered_rps=rate,
        goodput_rps=rate * (1 - errors),
        throughput_rps=rate,
        concurrency=rate * mean,
        mean_seconds=mean,
        latency_seconds=mean if asks_mean else latency,
        seconds=seconds,
        requests=round(done),
        error_share=errors,
        low_seconds=None if asks_mean else low,
        high_seconds=None if asks_mean else high,
        unsteady=_why_unsteady(kept, rate, mean),
    )


def _after_reset(moments: Sequence[_Moment]) -> Sequence[_Moment]:
    """Totals that fall were set to 0 (`--reset-stats`): only what follows can be subtracted."""
    last = 0
    for index in range(1, len(moments)):
        before, now = moments[index - 1], moments[index]
        if now.requests < before.requests or now.failures < before.failures:
            last = index
    return moments[last:]


def _quantile(
    kept: Sequence[_Moment], begin: float
) -> tuple[float | None, float | None, float | None]:
    """The quantile and its interval from windows that lie within the load and do not overlap."""
    logs: list[float] = []
    due = begin + _WINDOW_SECONDS
    for moment in kept:
        if moment.time >= due and moment.quantile_seconds:
            logs.append(math.log(moment.quantile_seconds))
            due = moment.time + _WINDOW_SECONDS
    if not logs:
        return None, None, None
    middle = fmean(logs)
    if len(logs) < _FEWEST_WINDOWS:
        return math.exp(middle), None, None
    reach = float(student.ppf(0.975, len(logs) - 1)) * stdev(logs) / math.sqrt(len(logs))
    # Beyond e^700 is beyond any float: windows that differ so much tell nothing.
    high = math.exp(middle + reach) if middle + reach < 700 else math.inf
    return math.exp(middle), math.exp(middle - reach), high


def _why_unsteady(kept: Sequence[_Moment], rate: float, mean: float) -> tuple[str, ...]:
    """What is in flight in each second is not known: only the rates are judged."""
    rates = [
        (after.requests - before.requests) / (after.time - before.time)
        for before, after in pairwise(kept)
        if after.time > before.time
    ]
    return why_unsteady(rates, rates, (), rate * mean, rate, mean)
