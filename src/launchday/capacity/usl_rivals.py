"""The curves that the universal scalability law must beat: linear, Amdahl and log-USL, by AICc."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from launchday.capacity.usl_solver import Curve, Floats, solve

USL = "usl"
_ZERO_SHARE = 1e-24  # of the sum of squares of the points: a fit this good is exact


def _none(n: Floats) -> Floats:
    return np.empty((len(n), 0))


def _amdahl(n: Floats) -> Floats:
    return np.column_stack([n - 1])


def _usl(n: Floats) -> Floats:
    return np.column_stack([n - 1, n * (n - 1)])


def _log_usl(n: Floats) -> Floats:
    # Plateau-shaped data are fitted better by κ·ln(N)(N-1) in place of βN(N-1) (Schwartz).
    return np.column_stack([n - 1, np.log(n) * (n - 1)])


_FAMILIES: Mapping[str, Callable[[Floats], Floats]] = {
    USL: _usl,
    "amdahl": _amdahl,
    "linear": _none,
    "log_usl": _log_usl,
}


def curve(name: str, n: Floats, y: Floats) -> Curve:
    """The family `name` ("usl", "amdahl", "linear", "log_usl") at loads `n` with throughputs `y`.

    Raises KeyError for another name.
    """
    return Curve(n, y, _FAMILIES[name](n))


def compare(n: Floats, y: Floats, usl: Floats) -> dict[str, float]:
    """AICc by model name, smaller is better; `usl` are the parameters already found for it.

    AICc = m·ln(RSS/m) + 2k + 2k(k+1)/(m-k-1), m points, k the parameters and the variance
    (Hurvich, Tsai 1989). Infinite where m <= k + 1: too few points to say.
    """
    found = {}
    for name in _FAMILIES:
        one = curve(name, n, y)
        parameters = usl if name == USL else solve(one)
        found[name] = _aicc(one.squares(parameters), y, len(parameters) + 1)
    return found


def _aicc(squares: float, y: Floats, k: int) -> float:
    m = len(y)
    if m <= k + 1:
        return math.inf
    # An exact fit has no finite value; the floor keeps it comparable and JSON-able.
    squares = max(squares, _ZERO_SHARE * float(np.sum(y**2)))
    return m * math.log(squares / m) + 2 * k + 2 * k * (k + 1) / (m - k - 1)
