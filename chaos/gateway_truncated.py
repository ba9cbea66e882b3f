"""The vehicle gateway's answers come in crumbs, and then cut off.

Scenario 8 of the failure catalogue ("gateway truncation"): first every answer arrives in pieces of
about 64 bytes, which nobody may notice; then each connection ends after 200 bytes, in the middle of
an answer. A command whose answer was cut was perhaps executed: sent again with its id, the car
executes it once.

Blast radius: link `gateway`, 20 s.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, limit_data, slicer
from launchday.chaos.hypothesis import Expectation, Hypothesis

EXPERIMENT = Experiment(
    title="Half an answer of the gateway is no answer",
    description=(
        "For ten seconds the gateway's answers arrive in crumbs, for ten more they break off. No "
        "owner sees an error of ours for it, and no car executes a command twice."
    ),
    faults=(
        slicer("gateway", average_bytes=64, variation_bytes=16, delay_us=1000, duration_seconds=9),
        limit_data("gateway", limit_bytes=200, start_seconds=10),
    ),
    phase="peak",
    after_seconds=5,
    duration_seconds=20,
    hypothesis=Hypothesis(
        steady=(Expectation("success_share", at_least=0.99),),
        during=(
            Expectation("server_error_share", at_most=0.0),
            Expectation("success_share", endpoints=("unlock", "climate_start"), at_least=0.95),
            Expectation("success_share", endpoints=("state", "reserve", "vehicles"), at_least=0.99),
        ),
        recovered=(Expectation("success_share", at_least=0.99),),
    ),
)
