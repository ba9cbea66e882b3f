"""What the forecast needs: replicas, other objectives and surges, growth, cost, retries."""

from __future__ import annotations

from dataclasses import replace

from launchday.capacity.answer import Plan
from launchday.capacity.cost import cost
from launchday.capacity.growth import ahead, runs_out
from launchday.capacity.paragraph import replicas_tested, shared
from launchday.capacity.replicas import replicas_for, survivors, usable_rps
from launchday.capacity.resources import CPU
from launchday.capacity.results import Estimate, Replicas, RetryVerdict, WhatIf
from launchday.capacity.retry_verdict import POLICIES, verdicts
from launchday.capacity.what_if import what_if
from launchday.errors import RecordError


def with_needs(answer: Plan) -> Plan:
    """The plan with everything that follows from the rate of one replica and the request.

    Raises:
        SettingsError: the request cannot be planned for.
    """
    each, forecast = answer.per_replica, answer.request.forecast
    if each is None:
        return answer
    if forecast is None:
        return replace(answer, retry=_retry(answer, answer.request.utilisation))
    try:
        needed = _replicas(answer, each)
    except RecordError as error:
        return replace(answer, refused=str(error))
    answer = replace(answer, replicas=needed, retry=_retry(answer, _busy(answer, each, needed)))
    answer = replace(answer, what_if=_what_if(answer, each))
    return _with_cost(_with_growth(answer, each), needed)


def planned(replicas: Replicas) -> int:
    """How many replicas are to be run: enough to lose one, or a zone where there are several."""
    return replicas.across_zones if replicas.zones > 1 else replicas.with_spare


def _replicas(answer: Plan, each: Estimate) -> Replicas:
    request = answer.request
    assert request.forecast is not None
    return replicas_for(
        request.forecast,
        each,
        zones=request.zones,
        utilisation=request.utilisation,
        attempts=request.amplification,
    )


def _busy(answer: Plan, each: Estimate, needed: Replicas) -> float:
    """ρ: the upper forecast as a share of what the needed replicas, without spare ones, carry."""
    carried = needed.replicas * (each.value if each.low is None else each.low)
    return needed.forecast_rps / carried


def _retry(answer: Plan, utilisation: float) -> tuple[RetryVerdict, ...]:
    request = answer.request
    return verdicts(
        utilisation,
        request.refusal_ratio,
        attempts=request.retry_attempts,
        shedding=request.shedding,
        cpu_share=_cpu_share(answer),
        policies=(request.retry_policy,) if request.retry_policy else tuple(POLICIES),
    )


def _cpu_share(answer: Plan) -> float:
    """How much of its CPU a replica uses, at most, at the rate that is planned with."""
    each = answer.per_replica
    demands = answer.bottleneck.demands if answer.bottleneck else ()
    full = next((d.saturates_rps for d in demands if d.resource == CPU), None)
    if each is None or full is None:
        return 1.0
    full = shared(full, replicas_tested(answer))
    rate = each.value if each.low is None else each.low
    # A rate that was proved did not take more CPU than there is, whatever the slope says.
    return min(rate / (full.low or full.value), 1.0)


def _what_if(answer: Plan, each: Estimate) -> tuple[WhatIf, ...]:
    request, found = answer.request, answer.found
    assert found is not None
    assert request.forecast is not None
    return what_if(
        found.ladder,
        request.forecast,
        tested_replicas=max(step.replicas for step in answer.measured.steps),
        surges=request.surges,
        zones=request.zones,
        utilisation=request.utilisation,
        attempts=request.amplification,
        binding=found.binding,
        recommended=(request.objective.seconds, usable_rps(each)),
    )


def _with_growth(answer: Plan, each: Estimate) -> Plan:
    request = answer.request
    if request.growth is None or request.forecast is None:
        return replace(answer, run_out=_today(answer))
    rows = ahead(
        request.forecast,
        request.growth,
        each,
        request.replicas_now,
        request.zones,
        utilisation=request.utilisation,
        attempts=request.amplification,
    )
    return replace(answer, growth=rows, run_out=runs_out(rows, request.replicas_now, request.zones))


def _today(answer: Plan) -> str:
    """Whether the replicas of today do, where somebody asks without a growth."""
    now, needed = answer.request.replicas_now, answer.replicas
    if now is None or needed is None:
        return ""
    left = survivors(now, answer.request.zones)
    loss = "one" if answer.request.zones == 1 else f"one of {answer.request.zones} zones"
    are = "is" if left == 1 else "are"
    words = f"after the loss of {loss}, {left:,} of today's {now:,} {are} left"
    words += f", {needed.replicas:,} needed"
    return f"{'Enough' if left >= needed.replicas else 'NOT ENOUGH'} today: {words}."


def _with_cost(answer: Plan, needed: Replicas) -> Plan:
    request = answer.request
    if request.price is None or request.forecast is None:
        return answer
    return replace(answer, cost=cost(planned(needed), request.forecast.rps, request.price))
