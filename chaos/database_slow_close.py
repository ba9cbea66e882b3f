"""Connections to the database that take half a minute to close.

Scenario 15 of the failure catalogue ("slow close"). The reference backend keeps its connections (16
at the most) and closes one only when it fails; so the database is slow enough, too, that
operations run out of time and their connections are given up.

Blast radius: link `database`, 20 s.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, latency, slow_close
from launchday.chaos.hypothesis import Expectation, Hypothesis

EXPERIMENT = Experiment(
    title="Connections that do not close do not pile up",
    description=(
        "The end of a connection to the database is heard 30 s late, its answers come 1.5 s late, "
        "so that connections are given up. Owners see what was last known; the service holds few "
        "more sockets than usual."
    ),
    # In this order: each is looked at before the next is applied, and a close takes 10 s to see.
    faults=(latency("database", latency_ms=1500), slow_close("database", delay_ms=30_000)),
    phase="peak",
    after_seconds=5,
    duration_seconds=20,
    probe={"database": "postgres"},
    breaks=("vehicles", "sign_in", "reserve", "charger_session", "schedule"),
    hypothesis=Hypothesis(
        steady=(Expectation("success_share", at_least=0.99),),
        during=(
            Expectation(
                "metric_highest", metric="process_open_fds", at_most=150, baseline_factor=1.5
            ),
            Expectation("server_error_share", at_most=0.0),
            Expectation(
                "success_share", endpoints=("state", "poll"), at_least=0.8, after_seconds=5
            ),
        ),
        recovered=(
            Expectation("success_share", at_least=0.99),
            Expectation(
                "metric_highest", metric="process_open_fds", at_most=150, baseline_factor=1.5
            ),
        ),
    ),
)
