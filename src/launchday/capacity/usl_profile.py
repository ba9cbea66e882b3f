"""Intervals by the profile of the sum of squares, for fits with a coefficient on its bound."""

from __future__ import annotations

import math

import numpy as np

from launchday.capacity.usl_solver import Curve, Floats, polish

_GRID = 60  # values of a profile at once; the crossing is then refined by as many
_WIDTH = 12.0  # standard errors to look out for the crossing


def profile_interval(
    curve: Curve, parameters: Floats, index: int, error: float, rise: float
) -> tuple[float, float]:
    """Where RSS, least over the other parameters, stays below RSS · (1 + `rise`).

    Within the bounds of the parameter `index`; looked for up to 12 standard `error`s away (Bates,
    Watts 1988, 6.1; `rise` is t²/(m-3) there).
    """
    value = float(parameters[index])
    bound = 1.0 if index < len(parameters) - 1 else math.inf
    reach = max(_WIDTH * error, 1e-12)
    threshold = curve.squares(parameters) * (1 + rise)
    low = _crossing(curve, parameters, index, max(0.0, value - reach), threshold)
    high = _crossing(curve, parameters, index, min(bound, value + reach), threshold)
    return low, high


def _crossing(curve: Curve, parameters: Floats, index: int, end: float, threshold: float) -> float:
    """Where the profile passes `threshold` between the estimate and `end`; `end` if nowhere."""
    near, far = float(parameters[index]), end
    for _ in range(2):
        grid = np.linspace(near, far, _GRID)
        above = np.flatnonzero(_squares(curve, parameters, index, grid) > threshold)
        if len(above) == 0:
            return far
        first = max(int(above[0]), 1)
        near, far = float(grid[first - 1]), float(grid[first])
    return far


def _squares(curve: Curve, parameters: Floats, index: int, grid: Floats) -> Floats:
    starts = np.repeat(parameters[np.newaxis, :], len(grid), axis=0)
    starts[:, index] = grid
    targets = np.repeat(curve.y[np.newaxis, :], len(grid), axis=0)
    found = polish(curve, targets, starts, fixed=index)
    return np.asarray(np.sum((targets - curve.predict(found)) ** 2, axis=1))
