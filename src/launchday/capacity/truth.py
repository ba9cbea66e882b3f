"""What simulated servers truly take, in closed form: the yardstick of the estimators."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import optimize
from scipy.linalg import eigh_tridiagonal


def mmc_tail(seconds: float, rate_rps: float, servers: int, service_seconds: float) -> float:
    """P(T > t) of M/M/c: (1-C) e^{-mu t} + C (theta e^{-mu t} - mu e^{-theta t}) / (theta - mu).

    theta = c mu - lambda, C is Erlang's C. 1 where the server is saturated.
    """
    mu = 1 / service_seconds
    theta = servers * mu - rate_rps
    if theta <= 0:
        return 1.0
    waits = _erlang_c(servers, rate_rps * service_seconds)
    served = math.exp(-mu * seconds)
    if abs(theta - mu) < 1e-9 * mu:
        return (1 - waits) * served + waits * served * (1 + mu * seconds)
    queued = (theta * served - mu * math.exp(-theta * seconds)) / (theta - mu)
    return (1 - waits) * served + waits * queued


def _erlang_c(servers: int, offered: float) -> float:
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = offered * blocked / (k + offered * blocked)
    return blocked / (1 - offered / servers * (1 - blocked))


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


def rate_at(tail: Callable[[float], float], share: float, capacity_rps: float) -> float:
    """The rate at which the share over an objective, `tail(rate)`, is `share`."""
    found = optimize.brentq(
        lambda rate: tail(rate) - share, 1e-3 * capacity_rps, 0.99 * capacity_rps
    )
    return float(found)
