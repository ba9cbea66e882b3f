"""A regional incident: something is wrong in one region, and its owners look again and again.

State polling dominates, and pulling to refresh: half of those who see nothing ask again at once.
Assumed: five times the ordinary load; who restarts the app signs in again, which costs more. For
three regions of which one is down see `three_regions`.
"""

from __future__ import annotations

from _people import Everybody
from _population import Population, Surge
from _scenario import Scenario

POPULATION = Population(
    Scenario(
        curve="regional_incident",
        shares={"look": 7, "open_app": 1, "unlock": 1, "watch_status": 1},
        pollers=300,
        cars=300,
        pull_share=0.5,
        restart_share=0.2,
    )
)


class RegionalIncident(Surge):
    """Quiet evening, the incident, and its echo."""

    population = POPULATION


class Owner(Everybody):
    """An owner in the region, a car, or a third party's program."""

    population = POPULATION
