"""What owners, cars and third-party pollers do when they arrive, and how it can end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any, Literal, Protocol

from _backend import Account, Backend, Request

CHARGERS = 50
KEPT_READINGS = 20  # by a car that cannot upload them


class Ending(StrEnum):
    """How a journey ended, as its owner sees it."""

    DONE = "done"
    DEGRADED = "degraded"  # something worked without the server, or with what was last known
    GAVE_UP = "gave up"


class Visitor(Protocol):
    """Whoever arrives: asks, and hears whether it was granted."""

    @property
    def backend(self) -> Backend:
        """The target's requests."""

    @property
    def account(self) -> Account:
        """Whose app or car it is."""

    @property
    def random(self) -> Random:
        """The arrival's own randomness."""

    def ask(self, request: Request | None) -> bool:
        """Send it, again if the retry policy says so; True for a 2xx, or if there is no request."""

    def sign_in(self) -> bool:
        """Begin a new session; False if that failed."""

    def refresh(self) -> bool:
        """Renew the session, or begin one if it cannot be renewed; False if that failed."""

    def signed_in(self) -> bool:
        """Have a session, also if the target fails: a 5xx signs nobody out."""


@dataclass(frozen=True)
class Journey:
    """`needs`: the method of the Backend without which it is none. `requests`: the most it makes.

    `signs_in`: begins with a sign-in, so that anybody of the fleet can come.
    """

    name: str
    run: Callable[[Visitor], Ending]
    needs: str
    requests: int
    who: Literal["owner", "car", "poller"] = "owner"
    signs_in: bool = False


JOURNEYS: dict[str, Journey] = {}
"""All journeys by name; --shares speaks of them."""


def _journey(
    needs: str,
    requests: int,
    who: Literal["owner", "car", "poller"] = "owner",
    *,
    signs_in: bool = False,
) -> Callable[[Callable[[Visitor], Ending]], Callable[[Visitor], Ending]]:
    def register(run: Callable[[Visitor], Ending]) -> Callable[[Visitor], Ending]:
        name = run.__name__
        JOURNEYS[name] = Journey(name, run, needs, requests, who, signs_in)
        return run

    return register


@_journey("state", requests=1)
def look(visitor: Visitor) -> Ending:
    """Look at the car; without an answer the app shows the last known state with its age."""
    return _shown(visitor, visitor.backend.state(visitor.account))


@_journey("vehicles", requests=3)
def open_app(visitor: Visitor) -> Ending:
    """Open the app with the session that it has: cars, state, news."""
    if not visitor.signed_in():
        return Ending.GAVE_UP
    backend, account = visitor.backend, visitor.account
    answers = [
        visitor.ask(backend.vehicles(account)),
        visitor.ask(backend.state(account)),
        visitor.ask(backend.notifications(account)),
    ]
    return Ending.DONE if all(answers) else Ending.DEGRADED


@_journey("refresh", requests=4)
def resume(visitor: Visitor) -> Ending:
    """Open the app when its session has run out: it is refreshed first."""
    return open_app(visitor) if visitor.refresh() else Ending.GAVE_UP


@_journey("sign_in", requests=4, signs_in=True)
def cold_start(visitor: Visitor) -> Ending:
    """Open the app for the first time, or after it was signed out: sign in first."""
    return open_app(visitor) if visitor.sign_in() else Ending.GAVE_UP


@_journey("command", requests=2)
def unlock(visitor: Visitor) -> Ending:
    """Look at the car and unlock it, whatever the state said.

    Phone key (Bluetooth) and key card open it without the server: never worse than degraded.
    """
    backend, account = visitor.backend, visitor.account
    if not visitor.signed_in():
        return Ending.DEGRADED
    visitor.ask(backend.state(account))
    unlocked = visitor.ask(backend.command(account, "unlock"))
    return Ending.DONE if unlocked else Ending.DEGRADED


@_journey("command", requests=1)
def climate(visitor: Visitor) -> Ending:
    """Heat the car before leaving; nothing else can do it."""
    return _granted(visitor, visitor.backend.command(visitor.account, "climate_start"))


@_journey("reserve", requests=1)
def reserve(visitor: Visitor) -> Ending:
    """Reserve the new model."""
    return _granted(visitor, visitor.backend.reserve(visitor.account))


@_journey("charger_session", requests=1)
def charge(visitor: Visitor) -> Ending:
    """Charge at a public charger, which needs our word and has no fallback."""
    charger = f"charger-{visitor.random.randrange(CHARGERS)}"
    return _granted(visitor, visitor.backend.charger_session(visitor.account, charger))


@_journey("schedule", requests=1)
def schedule(visitor: Visitor) -> Ending:
    """Say when to charge at home; without an answer the car keeps its last schedule."""
    start = f"{visitor.random.randrange(24):02d}:00"
    return _shown(visitor, visitor.backend.schedule(visitor.account, start))


@_journey("energy", requests=1)
def energy(visitor: Visitor) -> Ending:
    """Look at the battery at home."""
    return _shown(visitor, visitor.backend.energy(visitor.account))


@_journey("status", requests=1)
def watch_status(visitor: Visitor) -> Ending:
    """Look at the status page for when it turns green; nobody has to be signed in."""
    return Ending.DONE if visitor.ask(visitor.backend.status()) else Ending.GAVE_UP


@_journey("telemetry", requests=1, who="car")
def telemetry(visitor: Visitor) -> Ending:
    """The car uploads what it measured and what it could not send before, else it buffers it."""
    return _upload(visitor, [visitor.backend.reading(visitor.account, time.time())])


@_journey("telemetry", requests=1, who="car")
def upload_backlog(visitor: Visitor) -> Ending:
    """After a time without connection: the readings that the car kept, one a minute."""
    now_unix = time.time()
    times = [now_unix - 60.0 * minutes for minutes in reversed(range(KEPT_READINGS))]
    return _upload(visitor, [visitor.backend.reading(visitor.account, at) for at in times])


@_journey("software", requests=1, who="car")
def check_software(visitor: Visitor) -> Ending:
    """The car asks for updates; it asks again tomorrow."""
    return _shown(visitor, visitor.backend.software(visitor.account))


@_journey("charging", requests=2, who="car")
def start_charging(visitor: Visitor) -> Ending:
    """Scheduled charging begins: the car reads its limit, by which else it goes, and reports."""
    knows = _shown(visitor, visitor.backend.charging(visitor.account))
    reported = _upload(visitor, [visitor.backend.reading(visitor.account, time.time())])
    return reported if knows is Ending.DONE else knows


@_journey("poll", requests=1, who="poller")
def poll(visitor: Visitor) -> Ending:
    """A third party's program asks, and will ask again in 30 s whatever the answer is."""
    return _granted(visitor, visitor.backend.poll(visitor.account))


def _granted(visitor: Visitor, request: Request | None) -> Ending:
    """Done or not; there is no way without the server."""
    return Ending.DONE if visitor.signed_in() and visitor.ask(request) else Ending.GAVE_UP


def _shown(visitor: Visitor, request: Request | None) -> Ending:
    """Done, or what was last known stands."""
    return Ending.DONE if visitor.signed_in() and visitor.ask(request) else Ending.DEGRADED


def _upload(visitor: Visitor, new: list[dict[str, Any]]) -> Ending:
    backend, account = visitor.backend, visitor.account
    # Taken out first: another arrival may be this car, too.
    readings, account.unsent = [*account.unsent, *new], []
    if visitor.signed_in() and visitor.ask(backend.telemetry(account, readings)):
        return Ending.DONE
    account.unsent = [*account.unsent, *readings][-KEPT_READINGS:]
    return Ending.DEGRADED
