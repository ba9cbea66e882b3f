"""From points to a scalability law: fitted, doubted, compared with simpler and other curves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from launchday.capacity import usl_rivals
from launchday.capacity.results import Estimate, UslFit
from launchday.capacity.usl import Usl
from launchday.capacity.usl_flags import Evidence, is_usable, judge, unusable_words
from launchday.capacity.usl_intervals import band, coefficients, peaks
from launchday.capacity.usl_noise import CONSTANT, kind_of_noise, variance
from launchday.capacity.usl_solver import Curve, Floats, solve, solve_robust
from launchday.errors import RecordError

LEAST_POINTS = 3
_MAD_TO_SIGMA = 1.4826  # of normal errors
_EXACT = 1e-9  # of the largest throughput: residuals below are rounding


def fit_usl(points: Sequence[tuple[float, float]], seed: int = 1) -> UslFit:
    """Fit X(N) to (in flight, throughput per second); same points and seed, same answer.

    Least squares within α, β in [0, 1] and γ >= 0; a twin with soft-L1 loss (scale
    1.4826 · MAD of the residuals) that outliers sway less; intervals as in `usl_intervals`; flags
    and refusals as in `usl_flags`. A refused fit still shows its numbers. Points that are no
    measurement (NaN, infinite, zero, negative) are left out of them, and named in `refused`.
    Raises RecordError if fewer than 3 points are left: three coefficients need three points.
    """
    usable = tuple((float(n), float(x)) for n, x in points if is_usable((n, x)))
    unusable = unusable_words(points)
    if len(usable) < LEAST_POINTS:
        raise RecordError(
            f"{len(usable)} usable point(s) of in flight and throughput, the scalability law needs "
            f"at least {LEAST_POINTS}" + "".join(f"; {words}" for words in unusable)
        )
    curve = usl_curve(usable)
    return _assemble(curve, usable, unusable, seed)


def fit_coefficients(points: Sequence[tuple[float, float]]) -> tuple[Estimate, ...]:
    """Only α, β and γ with their intervals, of usable points: what studies of coverage repeat."""
    curve = usl_curve(points)
    return coefficients(curve, solve(curve))


def usl_curve(points: Sequence[tuple[float, float]]) -> Curve:
    """The law's family of curves at these points."""
    array = np.asarray(points, dtype=np.float64)
    return usl_rivals.curve(usl_rivals.USL, array[:, 0], array[:, 1])


def _assemble(
    curve: Curve, points: tuple[tuple[float, float], ...], unusable: tuple[str, ...], seed: int
) -> UslFit:
    parameters = solve(curve)
    alpha, beta, gamma = coefficients(curve, parameters)
    peak = peaks(curve, parameters, seed)
    residuals = tuple(curve.residuals(parameters).tolist())
    robust = _twin(curve, parameters)
    aicc = usl_rivals.compare(curve.n, curve.y, parameters)
    spread = _spread_at(curve, parameters, peak.rps.value)
    evidence = Evidence(points, unusable, alpha, beta, gamma, peak.rps, residuals, robust, spread)
    flags, refused = judge(evidence)
    return UslFit(
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        peak_concurrency=peak.concurrency,
        peak_rps=peak.rps,
        limit_rps=Usl(alpha.value, beta.value, gamma.value).limit_rps,
        points=points,
        residuals=residuals,
        robust=robust,
        aicc=aicc,
        best=min(aicc, key=lambda name: aicc[name]),
        no_peak_share=peak.no_peak_share,
        r_squared=_r_squared(curve, parameters),
        band=band(curve, parameters),
        flags=flags,
        refused=refused,
    )


def _twin(curve: Curve, parameters: Floats) -> tuple[float, float, float]:
    residuals = curve.residuals(parameters)
    scale = _MAD_TO_SIGMA * float(np.median(np.abs(residuals - np.median(residuals))))
    # Where most points are met exactly there is nothing to be robust against.
    exact = scale <= _EXACT * curve.unit
    found = parameters if exact else solve_robust(curve, scale, parameters)
    return float(found[0]), float(found[1]), float(found[2])


def _spread_at(curve: Curve, parameters: Floats, rps: float) -> float:
    """Standard deviation of a point at this throughput; 0 without a degree of freedom."""
    if len(curve.y) <= len(parameters):
        return 0.0
    kind = kind_of_noise(curve, parameters)
    spread = math.sqrt(variance(curve, parameters, kind))
    return spread if kind == CONSTANT else spread * rps


def _r_squared(curve: Curve, parameters: Floats) -> float:
    total = float(np.sum((curve.y - np.mean(curve.y)) ** 2))
    return 1 - curve.squares(parameters) / total if total > 0 else 1.0
