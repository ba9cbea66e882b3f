"""The database swallows everything and answers nothing: only a deadline ends the wait.

Scenario 5 of the failure catalogue ("DB black-hole"), both streams. The deadline is the reference
backend's patience with its database (1 s).

Blast radius: link `database`, 20 s.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, timeout
from launchday.chaos.hypothesis import Expectation, Hypothesis

EXPERIMENT = Experiment(
    title="A database that answers nothing is waited for only once",
    description=(
        "What is sent to the database, and what it would answer, goes nowhere; connections stay "
        "open. For a second owners wait in vain, then they see the last known state."
    ),
    faults=(timeout("database"), timeout("database", stream="upstream")),
    phase="peak",
    after_seconds=5,
    duration_seconds=20,
    probe={"database": "postgres"},
    breaks=("vehicles", "sign_in", "reserve", "charger_session", "schedule"),
    hypothesis=Hypothesis(
        steady=(Expectation("success_share", at_least=0.99),),
        during=(
            Expectation(
                "metric_highest",
                metric='car_breaker_state{dependency="database",state="open"}',
                at_least=1,
                words="the circuit breaker of the database (1: open)",
            ),
            Expectation("server_error_share", at_most=0.0),
            Expectation("timeout_share", at_most=0.05, after_seconds=5),
            Expectation(
                "success_share", endpoints=("state", "poll"), at_least=0.9, after_seconds=5
            ),
            Expectation("metric_highest", metric="process_open_fds", at_most=150),
        ),
        recovered=(Expectation("success_share", at_least=0.99),),
    ),
)
