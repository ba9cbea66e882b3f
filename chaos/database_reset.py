"""Three of ten connections to the database are reset: reads are asked once more.

Scenario 4 of the failure catalogue ("DB reset"). As there: the link goes away for half a second
first, since a real Toxiproxy resets new connections only, and then three of ten that are opened are
reset when the database first answers. Whatever survives is kept and used again.

Blast radius: link `database`, 20 s.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, down, reset_peer
from launchday.chaos.hypothesis import Expectation, Hypothesis

EXPERIMENT = Experiment(
    title="Connections to the database that are reset cost a retry, not an answer",
    description=(
        "Every connection to the database breaks, and three of ten that take their place are "
        "reset. Owners do not notice it when they look; no reservation is stored twice."
    ),
    faults=(
        down("database", duration_seconds=0.5),
        reset_peer("database", toxicity=0.3, start_seconds=1),
    ),
    phase="peak",
    after_seconds=5,
    duration_seconds=20,
    probe={"database": "postgres"},
    hypothesis=Hypothesis(
        steady=(Expectation("success_share", at_least=0.99),),
        during=(
            Expectation("success_share", endpoints=("state", "poll"), at_least=0.95),
            Expectation("success_share", at_least=0.97, after_seconds=4),
            Expectation("server_error_share", at_most=0.0),
            Expectation("p95_seconds", endpoints=("state",), at_most=0.3, baseline_factor=3),
        ),
        recovered=(Expectation("success_share", at_least=0.99),),
    ),
)
