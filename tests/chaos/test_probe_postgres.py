"""The effect probe through a link that speaks PostgreSQL, with a real server behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from launchday.chaos.experiment import (
    Fault,
    bandwidth,
    down,
    latency,
    limit_data,
    reset_peer,
    slicer,
    slow_close,
    timeout,
)
from launchday.chaos.probe import EffectProbe
from launchday.chaos.toxiproxy import Toxiproxy
from tests.chaos.test_probe import put
from tests.target_service.postgres import throw_away_postgres

EVERY = [
    latency("database", latency_ms=150, jitter_ms=50),
    latency("database", latency_ms=150, stream="upstream"),
    bandwidth("database", rate_kbps=20),
    bandwidth("database", rate_kbps=20, stream="upstream"),
    slow_close("database", delay_ms=200),
    timeout("database"),
    reset_peer("database"),
    slicer("database", average_bytes=512, delay_us=20_000),
    slicer("database", average_bytes=512, delay_us=20_000, stream="upstream"),
    limit_data("database", limit_bytes=200),
    down("database"),
    latency("database", latency_ms=400, toxicity=0.3),
]


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with throw_away_postgres() as server:
        yield f"127.0.0.1:{server.port}"


@pytest.mark.slow
@pytest.mark.parametrize("fault", EVERY, ids=lambda fault: fault.words)
def test_the_probe_sees_every_toxic_on_a_database(
    toxiproxy: Toxiproxy, postgres: str, fault: Fault
) -> None:
    link = toxiproxy.create_proxy("database", "127.0.0.1:0", postgres)
    probe = EffectProbe(fault, link.listen, protocol="postgres")
    probe.before()
    assert not probe.during(), "an effect without a fault"
    put(toxiproxy, fault)
    assert probe.during(), probe.reason
