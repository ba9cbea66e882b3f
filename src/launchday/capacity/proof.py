"""The highest load that surely meets an objective: what may be recommended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from launchday.capacity.criteria import ERRORS, LATENCY, SHED, Curve
from launchday.capacity.intervals import least_requests
from launchday.capacity.load_levels import Level
from launchday.capacity.results import Estimate
from launchday.capacity.steps import Objective
from launchday.capacity.wording import joined

_BY_BOUNDS = (
    "highest steady load whose one-sided 95 % upper bounds are within every limit, "
    "latency also together with the loads up to 4 % above it"
)
_BY_FIGURES = "highest steady load whose figures are within every limit; they come without bounds"


@dataclass(frozen=True)
class Proof:
    """The highest proved load and the step that it is, or why there is none."""

    rate: Estimate | None
    source: str
    why_not: str


def prove(levels: Sequence[Level], curves: Sequence[Curve], objective: Objective) -> Proof:
    """The highest steady level that meets every criterion of `curves`, by their upper bounds.

    Levels below it need no proof of their own (a short one at a low rate has too few requests),
    but one that surely misses caps it.
    """
    best = None
    for at, level in enumerate(levels):
        if any(curve.excesses[at].low > 0 for curve in curves):
            break
        if level.steady and all(curve.excesses[at].high <= 0 for curve in curves):
            # Of a closed loop beyond its peak, more in flight is not a higher rate.
            best = level if best is None or level.rps >= best.rps else best
    if best is None:
        return Proof(None, "", _why_not(levels, curves, objective))
    sources = ", ".join(step.source for step in best.steps)
    method = _BY_BOUNDS if best.blocks else _BY_FIGURES
    return Proof(Estimate(best.rps, None, None, best.requests, method), sources, "")


def _why_not(levels: Sequence[Level], curves: Sequence[Curve], objective: Objective) -> str:
    """Of the levels that do not surely miss, what the upper bound of each criterion says."""
    open_levels = [
        at
        for at, level in enumerate(levels)
        if level.steady and all(curve.excesses[at].low <= 0 for curve in curves)
    ]
    if not open_levels:
        return "every steady load misses the objective"
    unproved = [
        curve.criterion
        for curve in curves
        if all(curve.excesses[at].high > 0 for at in open_levels)
    ]
    words = {
        LATENCY: _too_few(levels, open_levels, objective.quantile),
        SHED: _too_few(levels, open_levels, 1 - objective.most_shed_share),
        ERRORS: _too_few(levels, open_levels, 1 - objective.most_error_share),
    }
    if not unproved:
        return "no load meets latency, shed and errors at once by their upper bounds"
    alike = {words[each]: [c for c in unproved if words[c] == words[each]] for each in unproved}
    return "; ".join(
        f"no load is proved to keep its limit{'s' if len(some) > 1 else ''} of {joined(some)}{why}"
        for why, some in alike.items()
    )


def _too_few(levels: Sequence[Level], at: Sequence[int], quantile: float | None) -> str:
    most = max(levels[index].requests for index in at)
    if quantile is None or not 0 < quantile < 1 or most == 0:
        return ""
    needed = least_requests(quantile)
    if most >= needed:
        return ": the upper bound at 95 % is above everywhere, hold the steps longer"
    return f": the largest step has {most} requests, it takes {needed} or more"
