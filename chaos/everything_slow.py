"""Database and gateway are slow at the same time: what matters more goes on.

Scenario 20 of the failure catalogue ("combined": 1 and 9). The stampede of 9 is one of load, which
is the scenario's part: `-p multiple=5` brings it. What is measured is whether what matters most
goes on: unlocking and charging, which are never shed. A command costs two round trips to the
database here: it is promised, since the gateway is slow, and later its outcome is written down.

Blast radius: links `database` and `gateway`, 20 s.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, latency
from launchday.chaos.hypothesis import Expectation, Hypothesis

EXPERIMENT = Experiment(
    title="When everything is slow, what matters most goes on",
    description=(
        "The database answers 300 ms later and the vehicle gateway a second. Owners unlock and "
        "charge; screens take longer; what has time is what waits."
    ),
    faults=(
        latency("database", latency_ms=300, jitter_ms=50),
        latency("gateway", latency_ms=1000, jitter_ms=200),
    ),
    phase="peak",
    after_seconds=5,
    duration_seconds=20,
    probe={"database": "postgres"},
    hypothesis=Hypothesis(
        steady=(Expectation("success_share", at_least=0.99),),
        during=(
            Expectation("success_share", endpoints=("unlock", "charger_session"), at_least=0.99),
            Expectation("success_share", endpoints=("state", "vehicles"), at_least=0.95),
            Expectation("server_error_share", at_most=0.0),
            Expectation(
                "metric_increase",
                metric='shed_rejections_total{class="critical_plus"}',
                at_most=0,
                words="requests of the class critical_plus that were shed",
            ),
        ),
        recovered=(Expectation("success_share", at_least=0.99),),
    ),
)
