"""The effect probe on the wire: every toxic on both servers, and links without Toxiproxy."""

from __future__ import annotations

import math
import socket
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

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
from launchday.chaos.probe import EffectProbe, connections_needed, probe_address
from launchday.chaos.toxiproxy import ProxyState, Toxiproxy
from launchday.chaos.usage import read_counters
from tests.chaos.support import served

EVERY = [
    latency("gateway", latency_ms=150, jitter_ms=50),
    latency("gateway", latency_ms=150, stream="upstream"),
    bandwidth("gateway", rate_kbps=20),
    bandwidth("gateway", rate_kbps=20, stream="upstream"),
    slow_close("gateway", delay_ms=200),
    slow_close("gateway", delay_ms=200, stream="upstream"),
    timeout("gateway", timeout_ms=100),
    timeout("gateway", timeout_ms=100, stream="upstream"),
    reset_peer("gateway"),
    reset_peer("gateway", timeout_ms=50, stream="upstream"),
    slicer("gateway", average_bytes=64, variation_bytes=10, delay_us=2000),
    slicer("gateway", average_bytes=64, delay_us=2000, stream="upstream"),
    limit_data("gateway", limit_bytes=20),
    limit_data("gateway", limit_bytes=2000, stream="upstream"),
    down("gateway"),
]


def put(toxiproxy: Toxiproxy, fault: Fault) -> None:
    if fault.toxic == "down":
        toxiproxy.set_enabled(fault.link, False)
        return
    toxiproxy.add_toxic(
        fault.link, "t", fault.toxic, fault.stream, fault.toxicity, fault.attributes
    )


@pytest.mark.parametrize("fault", EVERY, ids=lambda fault: fault.words)
def test_the_probe_sees_every_toxic_and_nothing_without_one(
    toxiproxy: Toxiproxy, gateway: ProxyState, fault: Fault
) -> None:
    probe = EffectProbe(fault, gateway.listen)
    probe.before()
    assert not probe.during(), "an effect without a fault"
    assert probe.reason
    put(toxiproxy, fault)
    assert probe.during(), probe.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [latency("gateway", latency_ms=600, toxicity=0.3), timeout("gateway", toxicity=0.7)],
    ids=lambda fault: fault.words,
)
def test_the_share_of_connections_that_is_hit_is_measured(
    toxiproxy: Toxiproxy, gateway: ProxyState, fault: Fault
) -> None:
    probe = EffectProbe(fault, gateway.listen)
    probe.before()
    put(toxiproxy, fault)
    assert probe.during(), probe.reason
    assert probe.affected_share == pytest.approx(fault.toxicity, abs=0.2)


def test_a_share_that_is_not_the_intended_one_is_no_effect(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    meant = latency("gateway", latency_ms=300, toxicity=0.2)
    probe = EffectProbe(meant, gateway.listen)
    probe.before()
    put(toxiproxy, latency("gateway", latency_ms=300))
    assert not probe.during()
    assert probe.affected_share == 1.0
    assert "meant were 20%" in probe.reason


def test_a_cap_that_the_answer_is_too_short_for_is_no_effect_in_words(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    fault = bandwidth("gateway", rate_kbps=1_000_000)
    probe = EffectProbe(fault, gateway.listen)
    probe.before()
    put(toxiproxy, fault)
    assert not probe.during()
    assert "set probe_path to something with a longer answer" in probe.reason


def test_a_link_that_did_not_answer_before_shows_no_effect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        listen = f"127.0.0.1:{closing.getsockname()[1]}"
    for fault in EVERY:
        probe = EffectProbe(fault, listen)
        probe.before()
        assert not probe.during()
        assert "nothing came back" in probe.reason


def test_the_probe_waits_for_a_silent_server_only_so_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        fault = latency("g", latency_ms=10)
        probe = EffectProbe(fault, f"127.0.0.1:{silent.getsockname()[1]}")
        start = time.perf_counter()
        probe.before()
        assert time.perf_counter() - start >= 0.9 * probe.timeout_seconds
        assert not probe.during()


@pytest.mark.parametrize("fault", [f for f in EVERY if f.toxic in ("down", "slow_close")])
def test_a_link_of_any_protocol_is_probed_by_how_its_connections_end(
    toxiproxy: Toxiproxy, gateway: ProxyState, fault: Fault
) -> None:
    probe = EffectProbe(fault, gateway.listen, protocol="tcp")
    probe.before()
    assert not probe.during(), "an effect without a fault"
    put(toxiproxy, fault)
    assert probe.during(), probe.reason


@pytest.mark.parametrize("toxicity", [0.0, 0.001, 0.01, 0.3, 0.99, 1.0])
def test_a_rarer_fault_gets_more_connections_within_bounds(toxicity: float) -> None:
    count = connections_needed(toxicity)
    assert 80 <= count <= 500
    assert count == 500 or toxicity == 0 or (1 - toxicity) ** count <= 0.001
    assert math.isfinite(count)


@pytest.mark.parametrize(
    ("url", "listen", "address"),
    [
        ("http://127.0.0.1:8474", "127.0.0.1:9001", "127.0.0.1:9001"),
        ("http://toxiproxy:8474", "[::]:9001", "toxiproxy:9001"),
        ("http://toxiproxy:8474", "0.0.0.0:9001", "toxiproxy:9001"),
        ("http://[::1]:8474", "[::1]:9001", "[::1]:9001"),
    ],
)
def test_a_link_is_probed_on_the_host_of_the_toxiproxy(url: str, listen: str, address: str) -> None:
    assert probe_address(url, listen) == address


class _Slow(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(0.03)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class _OneAfterTheOther(HTTPServer):
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients that go away in the middle are the point


@pytest.mark.slow
def test_a_target_that_serves_one_after_the_other_is_not_slowed_by_the_probe_itself(
    toxiproxy: Toxiproxy,
) -> None:
    fault = latency("serial", latency_ms=300, toxicity=0.3)
    with served(_OneAfterTheOther(("127.0.0.1", 0), _Slow)) as address:
        link = toxiproxy.create_proxy("serial", "127.0.0.1:0", address)
        probe = EffectProbe(fault, link.listen)
        probe.before()
        put(toxiproxy, fault)
        assert probe.during(), probe.reason


class _Stalls(BaseHTTPRequestHandler):
    stalled: frozenset[int] = frozenset()
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        if type(self).asked in self.stalled:
            time.sleep(0.4)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize(
    ("stalled", "seen"),
    [((1,), "1 of 5"), ((1, 2), "2 of 7"), ((3, 4), "2 of 7"), ((1, 3, 5, 7, 9), "5 of 9")],
)
def test_stalls_of_a_busy_machine_are_no_effect(stalled: tuple[int, ...], seen: str) -> None:
    """In CI a link without a fault stood still for 80 ms, twice: a fault was taken for seen."""

    class Handler(_Stalls):
        pass

    with served(_OneAfterTheOther(("127.0.0.1", 0), Handler)) as address:
        probe = EffectProbe(latency("gateway", latency_ms=600), address)
        probe.before()
        Handler.stalled = frozenset(Handler.asked + number for number in stalled)
        assert not probe.during()
    assert probe.reason == f"the probe saw a difference on {seen} connections"


def test_a_probe_ends_in_the_time_that_it_is_given(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    fault = latency("gateway", latency_ms=8000)
    probe = EffectProbe(fault, gateway.listen)
    probe.before()
    put(toxiproxy, fault)
    began = time.monotonic()
    assert not probe.during(within_seconds=0.3)
    assert time.monotonic() - began < 6, "as if nobody had limited it"
    assert probe.reason == "its effect was not seen in time (0.3 s)"


def test_the_probe_knows_how_much_it_sent(toxiproxy: Toxiproxy, gateway: ProxyState) -> None:
    probe = EffectProbe(latency("gateway", latency_ms=100), gateway.listen)
    probe.before()
    assert probe.sent_bytes > 0
    counted = read_counters(toxiproxy)
    if counted and counted.live:
        assert counted.from_clients["gateway"] == probe.sent_bytes
