"""The database is down: what was read before is shown, what must be stored is refused at once.

Scenario 3 of the failure catalogue ("DB down"). As there, but for the cache: the reference backend
keeps the last known state of the cars that were asked for since it started, and knows the owners of
those and of all that were listed or told something. Whose car is new to it cannot unlock over the
network meanwhile.

Blast radius: link `database`, 20 s. Signing in, the list of vehicles and reservations need it.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, down
from launchday.chaos.hypothesis import Expectation, Hypothesis

EXPERIMENT = Experiment(
    title="Without its database the app shows what it knew, and says no quickly",
    description=(
        "Nobody reaches the database. Owners see the last known state with its age and can unlock; "
        "reserving and signing in are refused within a moment, with the time to come back."
    ),
    faults=(down("database"),),
    phase="peak",
    after_seconds=5,
    duration_seconds=20,
    probe={"database": "postgres"},
    breaks=("vehicles", "sign_in", "reserve", "charger_session", "schedule"),
    hypothesis=Hypothesis(
        steady=(Expectation("success_share", at_least=0.99),),
        during=(
            Expectation("success_share", endpoints=("state", "poll"), at_least=0.95),
            Expectation("success_share", endpoints=("unlock",), at_least=0.8),
            Expectation("server_error_share", at_most=0.0),
            Expectation("failed_p95_seconds", at_most=0.3, baseline_factor=3),
            Expectation("client_error_share", at_most=0.0, words="4xx: owners signed out"),
        ),
        recovered=(Expectation("success_share", at_least=0.99),),
        recovery_seconds=10,
    ),
)
