"""The vehicle gateway goes and comes: five seconds down, five seconds up.

Scenario 14 of the failure catalogue ("flapping"), three times instead of six. While the circuit
breaker is open one probe at a time goes out; nobody may storm a gateway that has just come back.
The breaker of the reference backend waits for up to 2 s between probes, so that of five seconds in
which the gateway is back commands get three to five.

Blast radius: link `gateway`, 30 s; it breaks commands.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, Flapping, down
from launchday.chaos.hypothesis import Expectation, Hypothesis

EXPERIMENT = Experiment(
    title="A gateway that goes and comes is left alone while it is gone",
    description=(
        "The vehicle gateway is down for 5 s and up for 5 s, three times. Commands are refused "
        "while it is down and work soon after it is up; the rest of the app does not notice."
    ),
    faults=(down("gateway", flapping=Flapping(on_seconds=5, off_seconds=5)),),
    phase="peak",
    after_seconds=5,
    duration_seconds=30,
    breaks=("unlock", "climate_start"),
    hypothesis=Hypothesis(
        steady=(Expectation("success_share", at_least=0.99),),
        during=(
            Expectation(
                "metric_per_second",
                metric='car_dependency_seconds_count{dependency="gateway",outcome="error"}',
                at_most=3,
                words="calls a second to the gateway that failed",
            ),
            Expectation("success_share", endpoints=("unlock", "climate_start"), at_least=0.02),
            Expectation("p95_seconds", endpoints=("unlock", "climate_start"), at_most=0.5),
            Expectation("success_share", endpoints=("state", "reserve", "vehicles"), at_least=0.99),
            Expectation("server_error_share", at_most=0.0),
        ),
        recovered=(Expectation("success_share", at_least=0.99),),
        recovery_seconds=10,
    ),
)
