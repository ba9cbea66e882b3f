"""Shared deadline: all clients were told the same instant to come back, and they do.

The echo of a Retry-After that is the same for everybody, of a countdown, or of "open again at
20:00": a spike as wide as clocks differ, and half of the crowd again at the next one. Assumed: who
comes wants what was not granted before, to reserve or to see the car.
"""

from __future__ import annotations

from _people import Everybody
from _population import Population, Surge
from _scenario import Scenario

POPULATION = Population(
    Scenario(
        curve="shared_deadline",
        shares={"look": 6, "open_app": 3, "unlock": 1},
        in_phase={"peak": {"reserve": 5, "open_app": 3, "look": 2}},
        pollers=300,
    )
)


class SharedDeadline(Surge):
    """Quiet, then one spike after the other."""

    population = POPULATION


class Owner(Everybody):
    """An owner who was told when to come back."""

    population = POPULATION
