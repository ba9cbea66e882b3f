"""Four criticalities at the real gate, simulated: S15 and S16."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest

from launchday.admission import FixedLimit, QueueRules
from launchday.admission.gate import Gate
from tests.admission.scenarios import lognormal
from tests.admission.simulation import Outcomes, Trace, simulate

CRITICAL_PLUS, CRITICAL, SHEDDABLE_PLUS, SHEDDABLE = range(4)


def classes_at(load: dict[int, float], slots: int, seconds: int, seed: int = 1) -> Trace:
    """Arrivals of each class at its multiple of the capacity, in [from, to) when a pair."""
    random = Random(f"{seed} {slots}")
    arrivals: list[tuple[float, int]] = []
    for criticality, multiple in load.items():
        now = random.expovariate(multiple * slots / 0.05)
        while now < seconds:
            arrivals.append((now, criticality))
            now += random.expovariate(multiple * slots / 0.05)
    arrivals.sort()
    works = [lognormal(random) for _ in arrivals]
    times = [at for at, _ in arrivals]
    return Trace(slots, times, works, seconds, criticalities=[c for _, c in arrivals])


def play(trace: Trace, **rules: Any) -> Outcomes:
    limit = FixedLimit(max(math.ceil(1.2 * trace.slots), trace.slots + 2))
    return simulate(trace, Gate(limit, rules=QueueRules(**rules)))


def admitted_share(outcomes: Outcomes, criticality: int, begin: float, end: float) -> float:
    trace = outcomes.trace
    assert trace.criticalities is not None
    offered = sum(
        begin <= at < end
        for at, c in zip(trace.arrivals, trace.criticalities, strict=True)
        if c == criticality
    )
    admitted = sum(begin <= at < end for at in outcomes.admitted_by_class[criticality])
    return admitted / offered


@pytest.mark.parametrize("slots", [20, 50])
def test_s15_at_three_times_the_capacity_the_lowest_class_is_shed_first(slots: int) -> None:
    mix = {CRITICAL_PLUS: 0.3, CRITICAL: 0.6, SHEDDABLE_PLUS: 0.9, SHEDDABLE: 1.2}
    outcomes = play(classes_at(mix, slots, 40))
    shares = [admitted_share(outcomes, c, 2, 40) for c in range(4)]
    assert shares[CRITICAL_PLUS] >= 0.999
    assert shares[CRITICAL] >= 0.99
    assert shares[SHEDDABLE] <= 0.05
    assert shares[SHEDDABLE_PLUS] >= 0.05
    capacity = slots / 0.05 * 38
    assert sum(outcomes.good[2:40]) >= 0.97 * capacity


def test_s16_a_critical_class_gets_in_from_its_first_moment() -> None:
    low = classes_at({SHEDDABLE: 10.0}, 20, 20)
    high = classes_at({CRITICAL_PLUS: 0.2}, 20, 10, seed=2)
    events = [(at, SHEDDABLE) for at in low.arrivals]
    events += [(10 + at, CRITICAL_PLUS) for at in high.arrivals]
    events.sort()
    works = (low.works + high.works)[: len(events)]
    both = Trace(20, [at for at, _ in events], works, 20, criticalities=[c for _, c in events])
    outcomes = play(both)
    assert admitted_share(outcomes, CRITICAL_PLUS, 10, 11) >= 0.99
    assert admitted_share(outcomes, CRITICAL_PLUS, 10, 20) >= 0.99
