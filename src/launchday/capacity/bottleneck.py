"""Which resource gives out first, by the utilisation law.

U = X D / m (Denning and Buzen, "The Operational Analysis of Queueing Network Models", 1978): what
one request takes of a resource is the slope of its busy units on throughput below the knee, and
X_max <= m U* / D. The intercept is background work that nobody asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from scipy.stats import t as student

from launchday.capacity.downstream import dependency_of_latency, dependency_of_resource
from launchday.capacity.resources import ADMISSION_SLOTS, CPU, GENERATOR
from launchday.capacity.results import Bottleneck, Demand, Estimate, Found
from launchday.capacity.steps import Step
from launchday.capacity.wording import number

_EXPLAINS_FROM = 0.7
_FULL_FROM = 0.9
_KEPT_UP = 0.98
_OUTER_WITHIN = 1.3
_METHOD = "utilisation law, least squares below the knee"


def name_bottleneck(steps: Sequence[Step], found: Found) -> Bottleneck:
    """Name the resource that gives out first, and the one after it.

    What gave out is the observed plateau of throughput where the target was overloaded, else the
    rate at which the objective is crossed. If that is below 0.7 of what every measured resource
    allows, none of them explains it: `resource` is "downstream: NAME" where calls to a dependency
    do, else "" (a lock, a queue, a pool, something downstream that nobody measures).
    """
    below = _below_knee(steps, found)
    demands = _demands(below)
    if not demands and any(step.utilisation for step in steps):
        return _all_beyond(steps)
    gave_out = _gave_out(steps, found)
    # The target turned requests away, so it is the target that gave out.
    if gave_out is not None and gave_out.overloaded:
        demands = [d for d in demands if d.resource != GENERATOR]
    first = demands[0] if demands else None
    second = demands[1].resource if len(demands) > 1 else ""
    explained = first is not None and (
        gave_out is None or gave_out.rps >= _EXPLAINS_FROM * first.saturates_rps.value
    )
    if first is None or not explained or _never_met(found):
        dependency = dependency_of_latency(steps, below)
        if dependency or not explained or first is None:
            return _not_measured(dependency, gave_out, demands)
    if first.resource not in (CPU, GENERATOR):
        waits_for = dependency_of_resource(first.resource, first.seconds.value, below)
        if waits_for:
            return _waits(waits_for, first, demands)
    return Bottleneck(first.resource, second, tuple(demands), _sentence(demands, gave_out))


@dataclass(frozen=True)
class _GaveOut:
    rps: float
    overloaded: bool


def _kept_up(steps: Sequence[Step]) -> tuple[list[Step], list[Step]]:
    """Steps in which the target kept up, and those in which it did not.

    Failures that are as frequent at every load are no sign of one: the best step is the measure.
    """
    shares = [_served_share(step) for step in steps]
    needed = _KEPT_UP * max(shares, default=0.0)
    return (
        [step for step, share in zip(steps, shares, strict=True) if share >= needed],
        [step for step, share in zip(steps, shares, strict=True) if share < needed],
    )


def _served_share(step: Step) -> float:
    answered = step.throughput_rps / step.offered_rps if step.offered_rps else 0.0
    return min(answered, 1.0 - step.shed_share - step.error_share)


def _used(steps: Sequence[Step]) -> list[Step]:
    return [step for step in steps if step.offered_rps > 0 and not step.held_out]


def _below_knee(steps: Sequence[Step], found: Found) -> list[Step]:
    """Steady steps in which the target kept up; beyond the knee waiting looks like demand."""
    knee = found.crossing.value if found.crossing else math.inf
    healthy = [s for s in _kept_up(_used(steps))[0] if s.steady]
    below = [s for s in healthy if s.offered_rps <= knee]
    return below if len(below) >= 3 else sorted(healthy, key=lambda s: s.offered_rps)[:3]


def _gave_out(steps: Sequence[Step], found: Found) -> _GaveOut | None:
    used = _used(steps)
    if _kept_up(used)[1]:
        return _GaveOut(max(s.throughput_rps for s in used), True)
    return _GaveOut(found.crossing.value, False) if found.crossing else None


def _never_met(found: Found) -> bool:
    return found.crossing is None and found.refused is not None and "never" in found.refused


def _demands(below: Sequence[Step]) -> list[Demand]:
    """Of every resource that grows with the load, the one that gives out first at the head."""
    names = sorted({name for step in below for name in step.utilisation})
    demands = [d for name in names if (d := _demand(name, below)) is not None]
    demands.sort(key=lambda demand: demand.saturates_rps.value)
    return _inner_first(demands)


def _inner_first(demands: list[Demand]) -> list[Demand]:
    """Whoever waits for an inner resource holds an admission slot: the inner one is the cause."""
    if len(demands) > 1 and demands[0].resource == ADMISSION_SLOTS:
        limit = _OUTER_WITHIN * demands[0].saturates_rps.value
        if demands[1].saturates_rps.value <= limit and demands[1].resource != GENERATOR:
            return [demands[1], demands[0], *demands[2:]]
    return demands


def _demand(name: str, below: Sequence[Step]) -> Demand | None:
    with_it = [s for s in below if name in s.utilisation and s.throughput_rps > 0]
    if not with_it:
        return None
    units = fmean(s.units.get(name, 1.0) for s in with_it)
    points = [(s.throughput_rps, s.utilisation[name] * s.units.get(name, 1.0)) for s in with_it]
    slope, error, background = _slope(points, idle_is_zero=name not in (CPU, GENERATOR))
    if slope <= 0 or background >= units:
        return None
    low, high = (None, None) if error is None else (max(0.0, slope - error), slope + error)
    left = units - background
    saturates = Estimate(
        left / slope,
        None if high is None else left / high,
        None if low is None else (left / low if low > 0 else math.inf),
        len(points),
        _METHOD,
    )
    highest = max(s.utilisation[name] for s in with_it)
    return Demand(
        resource=name,
        seconds=Estimate(slope, low, high, len(points), _METHOD),
        units=units,
        saturates_rps=saturates,
        highest_utilisation=highest,
        words=_words(name, slope, units, saturates, highest),
    )


def _slope(
    points: Sequence[tuple[float, float]], idle_is_zero: bool
) -> tuple[float, float | None, float]:
    """Slope, half of its 95 % interval (None: too few points) and intercept, never below 0.

    y = a + D x by least squares where there are at least three different x; through the origin
    where the points are fewer, or a would be negative. A processor has background work; slots and
    connections are free while nobody asks (`idle_is_zero`), so of those a counts only if it is
    above its own error.
    """
    n = len(points)
    x_mean, y_mean = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread = math.fsum((x - x_mean) ** 2 for x, _ in points)
    if n >= 3 and spread > (0.01 * x_mean) ** 2:
        slope = math.fsum((x - x_mean) * (y - y_mean) for x, y in points) / spread
        background = y_mean - slope * x_mean
        left = math.fsum((y - background - slope * x) ** 2 for x, y in points) / (n - 2)
        sure = float(student.ppf(0.975, n - 2)) * math.sqrt(left)
        error = sure * math.sqrt(1 / n + x_mean**2 / spread)
        if background >= (error if idle_is_zero else 0.0):
            return slope, sure / math.sqrt(spread), background
    return *_through_origin(points), 0.0


def _through_origin(points: Sequence[tuple[float, float]]) -> tuple[float, float | None]:
    n = len(points)
    squares = math.fsum(x * x for x, _ in points)
    slope = math.fsum(x * y for x, y in points) / squares
    if n < 2:
        return slope, None
    left = math.fsum((y - slope * x) ** 2 for x, y in points) / (n - 1)
    return slope, float(student.ppf(0.975, n - 1)) * math.sqrt(left / squares)


def _words(name: str, slope: float, units: float, saturates: Estimate, highest: float) -> str:
    of = f", of which there are {number(units)}" if units != 1 else ""
    one = f"{number(slope * 1000)} ms of {name} per request{of}"
    return f"{one}: full at {_rate(saturates)}, tested to {highest:.0%}"


def _rate(saturates: Estimate) -> str:
    value = f"{number(saturates.value)} requests/s"
    if saturates.low is None or saturates.high is None:
        return value
    if math.isinf(saturates.high):
        return f"{value} (at least {number(saturates.low)})"
    return f"{value} ({number(saturates.low)} to {number(saturates.high)})"


def _sentence(demands: Sequence[Demand], gave_out: _GaveOut | None) -> str:
    first = demands[0]
    what = "The generator" if first.resource == GENERATOR else _capital(first.resource)
    if gave_out is None:
        said = f"Nothing gave out in the tested range; {first.resource} would be the first"
    elif first.resource == GENERATOR:
        said = f"{what} gives out before the target: more processes or machines would tell more"
    else:
        verb = "are" if first.resource.endswith("s") else "is"
        said = f"{what} {verb} the bottleneck"
    said += f" ({first.words})"
    if len(demands) > 1:
        after = demands[1]
        said += f"; next {after.resource}, at {_rate(after.saturates_rps)}"
    return said + "."


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _not_measured(
    dependency: str, gave_out: _GaveOut | None, demands: Sequence[Demand]
) -> Bottleneck:
    second = demands[0].resource if demands else ""
    at = ""
    if gave_out is not None:
        what = "The target gives out" if gave_out.overloaded else "The objective is missed"
        at = f"{what} at {number(gave_out.rps)} requests/s"
    if dependency:
        at = at or "The objective is missed at any load"
        why = f"{at}, and what takes the time is the {dependency} behind the target"
        return Bottleneck(f"downstream: {dependency}", second, tuple(demands), f"{why}.")
    if gave_out is None:
        sentence = "No resource was measured, and nothing gave out in the tested range."
    elif demands:
        first = demands[0]
        sentence = (
            f"{at}, {gave_out.rps / first.saturates_rps.value:.0%} of what {first.resource} allows "
            f"({first.words}): the bottleneck is not a measured resource, but a lock, a queue, a "
            "pool or something downstream."
        )
    else:
        sentence = (
            f"{at}; no resource was measured (the record has no usable metrics of the target), so "
            "nobody can say why."
        )
    return Bottleneck("", second, tuple(demands), sentence)


def _all_beyond(steps: Sequence[Step]) -> Bottleneck:
    """No step tells what a request takes; one that is full all the same says so itself."""
    highest = {
        n: max(s.utilisation.get(n, 0.0) for s in steps) for s in steps for n in s.utilisation
    }
    name = max(sorted(highest), key=lambda each: highest[each])
    why = "no steady step was below the knee, so what a request takes is not known"
    if highest[name] < _FULL_FROM:
        return Bottleneck("", "", (), f"No bottleneck is named: {why}; test lower rates.")
    verb = "are" if name.endswith("s") else "is"
    sentence = f"{_capital(name)} {verb} full ({highest[name]:.0%}), but {why}; test lower rates."
    return Bottleneck(name, "", (), sentence)


def _waits(dependency: str, first: Demand, demands: Sequence[Demand]) -> Bottleneck:
    verb = "give" if first.resource.endswith("s") else "gives"
    sentence = (
        f"{_capital(first.resource)} {verb} out first ({first.words}), but what takes the time "
        f"is the {dependency} behind it."
    )
    return Bottleneck(f"downstream: {dependency}", first.resource, tuple(demands), sentence)
