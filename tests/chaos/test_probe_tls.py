"""The effect probe through a link that speaks TLS, with a real HTTPS server behind it."""

from __future__ import annotations

import socketserver
import time
from collections.abc import Iterator

import pytest

from launchday.chaos.exchange import exchange, short_request
from launchday.chaos.experiment import Experiment, Fault, latency, limit_data, timeout
from launchday.chaos.inject import injected
from launchday.chaos.probe import EffectProbe
from launchday.chaos.toxiproxy import Toxiproxy
from tests.chaos.support import served
from tests.chaos.test_probe import EVERY, put
from tests.chaos.tls_server import https_served, self_signed

QUICK = ("latency", "timeout", "limit_data", "down", "reset_peer")
MORE = [
    limit_data("gateway", limit_bytes=6000),
    latency("gateway", latency_ms=1000, toxicity=0.3),
]
NAMES: list[str | None] = []


@pytest.fixture(scope="module")
def https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with https_served(self_signed(tmp_path_factory.mktemp("tls")), NAMES) as address:
        yield address


@pytest.mark.parametrize(
    "fault",
    [f if f.toxic in QUICK else pytest.param(f, marks=pytest.mark.slow, id=f.words) for f in EVERY]
    + [pytest.param(f, marks=pytest.mark.slow, id=f.words) for f in MORE],
    ids=lambda fault: fault.words,
)
def test_the_probe_sees_every_toxic_on_a_link_with_tls(
    toxiproxy: Toxiproxy, https: str, fault: Fault
) -> None:
    link = toxiproxy.create_proxy("gateway", "127.0.0.1:0", https)
    probe = EffectProbe(fault, link.listen, protocol="tls", upstream=https)
    probe.before()
    assert not probe.during(), "an effect without a fault"
    assert probe.reason
    put(toxiproxy, fault)
    assert probe.during(), probe.reason


def test_the_server_is_asked_for_the_name_of_the_upstream(toxiproxy: Toxiproxy, https: str) -> None:
    port = https.rpartition(":")[2]
    for host, name in (("localhost", "localhost"), ("127.0.0.1", None)):
        NAMES.clear()
        link = toxiproxy.create_proxy(f"to-{host}", "127.0.0.1:0", f"{host}:{port}")
        fault = latency(link.name, latency_ms=50)
        with injected(
            toxiproxy,
            Experiment("T", "D", (fault,), 0, 10, probe="tls"),
            lambda event: None,
            run_id="r",
        ) as injection:
            assert injection.faults[0].effect, injection.faults[0].reason
        assert set(NAMES) == {name}


def test_a_link_that_speaks_no_tls_is_said_in_words(toxiproxy: Toxiproxy, healthz: str) -> None:
    link = toxiproxy.create_proxy("gateway", "127.0.0.1:0", healthz)
    for fault in (timeout("gateway"), limit_data("gateway", limit_bytes=20)):
        probe = EffectProbe(fault, link.listen, protocol="tls")
        probe.before()
        assert not probe.during()
        assert "asked in 'tls'" in probe.reason


def test_a_link_that_speaks_tls_is_not_asked_in_plain_http(
    toxiproxy: Toxiproxy, https: str
) -> None:
    link = toxiproxy.create_proxy("gateway", "127.0.0.1:0", https)
    probe = EffectProbe(latency("gateway", latency_ms=50), link.listen)
    probe.before()
    assert not probe.during()
    assert "asked in 'http'" in probe.reason


class _PlainWords(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(9)
        self.request.sendall(b"-ERR unknown command\r\n")


async def test_an_answer_in_another_protocol_is_a_failed_handshake_not_an_answer() -> None:
    with served(socketserver.ThreadingTCPServer(("127.0.0.1", 0), _PlainWords)) as address:
        seen = await exchange(address, short_request("tls", "/", address), 5.0)
    assert "the TLS handshake failed: wrong version number" in seen.failure


async def test_a_handshake_takes_no_longer_than_it_may(https: str) -> None:
    start = time.perf_counter()
    seen = await exchange(https, short_request("tls", "/", https), 5.0)
    assert not seen.failure
    assert seen.answered
    assert 0 < seen.first_seconds <= seen.end_seconds <= time.perf_counter() - start
