"""Reconnect storm: a blackout ends, and every client is back within seconds.

Owners' apps come back first: most have a session to refresh, some sign in anew. Cars upload what
they buffered meanwhile, in batches, twelve times the ordinary uploads. Assumed: the curve is what
reaches the target (nobody does during the blackout); who is refused then follows `--retry-policy`.
To make the blackout real, run it with an experiment that cuts the link.
"""

from __future__ import annotations

from _people import Everybody
from _population import Population, Surge
from _scenario import Scenario

POPULATION = Population(
    Scenario(
        curve="reconnect_storm",
        shares={"look": 4, "telemetry": 3, "open_app": 2, "unlock": 1},
        in_phase={
            "peak": {"upload_backlog": 5, "resume": 3, "cold_start": 2},
            "backlog": {"upload_backlog": 8, "look": 1, "unlock": 1},
        },
    )
)


class ReconnectStorm(Surge):
    """Quiet evening, blackout, everybody at once, the backlog, quiet again."""

    population = POPULATION


class Client(Everybody):
    """A phone or a car that was cut off."""

    population = POPULATION
