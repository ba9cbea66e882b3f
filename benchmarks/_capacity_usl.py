"""How often the intervals of a scalability fit hold the truth, over seeded synthetic sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from launchday.capacity.results import Estimate
from launchday.capacity.usl import Usl
from launchday.capacity.usl_fit import fit_coefficients

FEWEST_POINTS, MOST_POINTS = 8, 30
LEAST_NOISE, MOST_NOISE = 0.02, 0.05  # standard deviation of a point over its mean

Points = list[tuple[float, float]]


def usl_interval_coverage(sets: int = 200, seed: int = 1) -> float:
    """Share of 95 % intervals that hold the truth, over α, β and γ of all sets together."""
    found = usl_interval_coverages(sets, seed)
    return sum(found.values()) / len(found)


def usl_interval_coverages(sets: int = 200, seed: int = 1) -> Mapping[str, float]:
    """The same by coefficient."""
    hits = np.zeros(3)
    for truth, points in synthetic_sets(sets, seed):
        estimates = fit_coefficients(points)
        values = (truth.alpha, truth.beta, truth.gamma)
        hits += [holds(one, value) for one, value in zip(estimates, values, strict=True)]
    return dict(zip(("alpha", "beta", "gamma"), (hits / sets).tolist(), strict=True))


def holds(estimate: Estimate, truth: float) -> bool:
    """Whether the interval holds the truth; none holds nothing."""
    if estimate.low is None or estimate.high is None:
        return False
    return estimate.low <= truth <= estimate.high


def synthetic_sets(sets: int, seed: int) -> Iterator[tuple[Usl, Points]]:
    """Random laws, each with 8 to 30 points to beyond its knee and normal noise of 2 to 5 %.

    α from 0.005 to 0.2, a peak at 10 to 200 in flight, γ from 10 to 1000, loads log-spaced from 1
    to 0.6 to 2 times the peak.
    """
    random = np.random.default_rng(seed)
    for _ in range(sets):
        alpha = float(np.exp(random.uniform(np.log(0.005), np.log(0.2))))
        peak = float(np.exp(random.uniform(np.log(10), np.log(200))))
        law = Usl(alpha, (1 - alpha) / peak**2, float(random.uniform(10, 1000)))
        count = int(random.integers(FEWEST_POINTS, MOST_POINTS + 1))
        noise = float(random.uniform(LEAST_NOISE, MOST_NOISE))
        loads = np.geomspace(1, peak * random.uniform(0.6, 2.0), count).tolist()
        factors = 1 + noise * random.standard_normal(count)
        yield (
            law,
            [(n, law.throughput(n) * float(f)) for n, f in zip(loads, factors, strict=True)],
        )
