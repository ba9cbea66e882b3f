"""What a dashboard's page needs: the dashboard, and the answer to each of its queries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

Json = dict[str, Any]
Ask = Callable[[str, bool], list[Json]]  # query, whether only at the end -> series

CELL_PIXELS = 38  # a row of the grid with its gap, as in src/main.tsx
HEADER_PIXELS = 48


def filled_in(expression: str, seconds: int, targets: str = ".*") -> str:
    """The query that Grafana sends when every variable is All and the scrape interval 1 s."""
    known = {"$__rate_interval": "5s", "$__range": f"{seconds}s", "$__interval": "1s"}
    known["$instance"] = targets
    for name, value in known.items():
        expression = expression.replace(name, value)
    return re.sub(r"\$(?!__)\w+", ".*", expression)


def page_height(board: Json) -> int:
    """Height of the dashboard's page in pixels."""
    below = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in board["panels"])
    return HEADER_PIXELS + CELL_PIXELS * int(below)


def targets_of(board: Json, seconds: int, ask: Ask) -> str:
    """What `$instance` stands for when it is All: not every process that Prometheus knows."""
    (chosen,) = (each for each in board["templating"]["list"] if each["name"] == "instance")
    asked = chosen["definition"].removeprefix("query_result(").removesuffix(")")
    series = ask(filled_in(asked, seconds), True)
    return "|".join(sorted({one["metric"].get("instance", "") for one in series}))


def answers(board: Json, seconds: int, ask: Ask) -> dict[str, list[Json]]:
    """Panel id -> the answer to each of its queries."""
    targets = targets_of(board, seconds, ask)
    found: dict[str, list[Json]] = {}
    for panel in board["panels"]:
        found[str(panel["id"])] = [
            {
                "refId": target["refId"],
                "legend": target["legendFormat"],
                "format": target.get("format", "time_series"),
                "instant": target.get("instant", False),
                "series": numbers(
                    ask(filled_in(target["expr"], seconds, targets), target.get("instant", False))
                ),
            }
            for target in panel.get("targets", [])
        ]
    return found


def numbers(series: list[Json]) -> list[Json]:
    """The series with whole seconds as times, as the page looks them up."""
    return [
        {"metric": one["metric"], "values": [[round(t), v] for t, v in one["values"]]}
        for one in series
    ]


def marks(board: Json, seconds: int, ask: Ask) -> list[Json]:
    """The dashboard's annotations: name, colour, text, from, to."""
    return [
        {"name": one["name"], "color": one["iconColor"], "text": text, "from": start, "to": end}
        for one in board["annotations"]["list"]
        if "target" in one
        for series in ask(filled_in(one["target"]["expr"], seconds), False)
        for text in [named(one.get("titleFormat", ""), series["metric"])]
        for start, end in regions(series["values"])
    ]


def regions(values: list[list[Any]]) -> Iterator[tuple[int, int]]:
    """Spans of neighbouring seconds whose value is above 0, as Grafana joins annotations."""
    times = [round(time) for time, value in values if float(value) > 0]
    for index, time in enumerate(times):
        if index == 0 or times[index - 1] != time - 1:
            start = time
        if index == len(times) - 1 or times[index + 1] != time + 1:
            yield start, time


def named(template: str, labels: dict[str, str]) -> str:
    """`{{label}}` filled in."""
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), template)
