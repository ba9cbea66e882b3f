"""Three of ten connections to the vehicle gateway swallow everything.

Scenario 13 of the failure catalogue ("partial fault"). The share is of connections, not of
commands: one that works is kept and used again, one that swallows a command is given up after 5 s
and the command sent again on another.

Blast radius: link `gateway`, 20 s.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, timeout
from launchday.chaos.hypothesis import Expectation, Hypothesis

EXPERIMENT = Experiment(
    title="Three bad connections of ten are worked around",
    description=(
        "Of the connections to the vehicle gateway three of ten answer nothing. Some commands take "
        "a few seconds longer; every owner gets an answer at once."
    ),
    faults=(timeout("gateway", toxicity=0.3),),
    phase="peak",
    after_seconds=5,
    duration_seconds=20,
    hypothesis=Hypothesis(
        steady=(Expectation("success_share", at_least=0.99),),
        during=(
            Expectation("success_share", endpoints=("unlock", "climate_start"), at_least=0.99),
            Expectation("p95_seconds", endpoints=("unlock", "climate_start"), at_most=0.5),
            Expectation("success_share", endpoints=("state", "reserve", "vehicles"), at_least=0.99),
            Expectation("server_error_share", at_most=0.0),
        ),
        recovered=(Expectation("success_share", at_least=0.99),),
    ),
)
