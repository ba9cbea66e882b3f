"""A scenario in this process: its options, its plan, its curve, its owners with their sessions."""

from __future__ import annotations

import math
from argparse import Namespace, _ArgumentGroup
from collections.abc import Callable
from typing import Any, ClassVar, cast

from _connected_car import REGIONS
from _journeys import JOURNEYS
from _owners import Owners, add_owner_options
from _scenario import Plan, Scenario, option_of_phase, plan_of
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from launchday.load.curves import CURVES, RateCurve, add_curve_options
from launchday.load.locust_user import SurgeShape
from launchday.load.retry import POLICIES

_EVENTS: Any = events  # Locust's have no types


class Population:
    """Made once in a scenario; its shape and its users refer to it."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.owners = Owners(_one_region, lambda options: self.plan_anew(options).backend)
        self._plan: Plan | None = None
        _EVENTS.init_command_line_parser.add_listener(self._add_options)
        _EVENTS.test_start.add_listener(self._forget)

    def plan_anew(self, options: Namespace) -> Plan:
        """The plan of a test that begins: the web UI can start many, each with other options.

        Raises:
            ValueError: an option is not allowed; names it, its value and what is.
        """
        self._plan = plan_of(self.scenario, options)
        return self._plan

    def plan(self, options: Namespace) -> Plan:
        """The plan of the test that is running. Raises ValueError as `plan_anew` does."""
        return self._plan or self.plan_anew(options)

    def _forget(self, **_: Any) -> None:
        self._plan = None

    def _add_options(self, parser: LocustArgumentParser, **_: Any) -> None:
        scenario = self.scenario
        group = add_curve_options(parser, CURVES[scenario.curve])
        for phase, shares in [(None, scenario.shares), *scenario.in_phase.items()]:
            when = f"in the phase {phase}" if phase else "otherwise"
            words = f"who comes {when}, weights of: {', '.join(JOURNEYS)}"
            default = ",".join(f"{name}={weight:g}" for name, weight in shares.items())
            group.add_argument(option_of_phase(phase), default=default, help=words)
        people = parser.add_argument_group("population", "All defaults are assumptions.")
        _add_people(people, scenario)
        people.add_argument("--backend", default="", help="FILE.py:CLASS, for a target of your own")
        people.add_argument("--region", default="us", help=f"of the target: {', '.join(REGIONS)}")
        add_owner_options(people, scenario.owners)


class Surge(SurgeShape):
    """The curve of the population's scenario, and who comes all the time on top of it."""

    abstract = True
    population: ClassVar[Population]

    def curve(self, options: Namespace) -> RateCurve:
        """The curve with the parameters of the command line."""
        plan = self.population.plan_anew(options)
        timeout_seconds = float(options.request_timeout_seconds)
        # The longest journey depends on what people do when they are not served.
        longest_seconds = plan.longest_seconds(timeout_seconds)
        type(self).requests_per_journey = math.ceil(longest_seconds / timeout_seconds)
        return plan.mix.whole


def _one_region(environment: Environment) -> dict[str, str]:
    options = cast(Namespace, environment.parsed_options)
    return {options.region: environment.host or ""}


def _add_people(group: _ArgumentGroup, scenario: Scenario) -> None:
    count, number = _adder(group, int), _adder(group, float)
    count("--pollers", scenario.pollers, "third parties' programs that ask every 30 s")
    count("--reporting-cars", scenario.cars, "cars that report every 60 s")
    policies = ", ".join(POLICIES)
    words = f"of the app: {policies} (default {scenario.retry_policy})"
    group.add_argument("--retry-policy", default=scenario.retry_policy, help=words)
    number("--retry-budget", 0.0, "most that retries may be of the requests of a process; 0: any")
    number("--pull-share", scenario.pull_share, "of those not served, who pull to refresh")
    number("--restart-share", scenario.restart_share, "of those not served, who sign in anew")
    number("--patience-seconds", scenario.patience_seconds, "after which people give up")


def _adder(group: _ArgumentGroup, kind: type) -> Callable[[str, float, str], None]:
    def add(name: str, default: float, meaning: str) -> None:
        words = f"{meaning} (default {default:g})"
        group.add_argument(name, type=kind, default=default, help=words)

    return add
