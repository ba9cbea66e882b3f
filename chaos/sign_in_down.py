"""Nobody can sign in, and everybody who is signed in goes on.

Scenario 19 of the failure catalogue ("auth down"). The reference backend has no service of its own
for that: signing in needs the database, and a session is checked by its signature alone. So the
injection is that of `database_down`, and what is looked at are the sessions.

Blast radius: link `database`, 20 s; it breaks signing in and refreshing.
"""

from __future__ import annotations

from launchday.chaos.experiment import Experiment, down
from launchday.chaos.hypothesis import Expectation, Hypothesis

EXPERIMENT = Experiment(
    title="An outage of signing in signs nobody out",
    description=(
        "Nobody can sign in. Owners with a session look at their car and unlock it as before, and "
        "are not asked for their password when it is over."
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
            Expectation("client_error_share", at_most=0.0, words="4xx: owners signed out"),
            Expectation("success_share", endpoints=("state", "poll", "unlock"), at_least=0.95),
            Expectation("p95_seconds", endpoints=("sign_in", "refresh"), at_most=0.3),
            Expectation("answers_503_share", endpoints=("sign_in",), at_least=0.9),
            Expectation("server_error_share", at_most=0.0),
        ),
        recovered=(
            Expectation("success_share", at_least=0.99),
            Expectation("client_error_share", at_most=0.0, words="4xx: owners signed out"),
        ),
        recovery_seconds=10,
    ),
)
