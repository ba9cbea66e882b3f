"""A whole region cannot be reached: the others must not notice.

Scenario 16 of the failure catalogue ("region outage"). There owners are routed to another region;
the regions of the reference backend are separate stacks, so its owners fail until it is back.
Needs the scenario `three_regions`.

Blast radius: link `eu`, 10 s.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, down
from launchday.chaos.hypothesis import Expectation, Hypothesis

EXPERIMENT = Experiment(
    title="A region down is down alone",
    description=(
        "In the middle of the evening no client reaches the region eu. Its owners fail until it "
        "is back, with the sessions that they had; us and cn must not notice."
    ),
    faults=(down("eu"),),
    phase="peak",
    after_seconds=5,
    duration_seconds=10,
    probe_path="/healthz",
    breaks=("eu ",),
    hypothesis=Hypothesis(
        steady=(Expectation("success_share", at_least=0.99),),
        during=(
            Expectation("success_share", endpoints=("us *", "cn *"), at_least=0.99),
            Expectation(
                "p95_seconds", endpoints=("us *", "cn *"), at_most=0.35, baseline_factor=1.5
            ),
            Expectation("success_share", endpoints=("eu *",), at_most=0.0),
        ),
        recovered=(
            Expectation("success_share", endpoints=("eu *",), at_least=0.99),
            Expectation("client_error_share", at_most=0.0, words="4xx: owners signed out"),
        ),
        recovery_seconds=5,
    ),
)
