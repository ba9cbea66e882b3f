"""A whole region cannot be reached: the others must not notice."""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, down

EXPERIMENT = Experiment(
    title="A region down is down alone",
    description=(
        "In the middle of the evening no client reaches the region eu. Its owners fail until it "
        "is back, with the sessions that they had; us and cn must not notice."
    ),
    faults=(down("eu"),),
    phase="peak",
    after_seconds=4,
    duration_seconds=10,
    probe_path="/healthz",
    breaks=("eu ",),
)
