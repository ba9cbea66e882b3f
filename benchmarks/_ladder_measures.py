"""What the recordings of the live ladder say: rows, physics, recovery. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from benchmarks._ladder_load import End

REFUSALS = (503, 429)
ON_TIME_SECONDS, SCHEDULE_GOAL, MOST_CPU_SHARE = 0.02, 0.98, 0.8
FELL_BEHIND = "generator fell behind"


@dataclass(frozen=True)
class Trace:
    """What the generator recorded of one row; one entry per request, times from the start.

    `seconds`: from the *intended* time to the whole answer, without one the patience of the
    client. `statuses`: of HTTP, or an `End`. `opened`: connections. `bare_refusals`: 503s that did
    not say Retry-After. `cpu_share`: of a core, used by the generator.
    """

    intended: list[float]
    begun: list[float]
    seconds: list[float]
    statuses: list[int]
    opened: int
    bare_refusals: int
    cpu_share: float

    def between(self, from_seconds: float, to_seconds: float) -> list[int]:
        """Return the indices of what was intended in this time."""
        return [i for i, at in enumerate(self.intended) if from_seconds <= at < to_seconds]


def percentile(values: list[float], share: float) -> float | None:
    """Return the nearest rank: the least value that a share of all does not exceed; None: empty."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def schedule_kept(trace: Trace) -> float:
    """Return the share of requests that were begun within 20 ms of the intended time."""
    late = [
        status == End.UNSENT or begun - intended > ON_TIME_SECONDS
        for intended, begun, status in zip(trace.intended, trace.begun, trace.statuses, strict=True)
    ]
    return 1 - sum(late) / len(late) if late else 0.0


def why_void(trace: Trace) -> str | None:
    """Return why this row tells nothing about the server; None when it does."""
    if schedule_kept(trace) < SCHEDULE_GOAL or trace.cpu_share > MOST_CPU_SHARE:
        return FELL_BEHIND
    return None


def good_rps(trace: Trace, from_seconds: float, to_seconds: float, objective: float) -> float:
    """Return the rate of 2xx answers that came within the objective, in this time.

    By the time of the answer: by the intended time, a queue that is served after the last request
    was sent would count as throughput.
    """
    good = sum(
        200 <= status < 300 and seconds <= objective and from_seconds <= at + seconds < to_seconds
        for at, seconds, status in zip(trace.intended, trace.seconds, trace.statuses, strict=True)
    )
    return good / (to_seconds - from_seconds)


def best_share(ratio: float, cost_ratio: float) -> float:
    """Return the greatest goodput that physics allows, as a share of the capacity.

    Whoever refuses at `cost_ratio` r of what an admission costs, at N times the capacity, keeps
    ``(1 - N r) / (1 - r)`` of it: every refusal takes CPU from the admitted. At most 1, and no
    more than is offered; r = 0 when what is short is not CPU.
    """
    if cost_ratio >= 1:
        return 0.0
    return max(0.0, min(ratio, 1.0, (1 - ratio * cost_ratio) / (1 - cost_ratio)))


def summary(
    trace: Trace, from_seconds: float, to_seconds: float, objective: float
) -> dict[str, Any]:
    """Return what happened in this time: rates, shares, and latencies in seconds.

    `p99_admitted_seconds` is of all that were not refused: who gave up counts with the patience,
    a lower bound.
    """
    chosen = trace.between(from_seconds, to_seconds)
    statuses = [trace.statuses[i] for i in chosen]
    refused = [trace.seconds[i] for i in chosen if trace.statuses[i] in REFUSALS]
    admitted = [
        trace.seconds[i]
        for i in chosen
        if trace.statuses[i] == End.TIMED_OUT or 200 <= trace.statuses[i] < 300
    ]
    return {
        "offered_rps": len(chosen) / (to_seconds - from_seconds),
        "goodput_rps": good_rps(trace, from_seconds, to_seconds, objective),
        "p50_admitted_seconds": percentile(admitted, 0.5),
        "p99_admitted_seconds": percentile(admitted, 0.99),
        "refused_share": len(refused) / max(1, len(chosen)),
        "p50_refused_seconds": percentile(refused, 0.5),
        "p99_refused_seconds": percentile(refused, 0.99),
        "timeouts": statuses.count(End.TIMED_OUT),
        "connection_errors": statuses.count(End.LOST),
        "server_errors": sum(s >= 400 and s not in REFUSALS for s in statuses),
        "refusals_without_retry_after": trace.bare_refusals,
        "connections_opened": trace.opened,
        "schedule_kept": schedule_kept(trace),
        "generator_cpu_share": trace.cpu_share,
    }


def recovery_seconds(trace: Trace, dropped_at: float, ends_at: float, p99: float) -> float | None:
    """Return how long after the load dropped the service was as before; None: never.

    That is when the first whole second begins in which at most 0.1 % are refused or fail and the
    p99 of the others is at most 1.1 x `p99`, the unloaded one; looked at every 50 ms.
    """
    for step in range(int((ends_at - dropped_at - 1) * 20) + 1):
        began = dropped_at + step / 20
        chosen = trace.between(began, began + 1)
        served = [trace.seconds[i] for i in chosen if 200 <= trace.statuses[i] < 300]
        slowest = percentile(served, 0.99)
        failed = len(chosen) - len(served)
        if slowest is not None and failed <= 0.001 * len(chosen) and slowest <= 1.1 * p99:
            return step / 20
    return None
