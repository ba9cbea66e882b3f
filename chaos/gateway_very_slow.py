"""The vehicle gateway takes three seconds: commands are promised, nothing else notices.

Scenario 6 of the failure catalogue ("slow gateway"). `slow_gateway` is the milder one of the launch
day. A command that the car does not answer within 0.2 s is answered 202: it is on its way.

Blast radius: link `gateway`, 20 s.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, latency
from launchday.chaos.hypothesis import Expectation, Hypothesis

EXPERIMENT = Experiment(
    title="A vehicle gateway that takes seconds does not slow the app down",
    description=(
        "The vehicle gateway answers 3 s ± 1 s later. Commands are accepted and stay pending for a "
        "while; looking at the car and reserving are as fast as before."
    ),
    faults=(latency("gateway", latency_ms=3000, jitter_ms=1000),),
    phase="peak",
    after_seconds=5,
    duration_seconds=20,
    hypothesis=Hypothesis(
        steady=(Expectation("success_share", at_least=0.99),),
        during=(
            Expectation("success_share", endpoints=("unlock", "climate_start"), at_least=0.99),
            Expectation("p95_seconds", endpoints=("unlock", "climate_start"), at_most=0.5),
            Expectation("success_share", endpoints=("state", "reserve", "vehicles"), at_least=0.99),
            Expectation("p95_seconds", endpoints=("state",), at_most=0.3, baseline_factor=1.5),
            Expectation("server_error_share", at_most=0.0),
        ),
        recovered=(
            Expectation("success_share", at_least=0.99),
            Expectation("p95_seconds", endpoints=("unlock",), at_most=0.35, baseline_factor=1.5),
        ),
    ),
)
