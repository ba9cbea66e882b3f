"""The parts of capacity.json, one function each."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from launchday.capacity.answer import Plan, Request
from launchday.capacity.numbers import Number, Numbers
from launchday.capacity.results import Demand
from launchday.capacity.steps import Step

NO_MODEL = "no model"
INFINITE_PEAK = "peak is infinite"


def usl(plan: Plan) -> dict[str, Any]:
    """The model with plain numbers; an infinite one is null, and a flag says so."""
    fit = plan.usl
    if fit is None:
        empty = dict.fromkeys(
            ("alpha", "beta", "gamma", "peak_concurrency", "peak_rps", "limit_rps")
        )
        return {**empty, "flags": [NO_MODEL], "refused": plan.usl_missing or NO_MODEL}
    infinite = [INFINITE_PEAK] if math.isinf(fit.peak_concurrency.value) else []
    alpha, beta, gamma = fit.robust
    return {
        "alpha": fit.alpha.value,
        "beta": fit.beta.value,
        "gamma": fit.gamma.value,
        "peak_concurrency": _finite(fit.peak_concurrency.value),
        "peak_rps": _finite(fit.peak_rps.value),
        "limit_rps": _finite(fit.limit_rps),
        "flags": [*fit.flags, *infinite],
        "refused": fit.refused,
        "no_peak_share": fit.no_peak_share,
        "r_squared": fit.r_squared,
        "aicc": {name: _finite(fit.aicc[name]) for name in sorted(fit.aicc)},
        "best": fit.best,
        "robust": {"alpha": alpha, "beta": beta, "gamma": gamma},
        "points": [
            {"concurrency": n, "throughput_rps": x, "residual_rps": off}
            for (n, x), off in zip(fit.points, fit.residuals, strict=True)
        ],
    }


def usl_intervals(plan: Plan, numbers: Numbers) -> dict[str, Number | None] | None:
    """The same with interval, count and method."""
    fit = plan.usl
    if fit is None:
        return None
    names = ("alpha", "beta", "gamma", "peak_concurrency", "peak_rps")
    return {name: numbers.of(getattr(fit, name)) for name in names}


def found(plan: Plan, numbers: Numbers) -> dict[str, Any] | None:
    """What the objective allows, for the target as tested."""
    if plan.found is None:
        return None
    ladder = [
        {"seconds": rung.seconds, "rps": numbers.of(rung.rps), "words": rung.words}
        for rung in plan.found.ladder
    ]
    return {
        "crossing": numbers.of(plan.found.crossing),
        "proved": numbers.of(plan.found.proved, plan.found.proved_source),
        "binding": plan.found.binding,
        "refused": plan.found.refused,
        "ladder": ladder,
        "tested_low_rps": plan.found.tested_low_rps,
        "tested_high_rps": plan.found.tested_high_rps,
    }


def bottleneck(plan: Plan, numbers: Numbers) -> dict[str, Any] | None:
    """Every measured resource, and the one that gives out first."""
    if plan.bottleneck is None:
        return None
    return {
        "resource": plan.bottleneck.resource,
        "second": plan.bottleneck.second,
        "sentence": plan.bottleneck.sentence,
        "demands": [_demand(demand, numbers) for demand in plan.bottleneck.demands],
    }


def _demand(demand: Demand, numbers: Numbers) -> dict[str, Any]:
    return {
        "resource": demand.resource,
        "seconds": numbers.of(demand.seconds),
        "units": demand.units,
        "saturates_rps": numbers.of(demand.saturates_rps),
        "highest_utilisation": demand.highest_utilisation,
        "words": demand.words,
    }


def growth(plan: Plan, numbers: Numbers) -> list[dict[str, Any]]:
    """A row for each quarter."""
    return [
        {
            "quarter": row.quarter,
            "rps": numbers.of(row.rps, "and the growth of the request"),
            "replicas": row.replicas,
            "enough": row.enough,
        }
        for row in plan.growth
    ]


def retry(plan: Plan, numbers: Numbers) -> list[dict[str, Any]]:
    """A row for each policy."""
    formula = "rho max(1, cpu_share max_p [1-(1-p)^A + k a(p) (1-p)])"
    return [
        {**asdict(row), "vulnerability": numbers.plain(row.vulnerability, formula)}
        for row in plan.retry
    ]


def steps(plan: Plan, numbers: Numbers) -> list[dict[str, Any]]:
    """Every load that was held, whether it was used or not."""
    return [_step(step, numbers) for step in plan.measured.steps]


def _step(step: Step, numbers: Numbers) -> dict[str, Any]:
    latency = numbers.plain(
        step.latency_seconds,
        "quantile of the objective, from the intended time",
        n=step.requests,
        low=step.low_seconds,
        high=step.high_seconds,
        provenance=step.source,
    )
    return {
        "source": step.source,
        "run_id": step.run_id,
        "replicas": step.replicas,
        "seconds": step.seconds,
        "requests": step.requests,
        "offered_rps": step.offered_rps,
        "throughput_rps": step.throughput_rps,
        "goodput_rps": step.goodput_rps,
        "concurrency": step.concurrency,
        "mean_seconds": step.mean_seconds,
        "latency_seconds": latency,
        "shed_share": step.shed_share,
        "error_share": step.error_share,
        "utilisation": {name: step.utilisation[name] for name in sorted(step.utilisation)},
        "units": {name: step.units[name] for name in sorted(step.units)},
        "unsteady": list(step.unsteady),
        "held_out": step.held_out,
    }


def asked(request: Request) -> dict[str, Any]:
    """The question, so that the answer can be had again."""
    return asdict(request)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
