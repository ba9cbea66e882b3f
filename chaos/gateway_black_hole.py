"""The vehicle gateway swallows commands: nobody is told that one was done.

Scenario 7 of the failure catalogue ("gateway black-hole"). There the answer comes within 2.5 s.
Here a command is answered 202 (pending) after 0.2 s, and 503 at once while the breaker is open.
That no success was told for a command that no car executed is what the audit of every run says.

Blast radius: link `gateway`, 20 s; it breaks commands once the breaker is open.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, timeout
from launchday.chaos.hypothesis import Expectation, Hypothesis

EXPERIMENT = Experiment(
    title="A gateway that swallows commands is not lied about",
    description=(
        "No command reaches a car, no answer comes back. Owners hear that the command is on its "
        "way, and later that it cannot be sent now: phone key and key card open the car."
    ),
    faults=(timeout("gateway", stream="upstream"), timeout("gateway")),
    phase="peak",
    after_seconds=5,
    duration_seconds=20,
    breaks=("unlock", "climate_start"),
    hypothesis=Hypothesis(
        steady=(Expectation("success_share", at_least=0.99),),
        during=(
            Expectation("p95_seconds", endpoints=("unlock", "climate_start"), at_most=0.5),
            Expectation("success_share", endpoints=("state", "reserve", "vehicles"), at_least=0.99),
            Expectation("p95_seconds", endpoints=("state",), at_most=0.3, baseline_factor=1.5),
            Expectation("server_error_share", at_most=0.0),
            Expectation(
                "metric_highest",
                metric='car_breaker_state{dependency="gateway",state="open"}',
                at_least=1,
                words="the circuit breaker of the gateway (1: open)",
            ),
        ),
        recovered=(Expectation("success_share", at_least=0.99),),
        recovery_seconds=10,
    ),
)
