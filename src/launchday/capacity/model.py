"""From points to capacity: what was proved at the objective, and how sure that is."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from launchday.capacity.measurements import Measurements, Point

_MINIMUM_POINTS = 3
_GOOD_SHARE = 0.99
# Two-sided 95 % quantiles of Student's t for 1, 2, … degrees of freedom; beyond them the normal.
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
)  # fmt: skip


@dataclass(frozen=True)
class Capacity:
    """Requests per second that one target serves within the objective.

    `saturated`: the target was pushed past it and kept answering in time, so `rps` is a plateau
    with a 95 % interval (Student's t on the means of `windows` windows); else `rps` is only the
    highest rate that was proved, and the truth may be above. `tested_to_rps` is the highest rate
    offered.
    """

    rps: float
    low_rps: float
    high_rps: float | None
    saturated: bool
    windows: int
    tested_to_rps: float
    method: str


def fit(measurements: Measurements) -> Capacity | None:
    """The capacity that the points support, or None if no window met the objective.

    The plateau of a target that sheds: the mean goodput over the windows in which it was offered
    more than it served while its p99 stayed within the objective. Without such windows (the
    target was not pushed, or collapsed when it was): the highest window in which 99 % of what was
    offered was good.
    """
    within = [p for p in measurements.points if p.p99_seconds <= measurements.objective_seconds]
    plateau = [p.goodput_rps for p in within if p.saturated]
    tested = max((p.offered_rps for p in measurements.points), default=0.0)
    if len(plateau) >= _MINIMUM_POINTS:
        return _plateau(plateau, tested)
    proved = [p for p in within if p.goodput_rps >= _GOOD_SHARE * p.offered_rps]
    if not proved:
        return None
    return _proved(proved, tested)


def _plateau(rates: list[float], tested: float) -> Capacity:
    mean = statistics.fmean(rates)
    freedom = len(rates) - 1
    t = _T95[freedom - 1] if freedom <= len(_T95) else 1.96
    half = t * statistics.stdev(rates) / math.sqrt(len(rates))
    method = "mean goodput of saturated windows within the objective, t-interval"
    return Capacity(mean, max(0.0, mean - half), mean + half, True, len(rates), tested, method)


def _proved(points: list[Point], tested: float) -> Capacity:
    best = max(points, key=lambda p: p.goodput_rps).goodput_rps
    method = "highest window in which 99 % of what was offered was good"
    return Capacity(best, best, None, False, len(points), tested, method)
