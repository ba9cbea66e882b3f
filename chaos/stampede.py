"""The database goes away while everybody looks, and comes back to all of them at once.

Scenario 9 of the failure catalogue ("cache stampede"). There the cache goes away and the database
gets its load. The reference backend has no cache but the other way round: when the database goes
away, what was last known is served, and when it comes back all reads go to it again. So what is
measured is whether the database is left alone meanwhile (a probe at a time), and whether it is back
for everybody at once without being run over.

The scenario `regional_incident`, whose owners look, shows it best.

Blast radius: link `database`, 20 s.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, down
from launchday.chaos.hypothesis import Expectation, Hypothesis

EXPERIMENT = Experiment(
    title="A database that comes back is not run over",
    description=(
        "The database is down while everybody looks at their car. They see the last known state; "
        "when it is back they all see the present one, and nobody has to wait for it."
    ),
    faults=(down("database"),),
    phase="peak",
    after_seconds=5,
    duration_seconds=20,
    probe={"database": "postgres"},
    breaks=("vehicles", "sign_in", "reserve", "charger_session", "schedule"),
    hypothesis=Hypothesis(
        steady=(Expectation("success_share", at_least=0.99),),
        during=(
            Expectation(
                "metric_per_second",
                metric='car_dependency_seconds_count{dependency="database",outcome="error"}',
                at_most=3,
                after_seconds=3,
                words="calls a second to the database that is down",
            ),
            Expectation("success_share", endpoints=("state", "poll"), at_least=0.95),
            Expectation("p95_seconds", endpoints=("state", "poll"), at_most=0.5),
            Expectation("server_error_share", at_most=0.0),
        ),
        recovered=(
            Expectation("success_share", at_least=0.99),
            Expectation("p95_seconds", endpoints=("state",), at_most=0.3, baseline_factor=1.5),
            Expectation("metric_per_second", metric="car_stale_reads_total", at_most=0),
        ),
        recovery_seconds=10,
    ),
)
