from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from launchday.chaos.toxiproxy import ProxyState, Toxiproxy
from tests.chaos.support import echo_server, embedded, http_server, real, real_server, served

_numbers = itertools.count()


@pytest.fixture
def leases(state_home: Path) -> Path:
    """Where the lease files of a test are."""
    return state_home / "launchday" / "leases"


@pytest.fixture(scope="session")
def embedded_url() -> Iterator[str]:
    with embedded() as url:
        yield url


@pytest.fixture(scope="session")
def real_url() -> Iterator[str]:
    path = real_server()
    if path is None:
        pytest.skip("no toxiproxy-server on PATH or in $TOXIPROXY_SERVER")
    with real(path) as url:
        yield url


@pytest.fixture(params=["embedded", "real"])
def server_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def toxiproxy(server_url: str) -> Iterator[Toxiproxy]:
    toxiproxy = Toxiproxy(server_url)
    yield toxiproxy
    for name in toxiproxy.proxies():
        toxiproxy.delete_proxy(name)
    toxiproxy.close()


@pytest.fixture(scope="session")
def echo() -> Iterator[str]:
    with served(echo_server()) as address:
        yield address


@pytest.fixture(scope="session")
def healthz() -> Iterator[str]:
    with served(http_server()) as address:
        yield address


@pytest.fixture
def echo_link(toxiproxy: Toxiproxy, echo: str) -> ProxyState:
    return toxiproxy.create_proxy(f"echo-{next(_numbers)}", "127.0.0.1:0", echo)


@pytest.fixture
def gateway(toxiproxy: Toxiproxy, healthz: str) -> ProxyState:
    return toxiproxy.create_proxy("gateway", "127.0.0.1:0", healthz)
