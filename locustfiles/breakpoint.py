"""Breakpoint: one step after the other, each long enough to settle, until something gives.

Finds the capacity for the requests of a launch; `launchday plan RUN` takes the record of it. So
nobody asks again and nothing comes on top: the offered load is the curve and nothing else.
"""

from __future__ import annotations

from _people import Everybody
from _population import Population, Surge
from _scenario import Scenario

POPULATION = Population(
    Scenario(
        curve="breakpoint",
        seeded="order_seed",
        shares={"reserve": 6, "look": 3, "unlock": 1},
        retry_policy="none",
        pull_share=0.0,
        restart_share=0.0,
    )
)


class Breakpoint(Surge):
    """A staircase; its highest step is the peak."""

    population = POPULATION


class Owner(Everybody):
    """An owner with the app."""

    population = POPULATION
