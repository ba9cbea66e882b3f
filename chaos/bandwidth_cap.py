"""Clients in a cellar: 20 KB/s for each of them.

Scenario 11 of the failure catalogue ("bandwidth cap"). The cap is for each connection, as the real
one for each phone; a connection of the generator carries several owners after each other.

Blast radius: link `edge` (all clients), 20 s.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, bandwidth
from launchday.chaos.hypothesis import Expectation, Hypothesis

EXPERIMENT = Experiment(
    title="The app works at twenty kilobytes a second",
    description=(
        "Every client receives 20 KB/s at the most. Screens are small enough that owners hardly "
        "notice, and slow readers cost the service nothing."
    ),
    faults=(bandwidth("edge", rate_kbps=20),),
    phase="peak",
    after_seconds=5,
    duration_seconds=20,
    hypothesis=Hypothesis(
        steady=(Expectation("success_share", at_least=0.99),),
        during=(
            Expectation("success_share", at_least=0.99),
            Expectation("p95_seconds", at_most=0.5, baseline_factor=2),
            Expectation("metric_highest", metric="shed_inflight", at_most=40),
        ),
        recovered=(
            Expectation("success_share", at_least=0.99),
            Expectation("p95_seconds", at_most=0.3, baseline_factor=1.5),
        ),
    ),
)
