"""Boards ask for metrics of the catalogue: one that was renamed is found when they are built."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from launchday.metric_names import ALL, Kind

# Not `job:launchday_...`, which a rule records, and nothing in quotes.
_OURS = re.compile(r"(?<![\w:$])(?:shed|car|launchday|chaos)_\w+")
_QUOTED = re.compile(r'"[^"]*"')


def known() -> set[str]:
    """The names of all series that the catalogue's metrics have in Prometheus."""
    names = {metric.name for metric in ALL if metric.kind is not Kind.HISTOGRAM}
    histograms = [metric.name for metric in ALL if metric.kind is Kind.HISTOGRAM]
    return names | {f"{name}_{part}" for name in histograms for part in ("bucket", "count", "sum")}


def check_names(board: dict[str, Any]) -> None:
    """Raise ValueError, which names the place, for a metric that the catalogue does not have."""
    names = known()
    for place, expression in _asked(board):
        for name in _OURS.findall(_QUOTED.sub("", expression)):
            if name not in names:
                near = "".join(f", but {n}" for n in get_close_matches(name, names, 1))
                raise ValueError(
                    f"{place} asks for {name}; src/launchday/metric_names.py has none{near}"
                )


def _asked(board: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for variable in board["templating"]["list"]:
        yield f"the variable {variable['name']}", variable.get("definition", "")
    for mark in board["annotations"]["list"]:
        yield f"the annotation {mark['name']}", mark.get("target", {}).get("expr", "")
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield f"the panel {panel['title']!r}", target["expr"]
