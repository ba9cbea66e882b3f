"""Half of the connections to a region are a second slower: neither up nor down.

Scenario 17 of the failure catalogue ("grey region"). There other regions take its traffic over; the
regions of the reference backend are separate stacks and nobody is moved. What must hold is that
the others do not notice, and that its own owners are served, later. Needs `three_regions`.

Blast radius: link `eu`, 12 s.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, latency
from launchday.chaos.hypothesis import Expectation, Hypothesis

EXPERIMENT = Experiment(
    title="A grey region is grey alone",
    description=(
        "Every second connection to the region eu answers 700 ms later. Half of its owners wait; "
        "us and cn must not notice."
    ),
    faults=(latency("eu", latency_ms=700, toxicity=0.5),),
    phase="peak",
    after_seconds=5,
    duration_seconds=12,
    breaks=("eu ",),
    hypothesis=Hypothesis(
        steady=(Expectation("success_share", at_least=0.99),),
        during=(
            Expectation("success_share", endpoints=("us *", "cn *"), at_least=0.99),
            Expectation("p99_seconds", endpoints=("us *", "cn *"), at_most=0.5, baseline_factor=2),
            Expectation("success_share", endpoints=("eu *",), at_least=0.9),
        ),
        recovered=(
            Expectation("success_share", at_least=0.99),
            Expectation("p95_seconds", endpoints=("eu *",), at_most=0.35, baseline_factor=1.5),
        ),
        recovery_seconds=3,
    ),
)
