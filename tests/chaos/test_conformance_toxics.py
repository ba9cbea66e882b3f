"""What each toxic does, on the embedded and on the real server alike; times are lower bounds."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.chaos.support import connected, received, round_trip_seconds
from tests.chaos.wire import Api, accepted, end_of, is_silent, listening, seconds_until_end

Link = tuple[str, str]
STREAMS = ["upstream", "downstream"]


@pytest.fixture
def api(server_url: str, request: pytest.FixtureRequest) -> Iterator[Api]:
    api = Api(server_url, "embedded" if "embedded" in request.node.name else "real")
    yield api
    api.clear()
    api.close()


@pytest.fixture
def link(api: Api, echo: str) -> Link:
    return api.proxy(echo)


def transfer_seconds(client: socket.socket, count: int) -> float:
    """How long an echo of so many bytes takes."""
    message = bytes(range(256)) * (count // 256)
    sender = threading.Thread(target=client.sendall, args=(message,))
    start = time.perf_counter()
    sender.start()
    assert received(client, len(message)) == message
    sender.join()
    return time.perf_counter() - start


@pytest.mark.parametrize("stream", STREAMS)
def test_bandwidth_lets_rate_times_1000_bytes_a_second_through(
    api: Api, link: Link, stream: str
) -> None:
    api.toxic(link[0], "bandwidth", stream, rate=200)
    with connected(link[1]) as client:
        assert transfer_seconds(client, 102_400) >= 0.9 * 102_400 / 200_000


def test_bandwidth_trickles_instead_of_waiting_for_the_whole(api: Api, link: Link) -> None:
    api.toxic(link[0], "bandwidth", rate=20)
    with connected(link[1]) as client:
        client.sendall(bytes(12_000))
        start = time.perf_counter()
        first = len(client.recv(65536))
        assert first <= 4_000
        assert len(received(client, 12_000 - first)) == 12_000 - first
        assert time.perf_counter() - start >= 0.9 * 12_000 / 20_000 - 0.1


def test_bandwidth_is_per_connection(api: Api, link: Link) -> None:
    api.toxic(link[0], "bandwidth", rate=100)
    with connected(link[1]) as one, connected(link[1]) as other:
        start = time.perf_counter()
        for client in (one, other):
            client.sendall(bytes(40_960))
        for client in (one, other):
            assert len(received(client, 40_960)) == 40_960
        # One after the other they would take 0.8 s; both at once 0.4 s.
        assert time.perf_counter() - start >= 0.36
        assert transfer_seconds(one, 10_240) >= 0.09


def test_a_rate_of_0_holds_everything_until_it_is_raised_or_removed(api: Api, link: Link) -> None:
    toxic = api.toxic(link[0], "bandwidth", rate=0)
    with connected(link[1]) as client:
        client.sendall(b"held")
        assert is_silent(client)
        api.change(link[0], toxic, rate=1000)
        assert received(client, 4) == b"held"
        api.change(link[0], toxic, rate=0)
        client.sendall(b"again")
        assert is_silent(client)
        api.remove(link[0], toxic)
        assert received(client, 5) == b"again"


def test_slow_close_delays_the_end_and_not_the_data(api: Api) -> None:
    with listening() as (listener, address):
        name, listen = api.proxy(address)
        api.toxic(name, "slow_close", delay=500)
        with connected(listen) as client, accepted(listener) as peer:
            peer.sendall(b"data")
            start = time.perf_counter()
            assert received(client, 4) == b"data"
            data_seconds = time.perf_counter() - start
            peer.close()
            assert seconds_until_end(client) >= 0.45
            assert data_seconds < 0.45


def test_slow_close_ends_when_it_is_removed(api: Api) -> None:
    with listening() as (listener, address):
        name, listen = api.proxy(address)
        toxic = api.toxic(name, "slow_close", delay=60_000)
        with connected(listen) as client:
            accepted(listener).close()
            assert is_silent(client)
            api.remove(name, toxic)
            assert end_of(client) == "eof"


@pytest.mark.parametrize("stream", STREAMS)
def test_reset_peer_resets_after_its_timeout_and_drops_the_data(
    api: Api, link: Link, stream: str
) -> None:
    api.toxic(link[0], "reset_peer", stream, timeout=200)
    with connected(link[1]) as client:
        client.sendall(b"ping")
        start = time.perf_counter()
        assert end_of(client) == "reset"
        assert time.perf_counter() - start >= 0.18


def test_reset_peer_leaves_idle_connections_alone(api: Api, link: Link) -> None:
    toxic = api.toxic(link[0], "reset_peer", timeout=0)
    with connected(link[1]) as client:
        assert is_silent(client)
        api.remove(link[0], toxic)
        assert round_trip_seconds(client) > 0


def test_slicer_cuts_into_pieces_with_a_delay_and_loses_nothing(api: Api, link: Link) -> None:
    api.toxic(link[0], "slicer", average_size=64, size_variation=32, delay=10_000)
    message = bytes(range(256)) * 4
    with connected(link[1]) as client:
        client.sendall(message)
        start = time.perf_counter()
        pieces: list[bytes] = []
        while sum(len(piece) for piece in pieces) < len(message):
            pieces.append(client.recv(65536))
        assert b"".join(pieces) == message
        assert len(pieces) > 4
        # At most 96 bytes a piece: 11 pieces, 10 delays of 10 ms.
        assert time.perf_counter() - start >= 0.09


def test_limit_data_counts_per_connection_and_survives_updates(api: Api, link: Link) -> None:
    toxic = api.toxic(link[0], "limit_data", bytes=10)
    with connected(link[1]) as client, connected(link[1]) as other:
        client.sendall(b"12345")
        assert received(client, 5) == b"12345"
        api.change(link[0], toxic, bytes=8)
        client.sendall(b"67890")
        assert received(client, 10) == b"678"
        other.sendall(b"123456789")
        assert received(other, 10) == b"12345678"


def test_limit_data_upstream_loses_the_answer_and_closes_both(api: Api) -> None:
    with listening() as (listener, address):
        name, listen = api.proxy(address)
        api.toxic(name, "limit_data", "upstream", bytes=4)
        with connected(listen) as client, accepted(listener) as peer:
            client.sendall(b"question")
            assert received(peer, 8) == b"ques"
            assert end_of(client) in ("eof", "reset")


@pytest.mark.parametrize("kind", ["noop", "slow_close", "limit_data", "timeout", "reset_peer"])
def test_a_toxicity_of_0_hits_nobody(api: Api, link: Link, kind: str) -> None:
    api.toxic(link[0], kind, toxicity=0.0)
    with connected(link[1]) as client:
        assert round_trip_seconds(client) > 0


def test_toxicity_hits_about_its_share_of_connections(api: Api, link: Link) -> None:
    api.toxic(link[0], "limit_data", toxicity=0.5, bytes=0)
    hits = 0
    for _ in range(60):
        with connected(link[1]) as client:
            client.sendall(b"ping")
            hits += received(client, 4) == b""
    assert 10 <= hits <= 50  # more than 5 sigma


def test_toxics_of_one_stream_are_a_chain(api: Api, link: Link) -> None:
    api.toxic(link[0], "latency", latency=200)
    api.toxic(link[0], "bandwidth", rate=100)
    api.toxic(link[0], "slicer", average_size=1024, delay=1)
    with connected(link[1]) as client:
        assert transfer_seconds(client, 20_480) >= 0.9 * (0.2 + 0.2)


def test_removing_a_toxic_in_the_middle_keeps_bytes_in_order(api: Api, link: Link) -> None:
    first = api.toxic(link[0], "latency", latency=30)
    middle = api.toxic(link[0], "bandwidth", rate=50)
    api.toxic(link[0], "slicer", average_size=512, delay=10)
    message = bytes(range(256)) * 100
    with connected(link[1]) as client:
        client.sendall(message)
        time.sleep(0.1)
        api.remove(link[0], middle)
        time.sleep(0.05)
        api.remove(link[0], first)
        assert received(client, len(message)) == message


def test_jitter_spreads_the_delay_over_twice_its_size(api: Api, link: Link) -> None:
    with connected(link[1]) as client:
        fast = statistics.median(round_trip_seconds(client) for _ in range(10))
        api.toxic(link[0], "latency", latency=20, jitter=15)
        delays = [round_trip_seconds(client) - fast for _ in range(50)]
    assert min(delays) >= 0.004  # 20 - 15 ms, and the millisecond by which both round
    assert min(delays) < 0.015
    assert statistics.pstdev(delays) > 0.004  # uniform: 30 / sqrt(12) = 8.7 ms


def test_a_paused_reader_stops_the_sender_and_gets_every_byte(api: Api) -> None:
    with listening() as (listener, address):
        name, listen = api.proxy(address)
        api.toxic(name, "bandwidth", rate=100_000)
        message = bytes(64 * 1024 * 1024)
        with connected(listen) as client, accepted(listener) as peer:
            client.settimeout(0.7)
            sent = 0
            with suppress(TimeoutError):
                while sent < len(message):
                    sent += client.send(message[sent : sent + 65536])
            client.close()
            total = 0
            while chunk := peer.recv(1 << 20):
                total += len(chunk)
            assert total == sent < len(message)
