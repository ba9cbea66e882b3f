"""Owners in a train: every packet may come late, and in pieces.

Scenario 12 of the failure catalogue ("lossy mobile"). TCP hides loss as delay, so delay with much
jitter stands for it, and answers arrive in pieces of about 64 bytes, so that the probe's small one
does, too. Scenarios send a request again by their retry policy only: `evening_commute` those that
are told when.

Blast radius: link `edge` (all clients), 20 s.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, latency, slicer
from launchday.chaos.hypothesis import Expectation, Hypothesis

EXPERIMENT = Experiment(
    title="A bad mobile connection makes the app slower, not wrong",
    description=(
        "Every answer takes 150 ms ± 120 ms longer and arrives in pieces. Owners wait a little; "
        "nobody has to press twice, and nothing happens twice."
    ),
    faults=(
        slicer("edge", average_bytes=64, variation_bytes=16, delay_us=1000),
        latency("edge", latency_ms=150, jitter_ms=120),
    ),
    phase="peak",
    after_seconds=5,
    duration_seconds=20,
    hypothesis=Hypothesis(
        steady=(Expectation("success_share", at_least=0.99),),
        during=(
            Expectation("success_share", at_least=0.995),
            Expectation("retry_share", at_most=0.1),
            Expectation("p95_seconds", at_most=0.7, baseline_factor=2),
        ),
        recovered=(
            Expectation("success_share", at_least=0.99),
            Expectation("p95_seconds", at_most=0.3, baseline_factor=1.5),
        ),
    ),
)
