"""Each fault on each link at half load: what every route answers, how late, and what remains.

The rows follow the failure catalogue for APIs of connected cars. Nothing may be lost, doubled or
executed unasked in any of them, and all must be well again without anybody's help.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from launchday.chaos.toxiproxy import Toxiproxy
from launchday.runs.audit import sentence
from tests.backend.clients import Answer, Clients
from tests.backend.stack import Stack, stack
from tests.chaos.support import embedded, real, real_server
from tests.ports import free_port
from tests.target_service.postgres import Postgres, throw_away_postgres
from tests.target_service.processes import sign_in

pytestmark = pytest.mark.slow

FAULT_SECONDS = 8.0
MORE_FLAPPING = 4
BASELINE_SECONDS = 2.0
RECOVERY_SECONDS = 20.0
RPS = 20.0
CARS = 20
DATABASE_PATIENCE_SECONDS = 0.5
GATEWAY_PATIENCE_SECONDS = 0.2
# Capacity 40/s: eight slots for 0.2 s each.
SETTINGS = {
    "TARGET_SLOTS": "8",
    "TARGET_SERVICE_MEAN_SECONDS": "0.2",
    "TARGET_SERVICE_CV": "0",
    "TARGET_FLEET_SIZE": str(CARS),
    "TARGET_DATABASE_PATIENCE_SECONDS": str(DATABASE_PATIENCE_SECONDS),
    "TARGET_GATEWAY_PATIENCE_SECONDS": str(GATEWAY_PATIENCE_SECONDS),
    "TARGET_GATEWAY_TIMEOUT_SECONDS": "2",
    "TARGET_COMMAND_TIME_LIMIT_SECONDS": "4",
}
# Waiting for a slot, the database twice, the gateway, and a machine that others use too.
LONGEST_SECONDS = 5.0
ROUTES = ("state", "reserve", "state", "unlock", "state", "reserve", "state", "unlock", "healthz",
          "readyz")  # fmt: skip

EMBEDDED_TOXICS = {"latency", "timeout"}
Toxic = tuple[str, str, dict[str, int]]  # type, stream, attributes


@dataclass(frozen=True)
class Fault:
    """Toxics on a link, or the link down; `flapping` turns it off and on each second."""

    toxics: tuple[Toxic, ...] = ()
    down: bool = False
    cuts: bool = False  # the live connections too: a real server resets only new ones
    flapping: bool = False


FAULTS = {
    "latency": Fault((("latency", "downstream", {"latency": 150, "jitter": 30}),)),
    "timeout": Fault(
        (("timeout", "downstream", {"timeout": 0}), ("timeout", "upstream", {"timeout": 0}))
    ),
    "reset": Fault((("reset_peer", "downstream", {"timeout": 0}),), cuts=True),
    "down": Fault(down=True),
    "bandwidth": Fault((("bandwidth", "downstream", {"rate": 2}),)),
    "flapping": Fault(flapping=True),
}


@dataclass(frozen=True)
class Floor:
    """At least `share` of the answers are of this kind, and all others of the allowed kinds."""

    kind: str
    share: float = 1.0
    allowed: tuple[str, ...] = ()


BEST = {
    "state": Floor("fresh"),
    "reserve": Floor("made"),
    "unlock": Floor("done"),
    "healthz": Floor("alive"),
    "readyz": Floor("ready"),
}
# Without its database the backend shows what it last knew, opens the doors of the cars that it
# knows, and says at once that it cannot reserve. A command that it cannot write down is done all
# the same, or promised where writing it down took too long.
NO_DATABASE = {
    "state": Floor("stale", 0.99, ("fresh",)),
    "reserve": Floor("dependency", 0.99, ("made",)),
    "unlock": Floor("done", 0.8, ("promised",)),
    "readyz": Floor("dependency"),
}
# Without the gateway nothing else suffers.
NO_GATEWAY = {"unlock": Floor("dependency")}
# What is not in a row is as good as without a fault.
TABLE: Mapping[tuple[str, str], Mapping[str, Floor]] = {
    # Slower than a budget for one round trip needs no degradation, beyond the first connections.
    ("database", "latency"): {
        "state": Floor("fresh", 0.5, ("stale",)),
        "reserve": Floor("made", 0.5, ("dependency",)),
        "unlock": Floor("done", 0.5, ("promised",)),
        "readyz": Floor("ready", 0.5, ("dependency",)),
    },
    ("database", "timeout"): NO_DATABASE,
    ("database", "reset"): NO_DATABASE,
    ("database", "down"): NO_DATABASE,
    # Two kilobytes a second are enough for nearly all: now and then two answers share them.
    ("database", "bandwidth"): {
        "state": Floor("fresh", 0.9, ("stale",)),
        "reserve": Floor("made", 0.9, ("dependency",)),
        "unlock": Floor("done", 0.5, ("promised",)),
    },
    ("database", "flapping"): {
        "state": Floor("fresh", 0.05, ("stale",)),
        "reserve": Floor("made", 0.05, ("dependency",)),
        "unlock": Floor("done", 0.8, ("promised",)),
        "readyz": Floor("ready", 0.25, ("dependency",)),
    },
    ("gateway", "latency"): {"unlock": Floor("done", 0.5, ("promised",))},
    # Promised while nobody knows better; refused at once as soon as the breaker is open.
    ("gateway", "timeout"): {"unlock": Floor("dependency", 0.4, ("promised",))},
    ("gateway", "reset"): NO_GATEWAY,
    ("gateway", "down"): NO_GATEWAY,
    ("gateway", "bandwidth"): {"unlock": Floor("done", 0.5, ("promised",))},
    ("gateway", "flapping"): {"unlock": Floor("done", 0.05, ("dependency", "promised"))},
}

LOCKED = {
    "state": Floor("fresh", 0.05, ("stale", "dependency")),
    "reserve": Floor("dependency"),
    "unlock": Floor("done", 0.5, ("promised", "dependency")),
    "readyz": Floor("ready"),
}


def kind_of(answer: Answer) -> str:
    """Return what an answer means, in the words of the table."""
    if answer.status == 503:
        return str(answer.body["reason"])
    if answer.route == "state" and answer.status == 200:
        return "stale" if answer.body["stale"] else "fresh"
    words = {
        ("unlock", 200): "done",
        ("unlock", 202): "promised",
        ("reserve", 201): "made",
        ("healthz", 200): "alive",
        ("readyz", 200): "ready",
    }
    return words.get((answer.route, answer.status), f"status {answer.status}")


class Owners:
    """Twenty owners with a car each, who come at a constant rate whatever they are answered."""

    def __init__(self, running: Stack, clients: Clients) -> None:
        self._clients = clients
        self._headers = [sign_in(running.target, number) for number in range(CARS)]
        self._number = 0

    async def come(self, seconds: float) -> list[Answer]:
        """Return the answers to what was asked in that time, also those that came later."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            asked = []
            for count in range(round(seconds * RPS)):
                await asyncio.sleep(began + count / RPS - time.monotonic())
                asked.append(group.create_task(self._ask()))
        return [task.result() for task in asked]

    async def _ask(self) -> Answer:
        route = ROUTES[self._number % len(ROUTES)]
        car = self._number // len(ROUTES) * 3 % CARS
        self._number += 1
        return await self.ask(route, car)

    async def ask(self, route: str, car: int) -> Answer:
        headers, vin = self._headers[car], f"LAUNCHDAY{car:08d}"
        match route:
            case "state":
                path = f"/v1/vehicles/{vin}/state"
                return await self._clients.ask(route, "GET", path, headers)
            case "unlock":
                path, key = f"/v1/vehicles/{vin}/commands/unlock", self._clients.new_key()
                return await self._clients.ask(route, "POST", path, headers, key)
            case "reserve":
                key = self._clients.new_key()
                return await self._clients.ask(route, "POST", "/v1/reservations", headers, key)
            case _:
                return await self._clients.ask(route, "GET", f"/{route}", {})


@asynccontextmanager
async def broken(toxiproxy: Toxiproxy, link: str, fault: Fault) -> AsyncIterator[None]:
    """Break a link inside the block, and heal it after."""
    for number, (kind, stream, attributes) in enumerate(fault.toxics):
        toxiproxy.add_toxic(link, f"t{number}", kind, stream, 1.0, attributes)
    if fault.down or fault.cuts:
        toxiproxy.set_enabled(link, False)
    if fault.cuts:
        toxiproxy.set_enabled(link, True)
    try:
        async with flapping(toxiproxy, link) if fault.flapping else nullcontext():
            yield
    finally:
        for number in range(len(fault.toxics)):
            toxiproxy.remove_toxic(link, f"t{number}")
        toxiproxy.set_enabled(link, True)


@asynccontextmanager
async def flapping(toxiproxy: Toxiproxy, link: str) -> AsyncIterator[None]:
    async def flap() -> None:
        while True:
            for enabled in (False, True):
                await asyncio.to_thread(toxiproxy.set_enabled, link, enabled)
                await asyncio.sleep(1)

    task = asyncio.create_task(flap())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def recover(owners: Owners) -> None:
    """Wait until everything works again; nobody helps but owners who try."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while True:
        answers = [await owners.ask(route, 0) for route in BEST]
        if all(kind_of(answer) == BEST[answer.route].kind for answer in answers):
            return
        assert time.monotonic() < deadline, answers
        await asyncio.sleep(0.25)


def counted(answers: list[Answer]) -> dict[str, Counter[str]]:
    """Return how many answers of each kind each route gave."""
    counts: dict[str, Counter[str]] = {route: Counter() for route in BEST}
    for answer in answers:
        counts[answer.route][kind_of(answer)] += 1
    return counts


def reaches(answers: list[Answer], expected: Mapping[str, Floor]) -> bool:
    """Return whether enough answers are of the kinds that the table asks for."""
    counts = counted(answers)
    return all(
        counts[route][floor.kind] >= floor.share * counts[route].total()
        for route, floor in expected.items()
    )


def check(answers: list[Answer], expected: Mapping[str, Floor]) -> None:
    """Every answer is in time and honest, and the shares are as the table says."""
    counts = counted(answers)
    for answer in answers:
        assert answer.seconds < LONGEST_SECONDS, answer
        if answer.status == 503:
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.headers["unavailable-cause"] == "dependency", answer
    for route, floor in {**BEST, **expected}.items():
        assert counts[route].keys() <= {floor.kind, *floor.allowed}, (route, counts)
        assert counts[route][floor.kind] >= floor.share * counts[route].total(), (route, counts)


def check_fast_once_open(answers: list[Answer]) -> None:
    """What is refused by an open breaker waits for nothing: half as long as patience at most."""
    refused = [a.seconds for a in answers if a.route == "unlock" and kind_of(a) == "dependency"]
    promised = [a.seconds for a in answers if a.route == "unlock" and kind_of(a) == "promised"]
    if refused and promised:
        assert statistics.median(refused) < statistics.median(promised)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with throw_away_postgres() as server:
        yield server


@pytest.fixture(scope="module", params=["embedded", "real"])
def toxiproxy(request: pytest.FixtureRequest) -> Iterator[Toxiproxy]:
    path = real_server()
    if request.param == "real" and path is None:
        pytest.skip("no toxiproxy-server on PATH or in $TOXIPROXY_SERVER")
    with embedded() if request.param == "embedded" or path is None else real(path) as url:
        toxiproxy = Toxiproxy(url)
        yield toxiproxy
        toxiproxy.close()


@contextmanager
def behind(toxiproxy: Toxiproxy, link: str, postgres: Postgres, folder: Path) -> Iterator[Stack]:
    """Run a stack whose `link` goes through Toxiproxy, with an empty database."""
    name = postgres.create()
    settings = {**SETTINGS, "TARGET_DATABASE_URL": postgres.url_by(postgres.port, name)}
    gateway_port = free_port()
    upstream = {"database": postgres.port, "gateway": gateway_port}[link]
    proxy = toxiproxy.create_proxy(link, "127.0.0.1:0", f"127.0.0.1:{upstream}")
    port = int(proxy.listen.rpartition(":")[2])
    if link == "database":
        settings["TARGET_DATABASE_URL"] = postgres.url_by(port, name)
    else:
        settings["TARGET_GATEWAY_URL"] = f"http://127.0.0.1:{port}"
    settings["GATEWAY_PORT"] = str(gateway_port)
    try:
        with stack(folder, **settings) as running:
            yield running
    finally:
        toxiproxy.delete_proxy(link)


async def test_a_locked_sqlite_file_is_answered_like_a_database_that_hangs(tmp_path: Path) -> None:
    """There is no link to break; whoever else writes to the file can hold it up."""
    with stack(tmp_path, **SETTINGS) as running:
        async with Clients(running.target.url, running.book, 2 * LONGEST_SECONDS) as clients:
            owners = Owners(running, clients)
            check(await owners.come(BASELINE_SECONDS), {})
            with closing(sqlite3.connect(tmp_path / "car.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                during = await owners.come(FAULT_SECONDS)
                other.execute("ROLLBACK")
            await recover(owners)
            after = await owners.come(BASELINE_SECONDS)
        result = running.audit()
        assert (result.clean, result.unresolved) == (True, ()), sentence(result)
    check(during, LOCKED)
    check(after, {})


@pytest.mark.parametrize(("link", "fault"), TABLE, ids=map("-".join, TABLE))
async def test_a_fault_is_answered_as_the_table_says(
    link: str,
    fault: str,
    toxiproxy: Toxiproxy,
    postgres: Postgres,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    kinds = {kind for kind, _, _ in FAULTS[fault].toxics}
    if request.node.callspec.params["toxiproxy"] == "embedded" and not kinds <= EMBEDDED_TOXICS:
        pytest.skip("the embedded Toxiproxy has no such toxic")
    with behind(toxiproxy, link, postgres, tmp_path) as running:
        async with Clients(running.target.url, running.book, 2 * LONGEST_SECONDS) as clients:
            owners = Owners(running, clients)
            for car in range(CARS):  # so that each car is known
                await asyncio.gather(owners.ask("state", car), owners.ask("unlock", car))
            check(await owners.come(BASELINE_SECONDS), {})
            async with broken(toxiproxy, link, FAULTS[fault]):
                during = await owners.come(FAULT_SECONDS)
            await recover(owners)
            after = await owners.come(BASELINE_SECONDS)
        result = running.audit()
        assert (result.clean, result.unresolved) == (True, ()), sentence(result)
        assert "Traceback" not in running.target.log.read_text()
    check(during, TABLE[link, fault])
    check_fast_once_open(during)
    check(after, {})
