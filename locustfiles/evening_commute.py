"""Evening commute: the ordinary day at its busiest, the baseline for a steady state.

Everything that owners do, in ordinary shares: look, unlock, pre-heat, charge at home and on the
way, look at the energy at home. What must hold here must hold always. Assumed shares; cars report
and third parties' programs poll all the time.
"""

from __future__ import annotations

from _people import Everybody
from _population import Population, Surge
from _scenario import Scenario

POPULATION = Population(
    Scenario(
        curve="evening_commute",
        shares={
            "look": 30,
            "open_app": 20,
            "resume": 6,
            "cold_start": 2,
            "unlock": 15,
            "climate": 10,
            "charge": 4,
            "schedule": 4,
            "energy": 5,
            "check_software": 2,
            "watch_status": 1,
            "reserve": 1,
        },
        pollers=300,
        cars=600,
    )
)


class EveningCommute(Surge):
    """Afternoon, evening, night, with smooth transitions."""

    population = POPULATION


class Somebody(Everybody):
    """An owner, a car, or a third party's program."""

    population = POPULATION
