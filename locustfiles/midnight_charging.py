"""Midnight charging: at 00:00 the scheduled charging of every car starts.

Cars ask how they are to charge and report that they began, all within seconds; while they charge
they report more often. Who is asleep asks nothing. Assumed: clocks of cars agree within seconds;
a car that gets no answer goes by its last schedule, and keeps what it could not report.
"""

from __future__ import annotations

from _people import Everybody
from _population import Population, Surge
from _scenario import Scenario

POPULATION = Population(
    Scenario(
        curve="midnight_charging",
        shares={"look": 4, "telemetry": 3, "unlock": 2, "schedule": 1},
        in_phase={
            "peak": {"start_charging": 95, "look": 3, "unlock": 2},
            "charging": {"telemetry": 7, "look": 2, "unlock": 1},
        },
        pollers=300,
    )
)


class MidnightCharging(Surge):
    """Late evening, midnight, and the night's charging."""

    population = POPULATION


class Somebody(Everybody):
    """A car that charges, or one of the few who are awake."""

    population = POPULATION
