"""The vehicle gateway answers slowly in the middle of the peak."""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, latency

EXPERIMENT = Experiment(
    title="A slow vehicle gateway does not take the app down",
    description=(
        "At the peak of the launch the vehicle gateway answers 400 ms ± 100 ms later. "
        "Commands may be slower or stay pending; opening the app and reserving must not notice."
    ),
    faults=(latency("gateway", latency_ms=400, jitter_ms=100),),
    phase="peak",
    after_seconds=8,
    duration_seconds=12,
    probe_path="/healthz",
)
