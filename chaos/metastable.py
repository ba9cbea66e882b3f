"""Three seconds without a database, and the evening must not be over.

Scenario 18 of the failure catalogue ("metastable"; Bronson and others, "Metastable Failures in
Distributed Systems", HotOS 2021): after a short fault retries can keep a service down that would
be fine without them. The load is not changed; let clients retry: `-p retry_policy=immediate`.

Blast radius: link `database`, 3 s.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, down
from launchday.chaos.hypothesis import Expectation, Hypothesis

EXPERIMENT = Experiment(
    title="After three bad seconds the evening goes on",
    description=(
        "The database is down for 3 s at the busiest time, and everybody who failed asks again. "
        "Ten seconds later everything is as it was, though as many people come as before."
    ),
    faults=(down("database"),),
    phase="peak",
    after_seconds=5,
    duration_seconds=3,
    probe={"database": "postgres"},
    hypothesis=Hypothesis(
        steady=(Expectation("good_share", at_least=0.99),),
        during=(Expectation("server_error_share", at_most=0.0),),
        recovered=(
            Expectation("good_share", at_least=0.95),
            Expectation("p95_seconds", at_most=0.35, baseline_factor=1.5),
            Expectation("retry_share", at_most=0.05),
        ),
        recovery_seconds=10,
    ),
)
