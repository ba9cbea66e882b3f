"""A database that answers 300 ms later: slower screens, no pile-up.

Scenario 1 of the failure catalogue ("DB latency"). The catalogue reads vehicle states from a cache;
the reference backend asks the database each time and keeps the last known state for when it fails.
So reads cost one round trip more, and so does a command: its outcome, and what it did to the car,
are written down by one statement. Each of them holds a connection of the pool meanwhile, so that 16
(`TARGET_DATABASE_POOL`) serve 53 operations a second. See docs/experiments.md.

Blast radius: link `database`, 20 s.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, latency
from launchday.chaos.hypothesis import Expectation, Hypothesis

EXPERIMENT = Experiment(
    title="A slow database makes screens slower, and nothing else",
    description=(
        "In the evening every answer of the database comes 300 ms ± 50 ms later. Owners wait a "
        "little for the state of their car; nobody is turned away, and nothing piles up."
    ),
    faults=(latency("database", latency_ms=300, jitter_ms=50),),
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
            Expectation("success_share", endpoints=("state", "poll"), at_least=0.99),
            Expectation("p95_seconds", endpoints=("state",), at_most=0.75, baseline_factor=3),
            Expectation("success_share", endpoints=("unlock", "climate_start"), at_least=0.99),
            Expectation("server_error_share", at_most=0.0),
            Expectation("metric_highest", metric="shed_inflight", at_most=40),
        ),
        recovered=(
            Expectation("success_share", at_least=0.99),
            Expectation("p95_seconds", endpoints=("state",), at_most=0.3, baseline_factor=1.5),
        ),
    ),
)
