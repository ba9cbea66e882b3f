"""Launch day: the new model is announced, and every owner opens the app at once.

Runs alone, `locust -f locustfiles/launch_day.py --host http://127.0.0.1:8000`, with Locust's web
UI, or through `launchday run launch_day`, which records and judges it. So do all scenarios here;
for a target of your own change one class: `_backend.py` says how.

Assumed (settings, not measured): of ten arrivals six reserve the new model, three look at their
car, one unlocks it; who cannot unlock over the network uses the key card, so that journey is
degraded and not lost. Nobody asks again: what retries make of a launch shows `--retry-policy`.
"""

from __future__ import annotations

from _people import Everybody
from _population import Population, Surge
from _scenario import Scenario

POPULATION = Population(
    Scenario(
        curve="launch_day",
        shares={"reserve": 6, "look": 3, "unlock": 1},
        retry_policy="none",
        pull_share=0.0,
        restart_share=0.0,
    )
)


class LaunchDay(Surge):
    """Quiet evening, announcement, peak, decay, long tail."""

    population = POPULATION


class Owner(Everybody):
    """An owner with the app."""

    population = POPULATION
