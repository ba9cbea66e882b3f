"""The latency of M/M/1 processor sharing, exactly: the yardstick of the estimators."""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize
from scipy.linalg import eigh_tridiagonal


def mm1_ps_tail(seconds: float, rate_rps: float, service_seconds: float) -> float:
    """P(T > t) of M/M/1-PS, exact but for a truncation that loses less than 1e-9.

    With n others present the request leaves at rate mu / (n + 1), an other one at mu n / (n + 1),
    one more comes at lambda; it meets n with probability (1 - rho) rho^n. The chain is reversible,
    so its generator is symmetric after scaling, and e^{Qt} follows from its eigenvalues.
    """
    rho = rate_rps * service_seconds
    if rho >= 1:
        return 1.0
    states = int(math.log(1e-12) / math.log(rho)) + 50
    mu = 1 / service_seconds
    others = np.arange(states, dtype=float)
    up = np.full(states, rate_rps)
    down = mu * others / (others + 1)
    # sqrt(up_n · down_{n+1}) beside the diagonal; weights w_n with w_n up_n = w_{n+1} down_{n+1}.
    beside = np.sqrt(up[:-1] * down[1:])
    values, vectors = eigh_tridiagonal(-(up + mu), beside)
    logs = np.concatenate(([0.0], np.cumsum(np.log(up[:-1]) - np.log(down[1:])))) / 2
    start = np.exp(math.log(1 - rho) + others * math.log(rho) - logs)
    survive = np.exp(logs - logs.max())
    left = vectors.T @ start
    right = vectors.T @ survive
    return float(np.sum(left * right * np.exp(values * seconds)) * math.exp(logs.max()))


def mm1_ps_rate_within_rps(quantile: float, seconds: float, service_seconds: float) -> float:
    """The rate at which `quantile` of the requests of an M/M/1-PS take at most `seconds`.

    Raises:
        ValueError: that is so at no utilisation, or at all of them up to 99 %.
    """
    capacity_rps = 1 / service_seconds
    found = optimize.brentq(
        lambda rate: mm1_ps_tail(seconds, rate, service_seconds) - (1 - quantile),
        1e-3 * capacity_rps,
        0.99 * capacity_rps,
    )
    return float(found)
