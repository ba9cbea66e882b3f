"""Every query of every board, asked of a live Prometheus over the window of a run.

    python -m tests.compose.board_queries URL START END      (Unix times)

Exit code 1 when Prometheus refuses one, or one has no number in the whole window.
"""

from __future__ import annotations

import json
import math
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.dashboards.promql import asked_by, filled_in

BOARDS = Path(__file__).resolve().parents[2] / "dashboards/grafana"
POINTS = 1000  # about as many as a panel is wide


@dataclass(frozen=True)
class Query:
    """What Grafana asks for, and where it is seen first."""

    place: str
    expression: str
    instant: bool = False
    label: str = ""  # of a variable, whose `expression` is a selector

    def address(self, start: int, end: int) -> str:
        """Path and parameters of the question over that window."""
        text = filled_in(self.expression, f"{end - start}s")
        if self.label:
            span = {"match[]": text, "start": str(start), "end": str(end)}
            return f"/api/v1/label/{self.label}/values?{urllib.parse.urlencode(span)}"
        if self.instant:
            return f"/api/v1/query?{urllib.parse.urlencode({'query': text, 'time': str(end)})}"
        step = max(1, math.ceil((end - start) / POINTS))
        span = {"query": text, "start": str(start), "end": str(end), "step": f"{step}s"}
        return f"/api/v1/query_range?{urllib.parse.urlencode(span)}"


def queries_of(board: dict[str, Any]) -> Iterator[Query]:
    """Those of the variables, the annotations and the panels."""
    title = board["title"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            asked, label = asked_by(variable)
            place = f"{title}, variable {variable['name']}"
            if variable["definition"].startswith("label_values"):
                yield Query(place, asked, label=label)
            else:
                yield Query(place, asked, instant=True)
    for mark in board["annotations"]["list"]:
        if "target" in mark:
            yield Query(f"{title}, annotation {mark['name']}", mark["target"]["expr"])
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            place = f"{title}, {panel['title']}"
            yield Query(place, target["expr"], bool(target.get("instant")))


def all_queries() -> list[Query]:
    """Each once, however many boards and panels ask it."""
    boards = (json.loads(path.read_text("utf-8")) for path in sorted(BOARDS.glob("*.json")))
    found: dict[tuple[str, bool, str], Query] = {}
    for query in (each for board in boards for each in queries_of(board)):
        found.setdefault((query.expression, query.instant, query.label), query)
    return list(found.values())


def has_a_number(data: Any) -> bool:
    """Whether an answer of Prometheus names a value or has a finite number in it."""
    if isinstance(data, list):  # values of a label
        return any(data)
    points = (
        point
        for series in data["result"]
        for point in (series["values"] if "values" in series else [series["value"]])
    )
    return any(math.isfinite(float(value)) for _, value in points)


def ask(url: str) -> Any:
    """The data of an answer; ValueError with Prometheus' own words when it refuses."""
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            return json.load(reply)["data"]
    except urllib.error.HTTPError as error:
        raise ValueError(error.read().decode(errors="replace").strip()) from error


def fault_of(query: Query, url: str, start: int, end: int) -> str:
    """What is wrong with its answer; nothing if all is well."""
    try:
        data = ask(url + query.address(start, end))
    except ValueError as error:
        return f"in error: {error}"
    return "" if has_a_number(data) else "empty"


def main(url: str, start: int, end: int) -> int:
    """Ask them all, and print what is wrong and which was the slowest."""
    taken: list[tuple[float, str]] = []
    wrong = 0
    for query in all_queries():
        began = time.monotonic()
        fault = fault_of(query, url.rstrip("/"), start, end)
        taken.append((time.monotonic() - began, query.place))
        if fault:
            wrong += 1
            print(f"  {fault}: {query.place}: {query.expression}")
    seconds, place = max(taken)
    print(
        f"{len(taken)} queries of the boards over {end - start} s, {wrong} empty or in error; "
        f"the slowest took {seconds:.2f} s (bar: 1): {place}"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
