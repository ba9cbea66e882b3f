"""A database that takes five seconds to answer: given up after one, then left alone.

Scenario 2 of the failure catalogue ("DB very slow"). The bound is the reference backend's
`TARGET_DATABASE_PATIENCE_SECONDS` (1 s); the catalogue says 1.5 s. After five failures in a row the
circuit breaker opens, and whoever asks for a state that was read before gets it, with its age.

Blast radius: link `database`, 20 s.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, latency
from launchday.chaos.hypothesis import Expectation, Hypothesis

EXPERIMENT = Experiment(
    title="A database that hangs for seconds does not take its callers with it",
    description=(
        "Every answer of the database comes 5 s later. The app shows the last known state with its "
        "age, unlocking works, and what cannot work is refused at once, not after a wait."
    ),
    faults=(latency("database", latency_ms=5000),),
    phase="peak",
    after_seconds=5,
    duration_seconds=20,
    probe={"database": "postgres"},
    breaks=("vehicles", "sign_in", "reserve", "charger_session", "schedule"),
    hypothesis=Hypothesis(
        steady=(Expectation("success_share", at_least=0.99),),
        during=(
            Expectation(
                "metric_highest",
                metric='car_breaker_state{dependency="database",state="open"}',
                at_least=1,
                words="the circuit breaker of the database (1: open)",
            ),
            Expectation("metric_increase", metric="car_stale_reads_total", at_least=20),
            Expectation("server_error_share", at_most=0.0),
            Expectation("timeout_share", at_most=0.05, after_seconds=5),
            Expectation(
                "success_share", endpoints=("state", "poll"), at_least=0.9, after_seconds=5
            ),
            Expectation("p95_seconds", endpoints=("state",), at_most=0.3, after_seconds=5),
        ),
        recovered=(Expectation("success_share", at_least=0.99),),
    ),
)
