"""What load costs in waiting, in sentences: queueing theory beside what was measured."""

from __future__ import annotations

from launchday.capacity.answer import Plan
from launchday.capacity.queueing import latency_factor
from launchday.capacity.results import Demand
from launchday.capacity.steps import Step
from launchday.capacity.wording import number, percent, plural

_LOADS = (0.5, 0.85, 0.95)
_MOST_SERVERS = 10_000


def queueing_words(plan: Plan) -> tuple[str, ...]:
    """One sentence of theory, and one that holds it against the measurement where there is one."""
    demand = plan.limiting
    servers = _servers(demand)
    who = "one server" if servers == 1 else f"{servers} servers"
    resource = f" ({demand.resource})" if demand else ""
    paid = ", ".join(
        f"at {percent(load)} you pay {number(latency_factor(load, servers))}x" for load in _LOADS
    )
    theory = (
        f"Waiting grows faster than load: with {who}{resource}, {paid} the mean latency of an idle "
        "target (M/M/c; with one server also M/G/1 with processor sharing)."
    )
    compared = _compared(plan, demand, servers) if demand else ""
    return tuple(sentence for sentence in (theory, compared) if sentence)


def _servers(demand: Demand | None) -> int:
    return 1 if demand is None else min(max(round(demand.units), 1), _MOST_SERVERS)


def _compared(plan: Plan, demand: Demand, servers: int) -> str:
    """The mean at the highest steady step below saturation, by that at the lowest."""
    steps = sorted(
        (s for s in plan.measured.steps if s.steady and s.mean_seconds and _load(s, demand) < 0.98),
        key=lambda step: step.offered_rps,
    )
    if len(steps) < 2:
        return ""
    low, high = steps[0], steps[-1]
    says = latency_factor(_load(high, demand), servers) / latency_factor(
        _load(low, demand), servers
    )
    seen = (high.mean_seconds or 0.0) / (low.mean_seconds or 1.0)
    busy = f"{percent(_load(high, demand))} of {plural(servers, 'unit')} of {demand.resource}"
    return (
        f"Measured: at {number(high.throughput_rps)} rps ({busy}) the mean latency was "
        f"{number(seen)} times that at {number(low.throughput_rps)} rps; queueing theory says "
        f"{number(says)} times."
    )


def _load(step: Step, demand: Demand) -> float:
    return demand.utilisation_at(step.throughput_rps)
