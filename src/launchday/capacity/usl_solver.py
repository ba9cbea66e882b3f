"""Bounded least squares for curves X(N) = γN / (1 + Σ c_j·g_j(N)), c_j in [0, 1], γ >= 0.

One curve is solved by SciPy from many starts; hundreds of bootstrap resamples at once by a
projected Levenberg-Marquardt, which ends exactly on a bound where the optimum lies there.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

Floats = NDArray[np.float64]

_TOLERANCE = 1e-13
_LEAST_STRETCH = 1e-12  # above 0 by its formula, but for N near 0 it may round to it
_ZERO = 1e-15  # below this a coefficient is on its bound
_CONTENTION_STARTS = (0.005, 0.05, 0.4)
_COHERENCY_STARTS = (0.01, 0.5, 5.0)  # times 1 / (largest g): what the term is at the last point
_MOST_EVALUATIONS = 100  # of one start; one that has not arrived by then loses to another
_MOST_ITERATIONS = 200
_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-3, 1e-14, 1e12


@dataclass(frozen=True)
class Curve:
    """What a family of curves is at given loads: `terms` holds g_j(N), one column a coefficient.

    Points are scaled (`y` by `unit`, its largest), so that tolerances mean the same for 10 and for
    10,000 requests per second. A parameter vector is (c_1, …, c_k, γ), γ in requests per second.
    """

    n: Floats
    y: Floats
    terms: Floats

    @property
    def unit(self) -> float:
        """The largest throughput, by which the solver divides."""
        return float(np.max(self.y))

    def predict(self, parameters: Floats) -> Floats:
        """X at the loads; `parameters` may be one vector or one a row."""
        return parameters[..., -1:] * self.n / self._stretch(parameters)

    def jacobian(self, parameters: Floats) -> Floats:
        """Derivatives of X after each parameter, (…, points, parameters)."""
        stretch = self._stretch(parameters)
        by_gamma = self.n / stretch
        slope = -parameters[..., -1:] * self.n / stretch**2
        by_terms = slope[..., np.newaxis] * self.terms
        return np.concatenate([by_terms, by_gamma[..., np.newaxis]], axis=-1)

    def residuals(self, parameters: Floats) -> Floats:
        """Measured minus fitted."""
        return self.y - self.predict(parameters)

    def squares(self, parameters: Floats) -> float:
        """The sum of squared residuals."""
        return float(np.sum(self.residuals(parameters) ** 2))

    def _stretch(self, parameters: Floats) -> Floats:
        stretch = np.asarray(1 + parameters[..., :-1] @ self.terms.T, dtype=np.float64)
        return np.maximum(stretch, _LEAST_STRETCH)


def solve(curve: Curve) -> Floats:
    """The least-squares parameters within the bounds; deterministic.

    SciPy's trust region from every start, then a last polish onto the bounds.
    """
    best = _best(curve, "linear", 1.0)
    return polish(curve, curve.y[np.newaxis, :], best[np.newaxis, :]).reshape(-1)


def solve_robust(curve: Curve, scale: float, plain: Floats) -> Floats:
    """The soft-L1 parameters: residuals beyond `scale` count about linearly (outliers).

    Starts from the `plain` least-squares parameters too.
    """
    return _on_bounds(_best(curve, "soft_l1", scale, plain))


def polish(curve: Curve, targets: Floats, starts: Floats, fixed: int | None = None) -> Floats:
    """Least squares to each row of `targets` from its row of `starts`, all rows at once.

    The parameter of index `fixed` keeps the value of its start (for profiles).
    Levenberg-Marquardt with Marquardt's scaling (Moré 1978); a parameter on its bound stays there
    while the gradient points outward (gradient projection, Bertsekas 1982).
    """
    state = _Batch(curve, targets, starts, fixed)
    for _ in range(_MOST_ITERATIONS):
        if not state.step():
            break
    return _on_bounds(state.parameters)


class _Batch:
    """Rows of targets on their way to their optimum; each has its own damping."""

    def __init__(
        self, curve: Curve, targets: Floats, starts: Floats, fixed: int | None = None
    ) -> None:
        self._curve, self._targets = curve, targets
        self.parameters = starts.copy()
        self._upper = np.append(np.ones(starts.shape[1] - 1), np.inf)
        self._fixed = np.arange(starts.shape[1]) == (-1 if fixed is None else fixed)
        self._damping = np.full(len(targets), _FIRST_DAMPING)
        self._cost = self._costs(self.parameters, targets)
        self._moving = np.full(len(targets), True)

    def step(self) -> bool:
        """Try one step of every row that still moves; False once none does."""
        rows = np.flatnonzero(self._moving)
        now = self.parameters[rows]
        trial = np.clip(now + self._direction(rows), 0.0, self._upper)
        cost = self._costs(trial, self._targets[rows])
        better = cost < self._cost[rows]
        # A step too small to matter ends a row, whether it helped or not.
        size = np.max(np.abs(trial - now) / (np.abs(now) + 1e-9), axis=1)
        self.parameters[rows[better]] = trial[better]
        self._cost[rows[better]] = cost[better]
        factor = np.where(better, 0.1, 10.0)
        self._damping[rows] = np.maximum(self._damping[rows] * factor, _LEAST_DAMPING)
        self._moving[rows] = (size > _TOLERANCE) & (self._damping[rows] < _MOST_DAMPING)
        return bool(np.any(self._moving))

    def _direction(self, rows: NDArray[np.intp]) -> Floats:
        now = self.parameters[rows]
        jacobian = self._curve.jacobian(now)
        errors = self._targets[rows] - self._curve.predict(now)
        uphill = np.einsum("bij,bi->bj", jacobian, errors)
        normal = np.einsum("bij,bik->bjk", jacobian, jacobian)
        outward = ((now <= 0) & (uphill < 0)) | ((now >= self._upper) & (uphill > 0))
        held = outward | self._fixed
        scales = np.sqrt(np.einsum("bjj->bj", normal))
        scales = np.where(scales > 0, scales, 1.0)
        free = ~held
        scaled = normal / (scales[:, :, np.newaxis] * scales[:, np.newaxis, :])
        scaled = scaled * (free[:, :, np.newaxis] & free[:, np.newaxis, :])
        identity = np.eye(now.shape[1])
        scaled = scaled + identity * (self._damping[rows, np.newaxis] + held)[:, np.newaxis, :]
        gradient = np.where(free, uphill / scales, 0.0)
        return np.linalg.solve(scaled, gradient[:, :, np.newaxis])[:, :, 0] / scales

    def _costs(self, parameters: Floats, targets: Floats) -> Floats:
        return np.asarray(np.sum((targets - self._curve.predict(parameters)) ** 2, axis=1))


def _on_bounds(parameters: Floats) -> Floats:
    return np.where(parameters < _ZERO, 0.0, parameters)


def _best(curve: Curve, loss: str, scale: float, *more_starts: Floats) -> Floats:
    starts = [*more_starts, *_starts(curve)]
    found = [_from_start(curve, start, loss, scale) for start in starts]
    return min(found, key=lambda one: one[0])[1]


def _from_start(curve: Curve, start: Floats, loss: str, scale: float) -> tuple[float, Floats]:
    unit = curve.unit
    size = np.append(np.ones(len(start) - 1), unit)
    upper = np.append(np.ones(len(start) - 1), np.inf)
    result = least_squares(
        lambda x: -curve.residuals(x * size) / unit,
        start / size,
        jac=lambda x: curve.jacobian(x * size) * size / unit,
        bounds=(np.zeros(len(start)), upper),
        x_scale=_scales(curve) / size,
        loss=loss,
        f_scale=scale / unit,
        ftol=_TOLERANCE,
        xtol=_TOLERANCE,
        gtol=_TOLERANCE,
        max_nfev=_MOST_EVALUATIONS,
    )
    return float(result.cost), np.asarray(result.x * size, dtype=np.float64)


def _scales(curve: Curve) -> Floats:
    """How large each parameter may be expected: unscaled gradients can be singular."""
    largest = np.max(np.abs(curve.terms), axis=0, initial=1e-12)
    return np.append(np.minimum(1.0, 1 / largest), np.max(curve.y / curve.n))


def _starts(curve: Curve) -> Sequence[Floats]:
    """Every pair of a contention and a coherency; γ the best one for it (it is linear)."""
    columns = curve.terms.shape[1]
    choices: list[list[float]] = [list(_CONTENTION_STARTS)] if columns else []
    if columns > 1:
        largest = float(np.max(np.abs(curve.terms[:, 1]), initial=1e-12))
        choices.append([min(0.9, one / largest) for one in _COHERENCY_STARTS])
    starts = []
    for coefficients in itertools.product(*choices):
        shape = curve.predict(np.append(coefficients, 1.0))
        gamma = float(shape @ curve.y / (shape @ shape))
        starts.append(np.append(coefficients, gamma))
    return starts
