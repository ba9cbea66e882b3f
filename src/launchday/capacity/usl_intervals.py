"""How sure the coefficients, the peak and the curve are: t intervals, profiles and resamples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from launchday.capacity.results import Estimate
from launchday.capacity.usl import Usl
from launchday.capacity.usl_noise import CONSTANT, covariance, kind_of_noise, weights
from launchday.capacity.usl_profile import profile_interval
from launchday.capacity.usl_solver import Curve, Floats, polish

RESAMPLES = 500
_LEVEL = 0.95
_BAND_POINTS = 61
_BAND_TO = 2.0  # times the largest tested load: nothing is predicted beyond


@dataclass(frozen=True)
class Peaks:
    """What resampling says of the peak: both as an interval that may be infinite above."""

    concurrency: Estimate
    rps: Estimate
    no_peak_share: float


def t_quantile(freedom: int) -> float:
    """The two-sided 95 % quantile of Student's t."""
    return float(stdtrit(freedom, (1 + _LEVEL) / 2))


def coefficients(curve: Curve, parameters: Floats) -> tuple[Estimate, ...]:
    """Each parameter with its 95 % interval; without one if m <= 3 or it is not identified.

    Inside the bounds: ± t_{m-3} · standard error, of the covariance that the noise calls for (it
    may reach below 0, which says "not told apart from 0"). With a coefficient on its bound that
    symmetry is false; then every interval is where the profile of the sum of squares stays below
    RSS · (1 + t²/(m-3)), the rise widened as proportional noise widens the variance.
    """
    m = len(curve.y)
    kind = kind_of_noise(curve, parameters)
    spread = covariance(curve, parameters, kind)
    if spread is None:
        method = "bounded least squares, no interval"
        return tuple(Estimate(float(value), None, None, m, method) for value in parameters)
    on_bound = bool(np.any((parameters[:-1] <= 0) | (parameters[:-1] >= 1)))
    pairs = (
        _profiles(curve, parameters, spread) if on_bound else _symmetric(curve, parameters, spread)
    )
    how = "profile" if on_bound else "t"
    method = f"bounded least squares, {how} interval (n-3), noise {kind}"
    return tuple(
        Estimate(float(value), low, high, m, method)
        for value, (low, high) in zip(parameters, pairs, strict=True)
    )


def band(curve: Curve, parameters: Floats) -> tuple[tuple[float, float, float], ...]:
    """(N, low, high) of the mean by the delta method, from the least load to twice the largest.

    Var X(N) = g(N)ᵀ C g(N), g the gradient after the parameters. Empty without a covariance.
    """
    spread = covariance(curve, parameters, kind_of_noise(curve, parameters))
    if spread is None:
        return ()
    n = np.linspace(float(np.min(curve.n)), _BAND_TO * float(np.max(curve.n)), _BAND_POINTS)
    at = Curve(n, np.ones_like(n), np.column_stack([n - 1, n * (n - 1)]))
    slopes = at.jacobian(parameters)
    errors = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", slopes, spread, slopes), 0.0))
    half = t_quantile(len(curve.y) - len(parameters)) * errors
    mean = at.predict(parameters)
    low = np.maximum(mean - half, 0.0)
    return tuple(zip(n.tolist(), low.tolist(), (mean + half).tolist(), strict=True))


def peaks(curve: Curve, parameters: Floats, seed: int) -> Peaks:
    """The peak with the 2.5 % and 97.5 % of residual-bootstrap resamples.

    Residuals (relative ones where noise is proportional) are centred and widened by √(m/(m-3))
    (they are smaller than errors), drawn with replacement, added to the fitted curve, and fitted
    again. A resample without a peak counts as an infinite N* and the limit γ/α. It says nothing
    of a curve that is wrong. No interval with m <= 3.
    """
    law = Usl(float(parameters[0]), float(parameters[1]), float(parameters[2]))
    m = len(curve.y)
    if m <= len(parameters):
        nothing = "no interval: as many coefficients as points"
        concurrency = Estimate(law.peak_concurrency, None, None, m, nothing)
        rps = Estimate(law.peak_rps, None, None, m, nothing)
        return Peaks(concurrency, rps, float(law.beta == 0))
    alpha, beta, gamma = _resampled(curve, parameters, seed).T
    has_peak = beta > 0
    n_star = np.where(has_peak, np.sqrt((1 - alpha) / np.where(has_peak, beta, 1.0)), np.inf)
    divisor = 2 * np.sqrt((1 - alpha) * beta) + alpha - beta
    x_star = np.where(divisor > 0, gamma / np.where(divisor > 0, divisor, 1.0), np.inf)
    method = f"residual bootstrap, {RESAMPLES} resamples, seed {seed}"
    concurrency = _between(law.peak_concurrency, n_star, m, method)
    rps = _between(law.peak_rps, x_star, m, method)
    return Peaks(concurrency, rps, float(np.mean(~has_peak)))


def _symmetric(curve: Curve, parameters: Floats, spread: Floats) -> list[tuple[float, float]]:
    half = t_quantile(len(curve.y) - len(parameters)) * np.sqrt(np.diag(spread))
    return list(zip((parameters - half).tolist(), (parameters + half).tolist(), strict=True))


def _profiles(curve: Curve, parameters: Floats, spread: Floats) -> list[tuple[float, float]]:
    freedom = len(curve.y) - len(parameters)
    rise = t_quantile(freedom) ** 2 / freedom
    plain = covariance(curve, parameters, CONSTANT)
    wider = np.ones(len(parameters)) if plain is None else np.diag(spread) / _above_0(plain)
    errors = np.sqrt(np.diag(spread))
    return [
        profile_interval(curve, parameters, j, float(errors[j]), rise * float(wider[j]))
        for j in range(len(parameters))
    ]


def _above_0(spread: Floats) -> Floats:
    return np.maximum(np.diag(spread), np.finfo(np.float64).tiny)


def _resampled(curve: Curve, parameters: Floats, seed: int) -> Floats:
    m = len(curve.y)
    weight = weights(curve, parameters, kind_of_noise(curve, parameters))
    scaled = curve.residuals(parameters) / weight
    wide = (scaled - np.mean(scaled)) * math.sqrt(m / (m - len(parameters)))
    drawn = np.random.default_rng(seed).integers(0, m, size=(RESAMPLES, m))
    targets = curve.predict(parameters) + wide[drawn] * weight
    return polish(curve, targets, np.repeat(parameters[np.newaxis, :], RESAMPLES, axis=0))


def _between(value: float, resampled: Floats, m: int, method: str) -> Estimate:
    # Whole resamples, no interpolation: halfway to infinity is no number.
    ordered = np.sort(resampled)
    tail = int((1 - _LEVEL) / 2 * len(ordered))
    low, high = float(ordered[tail]), float(ordered[-1 - tail])
    return Estimate(value, min(low, value), max(high, value), m, method)
