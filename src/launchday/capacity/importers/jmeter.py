"""JMeter's JTL, as CSV (its default) or XML: a load for each number of threads held."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from xml.etree import ElementTree

import numpy as np

from launchday.capacity.importers.delimited import is_header, rows_of
from launchday.capacity.importers.samples import ERROR, GOOD, SHED, Samples, steps_of
from launchday.capacity.importers.source import Source, number
from launchday.capacity.steps import LeftOut, Objective, Step

_NEEDED = ("timeStamp", "elapsed", "success")
_TRANSACTION = "Number of samples in transaction"
_TRUTH = {"true": True, "false": False, "TRUE": True, "FALSE": False}
_TOO_MANY = "429"
_LATEST_MS = 1e14
_XML = re.compile(r"\s*<")
_TIME_ADVICE = "set jmeter.save.saveservice.timestamp_format=ms"

_Request = tuple[int, str, str, bool, str, str]
"""Line, start in ms, elapsed ms, success, response code, active threads (may be empty)."""


def read_jmeter(
    sources: Sequence[Source], objective: Objective, chosen: Mapping[str, str]
) -> tuple[list[Step], list[LeftOut]]:
    """Seconds with the same `allThreads` are a load; without that column, with the same rate.

    A sample that failed (an assertion too) is an error, 429 is shed. Rows that only sum up a
    transaction are left out, for their requests are there too. In XML nested samples are.

    Raises:
        RecordError: a column is missing, or a cell cannot be.
    """
    steps: list[Step] = []
    left_out: list[LeftOut] = []
    for source in sources:
        requests = _of_xml(source) if _XML.match(source.text) else _of_table(source)
        found, short = steps_of(source, _samples(source, requests), objective)
        steps += found
        left_out += short
    return steps, left_out


def _of_table(source: Source) -> Iterator[_Request]:
    rows = rows_of(source)
    line, header = next(rows, (1, [""]))
    places = {name.strip(): index for index, name in enumerate(header)}
    missing = [name for name in _NEEDED if name not in places]
    if missing:
        advice = ""
        if not is_header(header):
            advice = "; set jmeter.save.saveservice.print_field_names=true"
        seen = ", ".join(repr(name) for name in places)
        raise source.refused(
            f"it has no column {', '.join(map(repr, missing))}; its columns are "
            f"{seen[:400]}{advice}",
            line,
        )
    start, elapsed, success = (places[name] for name in _NEEDED)
    code, message, threads = (
        places.get(name) for name in ("responseCode", "responseMessage", "allThreads")
    )
    for line, row in rows:
        if message is not None and row[message].startswith(_TRANSACTION):
            continue
        good = row[success]
        if good not in _TRUTH:
            raise source.refused(f"column 'success': {good[:40]!r} is not true or false", line)
        answer = "" if code is None else row[code]
        users = "" if threads is None else row[threads]
        yield line, row[start], row[elapsed], _TRUTH[good], answer, users


def _of_xml(source: Source) -> Iterator[_Request]:
    """Samples right below `testResults`; those inside them are parts of them."""
    depth = 0
    file = io.BytesIO(_without_declaration(source.text).encode("utf-8", "replace"))
    try:
        for event, element in ElementTree.iterparse(file, events=("start", "end")):
            if event == "start":
                _refuse_other_xml(source, element, depth)
                depth += 1
                continue
            depth -= 1
            if depth == 1 and element.tag in ("httpSample", "sample"):
                get = element.attrib.get
                good = get("s", "").lower() == "true"
                yield 1, get("ts", ""), get("t", ""), good, get("rc", ""), get("na", "")
            if depth <= 1:
                element.clear()
    except ElementTree.ParseError as error:
        raise source.refused(f"is no whole XML: {error}") from None


def _refuse_other_xml(source: Source, element: ElementTree.Element, depth: int) -> None:
    if depth == 0 and element.tag != "testResults":
        raise source.refused(f"is XML, but no JTL of JMeter: it begins with <{element.tag[:40]}>")


def _without_declaration(text: str) -> str:
    """The text is decoded already; an encoding that it names would be applied twice."""
    return re.sub(r"^\s*<\?xml[^>]*\?>", "", text)


def _samples(source: Source, requests: Iterator[_Request]) -> Samples:
    starts: list[float] = []
    elapsed: list[float] = []
    outcomes: list[int] = []
    levels: dict[int, float] = {}
    last, users = "", 0.0
    for line, start, took, good, code, threads in requests:
        begun = _milliseconds(source, line, "timeStamp", start)
        lasted = _milliseconds(source, line, "elapsed", took)
        starts.append(begun)
        elapsed.append(lasted)
        outcomes.append(GOOD if good else SHED if code == _TOO_MANY else ERROR)
        if threads != last:
            users, last = number(source, line, "allThreads", threads), threads
        if threads:
            levels[int((begun + lasted) / 1000)] = users
    if not starts:
        raise source.refused("there is not one sample in it")
    took_ms = np.array(elapsed)
    return Samples(
        ends=(np.array(starts) + took_ms) / 1000,
        latencies=took_ms / 1000,
        outcomes=np.array(outcomes, dtype=np.int8),
        levels=levels,
        missed={},
    )


def _milliseconds(source: Source, line: int, column: str, cell: str) -> float:
    """Whole milliseconds, nearly always: the quick way first, for there are millions."""
    if cell.isascii() and cell.isdigit() and len(cell) <= 14:
        return float(cell)
    if column == "timeStamp" and re.search(r"\d[-/:]\d", cell):
        raise source.refused(f"column {column!r}: {cell[:40]!r} is a date: {_TIME_ADVICE}", line)
    value = number(source, line, column, cell)
    if value > _LATEST_MS:
        raise source.refused(f"column {column!r}: {cell[:40]!r} is too large", line)
    return value
