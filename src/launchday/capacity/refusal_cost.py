"""What a refusal costs of an answer's CPU, from a run in which the target refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from launchday.capacity.resources import CPU
from launchday.capacity.results import Estimate
from launchday.capacity.steps import Step

_REFUSES_FROM = 0.1
_REFUSES_NONE = 0.01
_FEWEST_REFUSING = 2
_FEWEST_ANSWERING = 3
_WIDEST = 0.25
_METHOD = "CPU on answers and refusals, least squares, delta method"


def refusal_cost(steps: Sequence[Step]) -> Estimate | None:
    """k = R / D of CPU = a + D · answered + R · refused, all per second (reference, 3.4 and 5.7).

    It takes two steps or more that refused at least 10 % of what was offered and three that refused
    hardly anything: otherwise, or where the interval is wider than ± 0.25, None: nobody can tell. A
    refusal never costs less than nothing: ends below 0 are 0.
    """
    used = [s for s in steps if CPU in s.utilisation and s.throughput_rps > 0 and not s.held_out]
    refusing = sum(step.shed_share >= _REFUSES_FROM for step in used)
    answering = sum(step.shed_share <= _REFUSES_NONE for step in used)
    if refusing < _FEWEST_REFUSING or answering < _FEWEST_ANSWERING:
        return None
    columns = np.array([[1.0, s.throughput_rps, s.offered_rps * s.shed_share] for s in used])
    busy = np.array([s.utilisation[CPU] * s.units.get(CPU, 1.0) for s in used])
    return _ratio(columns, busy)


def _ratio(columns: NDArray[np.float64], busy: NDArray[np.float64]) -> Estimate | None:
    """k with its 95 % interval: var k = (var R - 2 k cov(R, D) + k² var D) / D²."""
    n, unknowns = columns.shape
    (_, answer, refusal), _, rank, _ = np.linalg.lstsq(columns, busy, rcond=None)
    if rank < unknowns or answer <= 0:
        return None
    k = float(refusal / answer)
    left = busy - columns @ np.linalg.solve(columns.T @ columns, columns.T @ busy)
    noise = float(left @ left) / (n - unknowns)
    covariance = noise * np.linalg.inv(columns.T @ columns)
    gradient = np.array([0.0, -k, 1.0]) / answer
    spread = float(np.sqrt(gradient @ covariance @ gradient))
    half = float(student.ppf(0.975, n - unknowns)) * spread
    if half > _WIDEST:
        return None
    return Estimate(max(k, 0.0), max(k - half, 0.0), max(k + half, 0.0), n, _METHOD)
