"""The reference backend and its gateway as processes on free ports."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.target_service import processes
from tests.target_service.postgres import Postgres, throw_away_postgres
from tests.target_service.processes import ADMIN_TOKEN, FAST, FREE_PORTS, Process

Start = Callable[..., Process]
SignIn = Callable[..., dict[str, str]]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """`start("target_service", TARGET_SLOTS="2")`: a process with its own database file."""
    started: list[Process] = []

    def start_one(module: str, **settings: str) -> Process:
        folder = tmp_path_factory.mktemp("service")
        database = {"TARGET_DATABASE_URL": f"sqlite:///{folder / 'car.db'}"}
        everything = {**FREE_PORTS, **database, **FAST, **settings}
        started.append(Process(module, folder / "log", everything))
        return started[-1]

    yield start_one
    for process in started:
        process.close()


@pytest.fixture(scope="module")
def gateway(start: Start) -> Process:
    return start("target_service.gateway")


@pytest.fixture(scope="module")
def target(start: Start, gateway: Process) -> Process:
    return start("target_service", TARGET_GATEWAY_URL=gateway.url)


@pytest.fixture(scope="module")
def small(start: Start) -> Process:
    """A backend that is too small for a flood."""
    return start(
        "target_service",
        TARGET_SLOTS="2",
        TARGET_SHED_LIMIT="3",
        TARGET_SERVICE_MEAN_SECONDS="0.05",
        TARGET_ADMIN_TOKEN=ADMIN_TOKEN,
    )


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with throw_away_postgres() as server:
        yield server


@pytest.fixture
def sign_in() -> SignIn:
    """`sign_in(process, number=0)`: the headers of that owner, whose car has the same number."""
    return processes.sign_in


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    return processes.eventually
