"""Who comes in a scenario: shares of the journeys, what goes on all the time, how people retry.

Every number is an assumption and an option of the scenario.
"""

from __future__ import annotations

import math
import re
import time
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from random import Random

from _backend import Backend
from _backend_file import backend_class
from _connected_car import REGIONS
from _journeys import JOURNEYS

from launchday.load.curves import CURVES, RateCurve
from launchday.load.retry import POLICIES, RetryBudget, RetryPolicy

POLL_SECONDS = 30.0
REPORT_SECONDS = 60.0


@dataclass(frozen=True)
class Scenario:
    """Which curve, and who comes along it.

    `shares` are weights of journeys, `in_phase` others for a phase of the curve (those of `peak`
    are also for `peak_2`). `pollers` ask every 30 s and `cars` report every 60 s, at every time,
    on top of the curve. `owners` have a session before the first arrival. `played`: parameters of
    the curve that the journeys play themselves, so that it is drawn with these values. `seeded`
    is the parameter of the curve, if any, that takes the seed of the run where it is 0.

    Of those who are not served `pull_share` pull to refresh (they ask again at once),
    `restart_share` restart the app (they sign in anew), the others leave it to the app, which
    follows `retry_policy`. Nobody begins anything after `patience_seconds`.
    """

    curve: str
    shares: Mapping[str, float]
    in_phase: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    pollers: int = 0
    cars: int = 0
    owners: int = 200
    played: Mapping[str, float] = field(default_factory=dict)
    seeded: str | None = None
    retry_policy: str = "retry_after"
    pull_share: float = 0.2
    restart_share: float = 0.1
    patience_seconds: float = 5.0

    def curve_of(self, options: Namespace) -> RateCurve:
        """The curve with the parameters of the command line. Raises ValueError."""
        definition = CURVES[self.curve]
        given = {each.name: getattr(options, each.name) for each in definition.parameters}
        if self.seeded and not given[self.seeded]:
            given[self.seeded] = int(options.seed or 0) % 2**31
        return definition.curve({**given, **self.played})


@dataclass(frozen=True)
class Mix:
    """Which journey an arrival makes: a function of its time and its randomness.

    `curve` is that of the scenario; `all_the_time` are journeys a second on top of it. Arrivals
    of the sum of two Poisson processes belong to the first with probability λ1/(λ1 + λ2),
    independently (Kingman, "Poisson Processes", 1993, sections 2.2 and 5.1): so each of the two
    keeps its own rate, and a poller asks no more often in a surge.
    """

    curve: RateCurve
    shares: Mapping[str, float]
    in_phase: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    all_the_time: Mapping[str, float] = field(default_factory=dict)

    @property
    def whole(self) -> RateCurve:
        """The curve of all arrivals."""
        points = tuple((t, rate + self._more_rps) for t, rate in self.curve.points)
        return RateCurve(points, self.curve.phases)

    @property
    def journeys(self) -> frozenset[str]:
        """All that may come."""
        weights = [self.shares, self.all_the_time, *self.in_phase.values()]
        return frozenset(name for some in weights for name, weight in some.items() if weight > 0)

    def journey(self, due_seconds: float, random: Random) -> str:
        """What the arrival that is due then does."""
        drawn = random.random() * (self.curve.rate(due_seconds) + self._more_rps)
        more = drawn < self._more_rps
        weights = self.all_the_time if more else self._shares_at(due_seconds)
        return random.choices(list(weights), list(weights.values()))[0]

    @cached_property
    def _more_rps(self) -> float:
        return sum(self.all_the_time.values())

    @cached_property
    def _by_phase(self) -> dict[str, Mapping[str, float]]:
        kinds = {phase.name: re.sub(r"_\d+$", "", phase.name) for phase in self.curve.phases}
        return {name: self.in_phase.get(kind, self.shares) for name, kind in kinds.items()}

    def _shares_at(self, due_seconds: float) -> Mapping[str, float]:
        for phase in self.curve.phases:
            if phase.start_seconds <= due_seconds < phase.end_seconds:
                return self._by_phase[phase.name]
        return self.shares


@dataclass(frozen=True)
class Plan:
    """A scenario with the options of one test."""

    backend: Backend
    mix: Mix
    policy: RetryPolicy
    budget: RetryBudget | None
    patience_seconds: float
    pull_share: float
    restart_share: float

    def longest_seconds(self, request_timeout_seconds: float) -> float:
        """Most time that a journey takes: requests, and waiting where people come again."""
        requests = max(JOURNEYS[name].requests for name in self.mix.journeys)
        if self.restart_share:
            requests += 1  # the sign-in; what was asked before is in people's patience
        again = self.policy.retries or self.pull_share or self.restart_share
        return requests * request_timeout_seconds + (self.patience_seconds if again else 0.0)


def plan_of(scenario: Scenario, options: Namespace) -> Plan:
    """The plan of a test with these options.

    Raises:
        ValueError: an option is not allowed; names it, its value and what is.
    """
    for name in ("pull_share", "restart_share", "retry_budget"):
        _check_number(options, name, at_most=1)
    if options.pull_share + options.restart_share > 1:
        raise ValueError(
            f"--pull-share and --restart-share are {options.pull_share:g} and "
            f"{options.restart_share:g}; they are shares of the same people, at most 1 together"
        )
    for name in ("pollers", "reporting_cars", "patience_seconds"):
        _check_number(options, name)
    _check_choice(options, "retry_policy", POLICIES)
    _check_choice(options, "region", REGIONS)
    backend = backend_class(options.backend)(options)
    mix = _mix(scenario, options)
    _check_has_what_it_takes(backend, mix)
    share = options.retry_budget
    return Plan(
        backend=backend,
        mix=mix,
        policy=POLICIES[options.retry_policy],
        budget=RetryBudget(time.monotonic, share=share) if share else None,
        patience_seconds=options.patience_seconds,
        pull_share=options.pull_share,
        restart_share=options.restart_share,
    )


def option_of_phase(phase: str | None) -> str:
    """The option for the shares of a phase, of None for the shares of all others."""
    return "--shares-" + phase.replace("_", "-") if phase else "--shares"


def _mix(scenario: Scenario, options: Namespace) -> Mix:
    shares = {
        phase: parse_shares(option_of_phase(phase), _value(options, option_of_phase(phase)))
        for phase in (None, *scenario.in_phase)
    }
    return Mix(
        curve=scenario.curve_of(options),
        shares=shares[None],
        in_phase={phase: shares[phase] for phase in scenario.in_phase},
        all_the_time={
            "poll": options.pollers / POLL_SECONDS,
            "telemetry": options.reporting_cars / REPORT_SECONDS,
        },
    )


def _value(options: Namespace, option: str) -> str:
    return str(getattr(options, option.removeprefix("--").replace("-", "_")))


def parse_shares(option: str, text: str) -> dict[str, float]:
    """`look=3,unlock=1` as weights by journey.

    Raises:
        ValueError: it is not like that, a journey is unknown, or no weight is above 0.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = part.partition("=")
        try:
            shares[name.strip()] = float(weight)
        except ValueError:
            raise ValueError(f"{option} is {text!r}; it must be like look=3,unlock=1") from None
    unknown = sorted(set(shares) - set(JOURNEYS))
    if unknown:
        raise ValueError(
            f"{option} is {text!r}; there is no journey {unknown[0]!r}, there are: "
            f"{', '.join(JOURNEYS)}"
        )
    if not all(0 <= weight < math.inf for weight in shares.values()) or not any(shares.values()):
        raise ValueError(f"{option} is {text!r}; weights must be at least 0, and one above 0")
    return shares


def _check_number(options: Namespace, name: str, at_most: float = 1e9) -> None:
    value = getattr(options, name)
    if not 0 <= value <= at_most:
        option = "--" + name.replace("_", "-")
        raise ValueError(f"{option} is {value!r}; it must be between 0 and {at_most:g}")


def _check_choice(options: Namespace, name: str, known: Mapping[str, object]) -> None:
    value = getattr(options, name)
    if value not in known:
        option = "--" + name.replace("_", "-")
        raise ValueError(f"{option} is {value!r}; it must be one of: {', '.join(known)}")


def _check_has_what_it_takes(backend: Backend, mix: Mix) -> None:
    for name in sorted(mix.journeys):
        needed = JOURNEYS[name].needs
        if getattr(type(backend), needed) is getattr(Backend, needed):
            raise ValueError(
                f"the journey {name!r} needs {type(backend).__name__}.{needed}, which it does not "
                "define: define it, or leave the journey out (--shares, --pollers 0, "
                "--reporting-cars 0)"
            )
