"""Maintenance return: the doors are closed for a while, then everybody signs in at once.

With LAUNCHDAY_TARGET__ADMIN_TOKEN the scenario announces the window at the target, which then
answers 503 `maintenance` until it ends; without, it is a mere curve. Assumed: half of the ordinary
load keeps trying, or watches the status page for when it turns green; at the end ten times as many
come, and most were signed out meanwhile.
"""

from __future__ import annotations

import time

from _journeys import Journey
from _maintenance import Window
from _people import Everybody
from _population import Population, Surge
from _scenario import Scenario

FLOOD = {"cold_start": 7, "look": 2, "unlock": 1}
POPULATION = Population(
    Scenario(
        curve="maintenance_return",
        shares={"look": 5, "open_app": 3, "unlock": 1, "watch_status": 1},
        in_phase={
            "maintenance": {"watch_status": 4, "look": 3, "unlock": 2, "open_app": 1},
            "peak": FLOOD,
            "decay": FLOOD,
        },
        pollers=300,
    )
)
WINDOW = Window(POPULATION, "maintenance")


class MaintenanceReturn(Surge):
    """Quiet evening, the window, the flood, quiet again."""

    population = POPULATION


class Owner(Everybody):
    """An owner, in front of closed doors or back again."""

    population = POPULATION

    def arrived(self, journey: Journey) -> None:
        """The first of all has the window announced."""
        if self.arrival.index == 0:
            WINDOW.announce(self.environment, time.time() - self.arrival.due_seconds)
