"""What k6 writes: `--out csv`, `--out json` (requests one by one) and `--summary-export`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from launchday.capacity.importers.delimited import rows_of
from launchday.capacity.importers.k6_summary import summary_step
from launchday.capacity.importers.samples import ERROR, GOOD, SHED, Samples, steps_of
from launchday.capacity.importers.source import Source, number
from launchday.capacity.steps import LeftOut, Objective, Step

_DURATION, _USERS, _DROPPED = "http_req_duration", "vus", "dropped_iterations"
_WANTED = frozenset({_DURATION, _USERS, _DROPPED})
_CSV_COLUMNS = ("metric_name", "timestamp", "metric_value")
_OUTCOME_TAGS = ("status", "expected_response")
_UNITS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9))

_Point = tuple[int, str, str, str, Mapping[str, str]]
"""Line, metric, time, value, tags."""


def read_k6(
    sources: Sequence[Source], objective: Objective, chosen: Mapping[str, str]
) -> tuple[list[Step], list[LeftOut]]:
    """A load for each number of VUs held, else for each rate held; a summary is one load.

    An answer that k6 did not expect (4xx, 5xx, none at all) is an error, 429 is shed. Dropped
    iterations were intended: a load in which there are many is no steady one.

    Raises:
        RecordError: a file is not of k6, or a cell cannot be.
    """
    steps: list[Step] = []
    left_out: list[LeftOut] = []
    for source in sources:
        summary = _summary(source)
        if summary is not None:
            steps.append(summary_step(source, summary, objective))
            continue
        points = _of_json(source) if source.text.lstrip()[:1] == "{" else _of_csv(source)
        found, short = steps_of(source, _samples(source, points), objective)
        steps += found
        left_out += short
    return steps, left_out


def _summary(source: Source) -> dict[str, Any] | None:
    """The summary that the whole file is, or None: points are one JSON object a line."""
    if source.text.lstrip()[:1] != "{":
        return None
    try:
        found = json.loads(source.text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "metrics" in found else None


def _of_csv(source: Source) -> Iterator[_Point]:
    rows = rows_of(source)
    _, header = next(rows, (1, [""]))
    places = {name.strip(): index for index, name in enumerate(header)}
    if any(name not in places for name in _CSV_COLUMNS):
        raise source.refused(
            f"it is no output of k6: {', '.join(_CSV_COLUMNS)} are needed in its header"
        )
    metric, time, value = (places[name] for name in _CSV_COLUMNS)
    tags = [(name, places[name]) for name in _OUTCOME_TAGS if name in places]
    for line, row in rows:
        if row[metric] in _WANTED:
            yield line, row[metric], row[time], row[value], {name: row[i] for name, i in tags}


def _of_json(source: Source) -> Iterator[_Point]:
    for line, text in enumerate(source.text.split("\n"), start=1):
        if '"Point"' not in text or not any(f'"{name}"' in text for name in _WANTED):
            if line == 1 and '"Metric"' not in text and '"Point"' not in text:
                raise source.refused("it is no output of k6", line)
            continue
        try:
            point = json.loads(text)
            metric, data = point["metric"], point["data"]
            time, value, tags = data["time"], data["value"], data.get("tags") or {}
            known = {name: str(tags[name]) for name in _OUTCOME_TAGS if name in tags}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise source.refused("this is no whole point of k6", line) from None
        if metric in _WANTED:
            yield line, metric, str(time), str(value), known


def _samples(source: Source, points: Iterator[_Point]) -> Samples:
    ends: list[float] = []
    latencies: list[float] = []
    outcomes: list[int] = []
    levels: dict[int, float] = {}
    missed: dict[int, float] = {}
    for line, metric, time, text, tags in points:
        at = _seconds(source, line, time)
        value = number(source, line, metric, text)
        if metric == _USERS:
            levels[int(at)] = value
        elif metric == _DROPPED:
            missed[int(at)] = missed.get(int(at), 0.0) + value
        else:
            ends.append(at)
            latencies.append(value / 1000)
            outcomes.append(_outcome(source, line, tags))
    if not ends:
        raise source.refused(f"there is not one {_DURATION} in it: no HTTP request of k6")
    return Samples(
        ends=np.array(ends),
        latencies=np.array(latencies),
        outcomes=np.array(outcomes, dtype=np.int8),
        levels=levels,
        missed=missed,
    )


def _outcome(source: Source, line: int, tags: Mapping[str, str]) -> int:
    status, expected = tags.get("status", ""), tags.get("expected_response", "")
    if status == "429":
        return SHED
    if expected in ("true", "false"):
        return GOOD if expected == "true" else ERROR
    if not status:
        raise source.refused(
            "neither status nor expected_response of a request is there: failures would be taken "
            "for answers; leave both in k6's systemTags",
            line,
        )
    return GOOD if 200 <= number(source, line, "status", status) < 400 else ERROR


def _seconds(source: Source, line: int, time: str) -> float:
    """Unix seconds of a time as k6 writes it: Unix s, ms, µs or ns, or RFC 3339."""
    if "-" in time[1:] and "T" in time:
        try:
            moment = datetime.fromisoformat(time)
        except ValueError:
            raise source.refused(f"{time[:40]!r} is no time", line) from None
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    value = number(source, line, "timestamp", time)
    for limit, unit in _UNITS:
        if value < limit:
            return value / unit
    raise source.refused(f"column 'timestamp': {time[:40]!r} is too large", line)
