"""Axes: round ticks, ranges that hold all the values, places between 0 and 1."""

from __future__ import annotations

import math
from collections.abc import Iterable

from launchday.capacity.plots.picture import Axis
from launchday.capacity.wording import number

_STEPS = (1.0, 2.0, 5.0, 10.0)
_ABOUT = 5
_SMALLEST_SPAN = 1e-9  # smaller ones are rounding, or the dust of subnormal numbers


def linear(label: str, values: Iterable[float], *, percent: bool = False) -> Axis:
    """An axis from 0, or from below where values are negative, to a round number above all."""
    seen = [value for value in values if math.isfinite(value)] or [1.0]
    low, high = min(0.0, *seen), max(0.0, *seen)
    if high - low < _SMALLEST_SPAN:
        high = low + 1.0
    step = _step(high - low)
    low, high = step * math.floor(low / step + 1e-9), step * math.ceil(high / step - 1e-9)
    return Axis(label, low, high, percent=percent)


def logarithmic(label: str, values: Iterable[float]) -> Axis:
    """A logarithmic axis over all positive values, with a little room at both ends."""
    seen = [value for value in values if math.isfinite(value) and value > 0] or [1.0]
    return Axis(label, min(seen) / 1.25, max(seen) * 1.25, logarithmic=True)


def ticks(axis: Axis) -> list[float]:
    """Some five round numbers within the axis."""
    if axis.logarithmic:
        return _log_ticks(axis)
    step = _step(axis.high - axis.low)
    first, last = math.ceil(axis.low / step - 1e-9), math.floor(axis.high / step + 1e-9)
    return [step * k for k in range(first, last + 1)]


def written(axis: Axis, tick: float) -> str:
    """A tick as it is written beside the axis."""
    if axis.percent:
        return f"{tick * 100:.3g} %"
    return "0" if abs(tick) < 1e-12 else number(tick)


def share(axis: Axis, value: float) -> float:
    """Where on the axis a value is: 0 at its low end, 1 at its high one; outside it is clipped."""
    if axis.logarithmic:
        value = max(value, axis.low)
        whole = math.log(axis.high / axis.low)
        return min(math.log(value / axis.low) / whole, 1.0)
    return min(max((value - axis.low) / (axis.high - axis.low), 0.0), 1.0)


def within(axis: Axis, value: float) -> bool:
    """Whether the axis holds the value."""
    return axis.low <= value <= axis.high


def _step(span: float) -> float:
    rough = span / _ABOUT
    power = 10.0 ** math.floor(math.log10(rough))
    return next((power * k for k in _STEPS if power * k >= rough * (1 - 1e-9)), power * 10)


def _log_ticks(axis: Axis) -> list[float]:
    powers = range(math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [f * 10.0**p for p in powers for f in factors]
        found = [tick for tick in found if within(axis, tick)]
        if len(found) <= _ABOUT + 2:
            return found
    return found
