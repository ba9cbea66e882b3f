"""From points to capacity: what was proved at the objective, and how sure that is."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from launchday.capacity.measurements import Measurements, Point

_MINIMUM_POINTS = 3
_GOOD_SHARE = 0.99
# Two-sided 95 % quantiles of Student's t for 1, 2, … 20 degrees of freedom; the last serves for
# more, which errs on the wide side.
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

    The plateau of a target that sheds: the mean goodput over the windows in which it refused some
    and answered the rest well, its p99 within the objective. Without such windows (the target was
    not pushed, or collapsed when it was): the highest stretch in which 99 % of what was offered
    was good.
    """
    within = [p for p in measurements.points if p.p99_seconds <= measurements.objective_seconds]
    plateau = [p.goodput_rps for p in within if p.saturated]
    tested = max((p.offered_rps for p in measurements.points), default=0.0)
    if len(plateau) >= _MINIMUM_POINTS:
        return _plateau(plateau, tested)
    stretches = _stretches(within)
    proved = {rate: n for rate, good, n in stretches if good}
    if not proved:
        return None
    best = max(proved)
    method = "mean of the highest stretch in which 99 % of what was offered was good"
    return Capacity(best, best, None, False, proved[best], tested, method)


def _stretches(points: list[Point]) -> list[tuple[float, bool, int]]:
    """Mean goodput of each stretch, whether nearly all of it was good, and its windows.

    The mean, not the best window: the highest of many random ones says little.
    """
    groups: dict[tuple[str, int], list[Point]] = {}
    for point in points:
        groups.setdefault((point.run_id, point.stretch), []).append(point)
    result = []
    for group in groups.values():
        goodput = statistics.fmean(p.goodput_rps for p in group)
        offered = statistics.fmean(p.offered_rps for p in group)
        result.append((goodput, goodput >= _GOOD_SHARE * offered, len(group)))
    return result


def _plateau(rates: list[float], tested: float) -> Capacity:
    mean = statistics.fmean(rates)
    freedom = len(rates) - 1
    t = _T95[min(freedom, len(_T95)) - 1]
    half = t * statistics.stdev(rates) / math.sqrt(len(rates))
    method = "mean goodput of saturated windows within the objective, t-interval"
    return Capacity(mean, max(0.0, mean - half), mean + half, True, len(rates), tested, method)
