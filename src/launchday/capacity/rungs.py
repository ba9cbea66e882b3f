"""The ladder: what other objectives of latency would allow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from launchday.capacity.criteria import latency_curve, objective_name
from launchday.capacity.crossings import Crossed, crossed
from launchday.capacity.load_levels import Level
from launchday.capacity.results import Estimate, Rung
from launchday.capacity.steps import Objective

RUNGS_SECONDS = (0.1, 0.25, 0.5, 1.0)


def ladder(levels: Sequence[Level], objective: Objective) -> tuple[Rung, ...]:
    """A rung for 100, 250, 500 and 1000 ms and for the objective itself, rising.

    Latency only: what is shed or fails does not depend on the rung.
    """
    wanted = sorted({*RUNGS_SECONDS, objective.seconds})
    return tuple(_rung(levels, replace(objective, seconds=seconds)) for seconds in wanted)


def _rung(levels: Sequence[Level], objective: Objective) -> Rung:
    found = crossed(levels, latency_curve(levels, objective))
    claim = f"{objective_name(objective)} <= {objective.seconds * 1000:g} ms"
    if found is None:
        highest = max(level.rps for level in levels)
        return Rung(objective.seconds, None, f"{claim}: always met, up to {highest:.1f} rps", True)
    if found.rps == -math.inf:
        lowest = min(level.rps for level in levels)
        return Rung(objective.seconds, None, f"{claim}: never met, not at {lowest:.1f} rps either")
    rps = estimate_of(found, len(levels), f"isotonic crossing of {objective_name(objective)}")
    return Rung(objective.seconds, rps, f"{claim}: up to {found.rps:.1f} rps")


def estimate_of(found: Crossed, loads: int, method: str) -> Estimate:
    """A crossing as an estimate; no lower end where nothing bounds it from below."""
    low = None if found.low_rps == -math.inf else found.low_rps
    return Estimate(found.rps, low, found.high_rps, loads, method)
