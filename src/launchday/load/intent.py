"""What a test intends, read from a Locust environment and refused in words if it makes no sense."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import gevent

from launchday.errors import SettingsError
from launchday.load.arrivals import positions
from launchday.load.curves import RateCurve
from launchday.load.options import HOW_TO_ALLOW, Options, checked, sockets_limit
from launchday.load.ownership import check_ownership
from launchday.load.pool import divided, users_allowed, users_needed

_COUNTED_AT_ONCE = 20_000


@dataclass(frozen=True)
class Intent:
    """A test before it begins: its options, its curve and its seed.

    `requests_per_journey`: requests that the longest journey makes.
    """

    options: Options
    curve: RateCurve
    seed: int
    requests_per_journey: int

    @property
    def longest_seconds(self) -> float:
        """The longest that a journey can take."""
        return self.options.request_timeout_seconds * self.requests_per_journey

    def users(self, workers: int) -> int:
        """Users of one of `workers`. Raises SettingsError if they cannot serve the arrivals."""
        peak = self.curve.peak_rps
        objective = self.options.objective_seconds * self.requests_per_journey
        return users_allowed(
            users_needed(peak, self.longest_seconds, workers),
            at_least=int(peak * objective / workers),
            max_users=self.options.max_users,
            sockets=sockets_limit(),
        )

    def pool(self, workers: int, user_classes: Iterable[Any]) -> dict[str, int]:
        """Users of each class of one of `workers`."""
        weights = {each.__name__: float(each.weight) for each in user_classes}
        return divided(self.users(workers), weights)

    def count(self) -> int:
        """How many arrivals the schedule has; lets others run while it counts."""
        places = positions(self.curve, seed=self.seed, mode=self.options.mode)
        total = 0
        while some := sum(1 for _ in islice(places, _COUNTED_AT_ONCE)):
            total += some
            gevent.sleep(0)
        return total


def intend(environment: Any, workers: int) -> Intent:
    """What the environment's shape and options say, checked.

    Raises:
        SettingsError: an option, the curve or the size of the pool makes no sense.
        PreflightError: the target is not ours, or its name does not resolve.
    """
    options = checked(environment.parsed_options)
    check_targets(environment, options)
    shape = environment.shape_class
    try:
        curve = shape.curve(environment.parsed_options)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    seed = secrets.randbits(31) if options.seed is None else options.seed
    intent = Intent(options, curve, seed, shape.requests_per_journey)
    intent.users(workers)
    return intent


def check_served(intent: Intent | None, user_classes: list[Any]) -> None:
    """Refuse a test, about to spawn its users, that could not run an arrival.

    Raises:
        SettingsError: no SurgeShape was asked, or no user class has a task.
    """
    if intent is None:
        raise SettingsError("no SurgeShape was chosen: without its curve nobody comes")
    if not user_classes:
        raise SettingsError("no ArrivalUser has a task left: look at --tags and --exclude-tags")


def check_spawned(runner: Any) -> None:
    """Refuse a test whose users cannot be made: Locust would wait for them for ever.

    Raises:
        SettingsError: the scenario raised while Locust made its users.
    """
    error = getattr(runner.spawning_greenlet, "exception", None)
    if error is not None:
        raise SettingsError(f"a user could not be made: {type(error).__name__}: {error}")


def check_targets(environment: Any, options: Options) -> None:
    """Refuse to load nothing, or what is not ours.

    Raises:
        SettingsError: users that serve arrivals have no host.
        PreflightError: a host that is not ours, or whose name does not resolve.
    """
    default = environment.host
    for each in environment.user_classes:
        # Without arrivals it has a fixed_count, and may be no client of anything.
        if not (each.host or default or each.fixed_count):
            raise SettingsError(
                f"{each.__name__} has no target: give one, --host http://127.0.0.1:8000"
            )
    try:
        more = environment.shape_class.targets(environment.parsed_options)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    hosts = {default, *more, *(each.host for each in environment.user_classes)}
    for host in sorted(host for host in hosts if host):
        check_ownership(host, options.yours, HOW_TO_ALLOW)


def check_scenario(
    shapes: Iterable[Any], user_classes: Iterable[Any], is_ours: Callable[[Any], bool]
) -> Any:
    """The one shape of a scenario that has arrivals, of those that Locust found in its file.

    A shape that another one extends does not count. `is_ours` says whether a shape is a
    SurgeShape, or a user class an ArrivalUser.

    Raises:
        SettingsError: two shapes, none, no user class that takes arrivals, or one beside them
            that would send load of its own.
    """
    every = list(shapes)
    found = [s for s in every if not any(o is not s and isinstance(o, type(s)) for o in every)]
    arriving = [each for each in user_classes if is_ours(each)]
    names = ", ".join(sorted(each.__name__ for each in arriving))
    if len(found) > 1:
        words = " and ".join(sorted(type(shape).__name__ for shape in found))
        raise SettingsError(f"the scenario has the shapes {words}: it must have one SurgeShape")
    if not found or not is_ours(found[0]):
        raise SettingsError(
            f"the scenario has {names} but no SurgeShape, whose curve says who comes when"
        )
    if not arriving:
        name = type(found[0]).__name__
        raise SettingsError(
            f"the scenario has the SurgeShape {name} but no ArrivalUser to serve it"
        )
    _check_counts(arriving, [each for each in user_classes if not is_ours(each)])
    return found[0]


def _check_counts(arriving: list[Any], others: list[Any]) -> None:
    for each in arriving:
        if each.fixed_count:
            raise SettingsError(
                f"{each.__name__} has fixed_count = {each.fixed_count}: an ArrivalUser has a "
                "weight, and as many users as its arrivals need"
            )
    for each in others:
        if not each.fixed_count:
            raise SettingsError(
                f"{each.__name__} is no ArrivalUser: what it sends would be no arrival of the "
                "curve; make it one, or give it a fixed_count if that is what you want"
            )
