"""App release: a chatty build rolls out, and each client that has it asks three times as often.

As many arrivals as before: the surplus is in the journeys. An owner with the new build makes each
request that only reads `--chattiness` times; what changes something is sent once. Assumed: rolled
out to a quarter, half, three quarters and all of the clients.
"""

from __future__ import annotations

import math
from argparse import Namespace
from functools import lru_cache

from _backend import Request
from _journeys import Journey
from _people import Everybody
from _population import Population, Surge
from _scenario import Scenario

from launchday.load.curves import CURVES, RateCurve

_CURVE = CURVES["app_release"]
POPULATION = Population(
    Scenario(
        curve="app_release",
        shares={"open_app": 5, "look": 4, "unlock": 1},
        played={"chattiness": 1.0},
        pollers=300,
        cars=300,
    )
)


class AppRelease(Surge):
    """The same arrivals all the time; the phases are those of the roll-out."""

    population = POPULATION

    def curve(self, options: Namespace) -> RateCurve:
        """The curve with the parameters of the command line."""
        curve = super().curve(options)
        type(self).requests_per_journey *= math.ceil(options.chattiness)
        return curve


class Owner(Everybody):
    """An owner with the old build or the new one."""

    population = POPULATION
    has_new_build = False

    def arrived(self, journey: Journey) -> None:
        """The share of the new build is what the curve would rise by."""
        options = self.engine.options
        rollout = _rollout(*(getattr(options, each.name) for each in _CURVE.parameters))
        surplus = rollout.rate(self.arrival.due_seconds) / options.baseline_rps - 1
        share = surplus / (options.chattiness - 1) if options.chattiness > 1 else 0.0
        self.has_new_build = journey.who == "owner" and self.random.random() < share

    def ask(self, request: Request | None) -> bool:
        """Ask, and again and again with the new build; the last answer counts."""
        if self.has_new_build and request is not None and request.method == "GET":
            more, part = divmod(self.engine.options.chattiness - 1, 1)
            for _ in range(int(more) + (self.random.random() < part)):
                super().ask(request)
        return super().ask(request)


@lru_cache(maxsize=1)
def _rollout(*parameters: float) -> RateCurve:
    """As the rate would rise if arrivals made up for the requests; asked at every arrival."""
    names = (each.name for each in _CURVE.parameters)
    return _CURVE.curve(dict(zip(names, parameters, strict=True)))
