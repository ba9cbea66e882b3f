"""One owner's journeys through the reference backend, each step checked."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks._service import Connection, request
from launchday.histogram import LogHistogram
from target_service.database.fleet import email_of, password_of, vin_of

PATIENCE_SECONDS = 5.0
COMMAND_SECONDS, POLL_SECONDS = 10.0, 0.5


class Failed(Exception):
    """A step of a journey was not answered as it should be; in few distinct words."""


@dataclass
class Tally:
    """What happened so far."""

    begun: int = 0
    on_time: int = 0
    succeeded: int = 0
    requests: int = 0
    steps: dict[str, LogHistogram] = field(default_factory=lambda: defaultdict(LogHistogram))
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def ended(self) -> int:
        return self.succeeded + self.failures.total()


class Phone:
    """One owner's app during one journey, on a connection of its own."""

    def __init__(
        self, connection: Connection, owner: int, headers: dict[str, str], key: str, tally: Tally
    ) -> None:
        self.owner = owner
        self.vin = vin_of("us", owner)
        self.key = key
        self._connection = connection
        self._headers = headers
        self._tally = tally

    async def step(
        self, name: str, method: str, path: str, wanted: tuple[int, ...], body: Any = None
    ) -> dict[str, Any]:
        """Make one request and return the answer. Raises Failed."""
        headers = self._headers | {"idempotency-key": self.key}
        message = request(method, path, headers, b"" if body is None else json.dumps(body).encode())
        self._tally.requests += 1
        began = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                status, answer = await self._connection.ask(message)
        except (OSError, EOFError) as error:
            raise Failed(f"{name}: {type(error).__name__}") from error
        self._tally.steps[name].record(time.perf_counter() - began)
        told: dict[str, Any] = json.loads(answer)
        if status not in wanted:
            raise Failed(f"{name}: {status} {told.get('reason')}")
        return told

    async def sign_in(self) -> None:
        """Sign in anew; from here on with the new token."""
        email = email_of("us", self.owner)
        wanted = {"email": email, "password": password_of(1, email)}
        session = await self.step("sign in", "POST", "/v1/sessions", (201,), wanted)
        self._headers = {"authorization": f"Bearer {session['access_token']}"}

    async def open_app(self) -> None:
        """See the cars, then the state of the own one."""
        cars = (await self.step("vehicles", "GET", "/v1/vehicles", (200,)))["vehicles"]
        require([car["vin"] for car in cars] == [self.vin], "vehicles: another car")
        state = await self.step("state", "GET", f"/v1/vehicles/{self.vin}/state", (200,))
        require(not state["stale"], "state: stale")

    async def command(self, word: str) -> None:
        """Tell the car, and ask until it has done it."""
        path = f"/v1/vehicles/{self.vin}/commands/{word}"
        told = await self.step(word, "POST", path, (200, 202))
        ends_at = time.monotonic() + COMMAND_SECONDS
        while told["state"] == "pending" and time.monotonic() < ends_at:
            await asyncio.sleep(POLL_SECONDS)
            told = await self.step("poll", "GET", f"/v1/commands/{self.key}", (200,))
        require(told["state"] == "done", f"{word}: {told['state']}")


def require(met: bool, words: str) -> None:
    """Return when `met`. Raises Failed."""
    if not met:
        raise Failed(words)


async def look(phone: Phone) -> None:
    """Look at the car, and at what is new."""
    await phone.open_app()
    await phone.step("notifications", "GET", "/v1/notifications", (200,))


async def unlock(phone: Phone) -> None:
    """Look at the car and unlock it."""
    await phone.open_app()
    await phone.command("unlock")


async def climate(phone: Phone) -> None:
    """Look at the car and heat it."""
    await phone.open_app()
    await phone.command("climate_start")


async def reserve(phone: Phone) -> None:
    """Reserve the new model; again, because the answer was lost; and see it."""
    await phone.open_app()
    wanted = {"model": "launch-edition"}
    first = await phone.step("reserve", "POST", "/v1/reservations", (201,), wanted)
    again = await phone.step("reserve again", "POST", "/v1/reservations", (201,), wanted)
    require(again == first, "reserve again: another answer")
    seen = await phone.step("reservation", "GET", f"/v1/reservations/{first['id']}", (200,))
    require(seen == first, "reservation: not what was acknowledged")


async def charge_at_home(phone: Phone) -> None:
    """Set the schedule and see it."""
    await phone.open_app()
    schedule = {"start": "22:30", "days": ["mon", "fri"], "percent": 80}
    path = f"/v1/vehicles/{phone.vin}/charging"
    told = await phone.step("schedule", "PUT", f"{path}/schedule", (200,), schedule)
    require(told["delivery"] in ("done", "pending"), f"schedule: {told['delivery']}")
    seen = await phone.step("charging", "GET", path, (200,))
    require(seen["schedule"] == schedule, "charging: not the schedule that was stored")


async def charge_in_public(phone: Phone) -> None:
    """Start to charge at a charger, and look how far it is. No app: the charger asks."""
    path = "/v1/chargers/charger-7/sessions"
    made = await phone.step("charger", "POST", path, (201,), {"vin": phone.vin})
    await phone.step("charger session", "GET", f"{path}/{made['id']}", (200,))


async def report(phone: Phone) -> None:
    """The car itself reports what it measured."""
    reading = {
        "vin": phone.vin, "unix": time.time(), "battery_percent": 50, "range_km": 250,
        "odometer_km": 100_000, "latitude": 48.1, "longitude": 11.6,
    }  # fmt: skip
    told = await phone.step("telemetry", "POST", "/v1/telemetry", (202,), reading)
    require(told["updated"] == 1, "telemetry: not taken for news")


@dataclass(frozen=True)
class Kind:
    """One kind of journey: its weight among all, and its requests, polls apart."""

    run: Callable[[Phone], Awaitable[None]]
    weight: int
    requests: int


KINDS = (
    Kind(look, 30, 3),
    Kind(unlock, 20, 3),
    Kind(climate, 5, 3),
    Kind(reserve, 15, 5),
    Kind(charge_at_home, 10, 4),
    Kind(charge_in_public, 5, 2),
    Kind(report, 15, 1),
)
SIGN_IN_SHARE = 0.1
MEAN_REQUESTS = SIGN_IN_SHARE + sum(k.weight * k.requests for k in KINDS) / sum(
    k.weight for k in KINDS
)
