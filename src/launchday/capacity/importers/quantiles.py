"""The quantile that an objective asks for, among those that a tool exported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from launchday.capacity.importers.source import Source
from launchday.capacity.steps import Objective

T = TypeVar("T")


def choose_quantile(
    source: Source, there: Mapping[float, T], objective: Objective, how: str = ""
) -> T | None:
    """What is there under the quantile of the objective; None: it asks for the mean, or none is.

    Raises:
        RecordError: others were exported, this one was not: neither is the other. `how` says how
            to have the tool export it.
    """
    if objective.quantile is None or not there:
        return None
    for quantile, found in there.items():
        if abs(quantile - objective.quantile) < 1e-9:
            return found
    names = ", ".join(name_of(quantile) for quantile in sorted(there))
    raise source.refused(
        f"the objective asks for {name_of(objective.quantile)}, there is {names}: "
        f"plan with one of these{how}"
    )


def name_of(quantile: float) -> str:
    """p99, p99.9, …"""
    return f"p{100 * quantile:.6g}"
