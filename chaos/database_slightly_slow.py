"""A database that is a little slower costs that much, once.

Scenario 10 of the failure catalogue ("slow cache"): a helper that is slower than doing without it.
The reference backend's memory of last known states is in its process and cannot be slow; what can
be is the way to the database. 50 ms for each round trip: looking makes one, so it may cost 50 ms
and jitter, not a multiple, and nothing may give up (no stale answer, breaker closed).

Blast radius: link `database`, 20 s.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, latency
from launchday.chaos.hypothesis import Expectation, Hypothesis

EXPERIMENT = Experiment(
    title="Fifty milliseconds more to the database are fifty milliseconds more",
    description=(
        "Every answer of the database comes 50 ms later. Owners would need a stopwatch to notice; "
        "what they see is up to date."
    ),
    faults=(latency("database", latency_ms=50, jitter_ms=5),),
    phase="peak",
    after_seconds=5,
    duration_seconds=20,
    probe={"database": "postgres"},
    hypothesis=Hypothesis(
        steady=(
            Expectation("success_share", at_least=0.99),
            Expectation("p95_seconds", endpoints=("state",), at_most=0.3),
        ),
        during=(
            Expectation("success_share", at_least=0.99),
            Expectation("p50_seconds", endpoints=("state",), at_most=0.16, baseline_factor=1.5),
            Expectation("metric_increase", metric="car_stale_reads_total", at_most=0),
            Expectation(
                "metric_lowest",
                metric='car_breaker_state{dependency="database",state="closed"}',
                at_least=1,
                words="the circuit breaker of the database (1: closed)",
            ),
        ),
    ),
)
