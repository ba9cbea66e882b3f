"""How near the objective search comes to the truth of simulated servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from launchday.capacity.objective import find
from launchday.capacity.ps_tail import mm1_ps_rate_within_rps
from launchday.capacity.queueing import mmc_rate_within_rps
from launchday.capacity.results import Found
from launchday.capacity.simulate import Server, bimodal, exponential, mmc, ps, step
from launchday.capacity.steps import Objective

STEP_SECONDS = 60
NEAR = 0.05
LOADS_RPS = (40, 80, 120, 150, 165, 170, 175, 180, 185, 190, 195, 200)
"""Of servers that are saturated at 200 rps: 5 rps apart near the edge."""


@dataclass(frozen=True)
class Case:
    """A server, what is asked of it, and the rate that truly allows."""

    server: Server
    objective: Objective
    truth_rps: float


def cases() -> tuple[Case, ...]:
    """M/M/20 and M/M/1-PS at p99, M/G/1-PS (two service times) at the mean, S / (1 - rho)."""
    two_times = ps(bimodal(0.003, 0.023, 0.1), 0.005)
    return (
        Case(mmc(20, 0.1), Objective(0.99, 0.6), mmc_rate_within_rps(0.99, 0.6, 0.1, 20) or 0.0),
        Case(
            ps(exponential(0.005), 0.005, "M/M/1-PS"),
            Objective(0.99, 0.3),
            mm1_ps_rate_within_rps(0.99, 0.3, 0.005),
        ),
        Case(two_times, Objective(None, 0.06), 200 * (1 - 0.005 / 0.06)),
    )


def search(case: Case, seed: int, loads: Sequence[float] = LOADS_RPS) -> Found:
    """One simulated breakpoint run and what is found in it."""
    rng = np.random.default_rng(seed)
    quantile = case.objective.quantile
    steps = [step(case.server, load, STEP_SECONDS, rng, quantile) for load in loads]
    return find(steps, case.objective)


def scores(case: Case, seeds: int, first_seed: int = 1) -> dict[str, float]:
    """Shares of the seeds: crossing within 5 %, recommended above the truth, interval holds it."""
    found = [search(case, first_seed + number) for number in range(seeds)]
    return {
        "objective_within_5pct": fmean(_near(one, case.truth_rps) for one in found),
        "recommendation_above_truth": fmean(
            one.proved is not None and one.proved.value > case.truth_rps for one in found
        ),
        "crossing_ci_coverage": fmean(_held(one, case.truth_rps) for one in found),
        "recommended_by_truth": fmean(
            one.proved.value / case.truth_rps if one.proved else 0.0 for one in found
        ),
    }


def _near(found: Found, truth_rps: float) -> bool:
    return found.crossing is not None and abs(found.crossing.value / truth_rps - 1) <= NEAR


def _held(found: Found, truth_rps: float) -> bool:
    edge = found.crossing
    if edge is None or edge.high is None:
        return False
    return (edge.low or 0.0) <= truth_rps <= edge.high
