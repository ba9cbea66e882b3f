"""Whether what a target waits for is a dependency behind it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from launchday.capacity.resources import CPU
from launchday.capacity.steps import Step

_MOST = 0.5
_LARGE_PART = 1 / 3
_ROSE_TO = 2.0
_BUSY_CPU = 0.5
_FEW_CALLS_PER_REQUEST = 0.01


def dependency_of_resource(resource: str, demand_seconds: float, below: Sequence[Step]) -> str:
    """The dependency whose calls are most of the time that a request holds `resource`, or "".

    A pool of a dependency's own connections ("database pool") is held for its calls by nature: it
    is the pool.
    """
    calls = {
        name: seconds
        for name in _names(below)
        if (seconds := _seconds_per_request(name, below)) >= _MOST * demand_seconds
        and not resource.startswith(name)
    }
    return max(calls, key=lambda name: calls[name], default="")


def dependency_of_latency(steps: Sequence[Step], below: Sequence[Step]) -> str:
    """The dependency that explains the latency, or "".

    Its calls are most of the mean latency at low load; or most of the objective's quantile, for
    requests that are frequent enough to be in it; or they take twice as long at the highest load
    and are a large part of the latency there.
    """
    top = max(steps, key=lambda step: step.offered_rps, default=None)
    found = {
        name: _seconds_per_request(name, below) + (_seconds_per_request(name, [top]) if top else 0)
        for name in _names(steps)
        if _most_of_mean(name, below) or _most_of_tail(name, below) or _rose(name, below, top)
    }
    return max(found, key=lambda name: found[name], default="")


def _names(steps: Sequence[Step]) -> list[str]:
    return sorted({name for step in steps for name in step.call_seconds})


def _seconds_per_request(name: str, steps: Sequence[Step]) -> float:
    taken = [
        step.call_seconds[name] * step.calls_per_request.get(name, 0.0)
        for step in steps
        if name in step.call_seconds
    ]
    return median(taken) if taken else 0.0


def _most_of_mean(name: str, below: Sequence[Step]) -> bool:
    means = [step.mean_seconds for step in below if step.mean_seconds]
    return bool(means) and _seconds_per_request(name, below) >= _MOST * median(means)


def _most_of_tail(name: str, below: Sequence[Step]) -> bool:
    shares = [
        step.call_seconds[name] / step.latency_seconds
        for step in below
        if step.latency_seconds
        and name in step.call_seconds
        and step.calls_per_request.get(name, 0.0) >= _FEW_CALLS_PER_REQUEST
    ]
    return bool(shares) and median(shares) >= _MOST


def _rose(name: str, below: Sequence[Step], top: Step | None) -> bool:
    """A busy target is late to see any answer, so then calls seem slow that are not."""
    if top is None or not top.mean_seconds or name not in top.call_seconds:
        return False
    if top.utilisation.get(CPU, 0.0) >= _BUSY_CPU or not _slower(name, below, top):
        return False
    others = [other for other in top.call_seconds if other != name]
    if others and all(_slower(other, below, top) for other in others):
        return False
    return _seconds_per_request(name, [top]) >= _LARGE_PART * top.mean_seconds


def _slower(name: str, below: Sequence[Step], top: Step) -> bool:
    before = [step.call_seconds[name] for step in below if name in step.call_seconds]
    return bool(before) and top.call_seconds[name] >= _ROSE_TO * min(before)
