from __future__ import annotations

import random
import socket
import statistics
import threading
import time
from pathlib import Path

import pytest

from launchday.chaos.toxiproxy import ProxyState, Toxiproxy
from tests.chaos.support import (
    DEADLINE_SECONDS,
    connected,
    embedded,
    embedded_process,
    received,
    round_trip_seconds,
    wait_for,
)
from tests.ports import free_port

LATENCY_MS = 150
# Timers have a resolution, and Go's server does not wait again what its scheduler took.
LEAST_SECONDS = 0.93 * LATENCY_MS / 1000


def slow(
    toxiproxy: Toxiproxy,
    link: ProxyState,
    latency_ms: int = LATENCY_MS,
    *,
    jitter_ms: int = 0,
    stream: str = "downstream",
    name: str = "slow",
    toxicity: float = 1.0,
) -> None:
    attributes = {"latency": latency_ms, "jitter": jitter_ms}
    toxiproxy.add_toxic(link.name, name, "latency", stream, toxicity, attributes)


def black_hole(toxiproxy: Toxiproxy, link: ProxyState, timeout_ms: int = 0) -> None:
    toxiproxy.add_toxic(link.name, "gone", "timeout", "downstream", 1.0, {"timeout": timeout_ms})


def is_closed(client: socket.socket) -> bool:
    """Whether the peer closed or reset within the deadline."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_bytes_pass_unchanged_without_a_toxic(echo_link: ProxyState) -> None:
    message = random.Random(1).randbytes(3_000_000)
    with connected(echo_link.listen) as client:
        sender = threading.Thread(target=client.sendall, args=(message,))
        sender.start()
        assert received(client, len(message)) == message
        sender.join()


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_latency_delays_live_and_new_connections_until_it_is_removed(
    toxiproxy: Toxiproxy, echo_link: ProxyState, stream: str
) -> None:
    with connected(echo_link.listen) as live:
        fast = min(round_trip_seconds(live) for _ in range(5))
        slow(toxiproxy, echo_link, stream=stream)
        assert round_trip_seconds(live) >= LEAST_SECONDS
        with connected(echo_link.listen) as new:
            assert round_trip_seconds(new) >= LEAST_SECONDS
        toxiproxy.remove_toxic(echo_link.name, "slow")
        healed = min(round_trip_seconds(live) for _ in range(5))
        assert max(fast, healed) < LATENCY_MS / 1000


def test_latencies_of_both_streams_add_up(toxiproxy: Toxiproxy, echo_link: ProxyState) -> None:
    slow(toxiproxy, echo_link, name="a")
    slow(toxiproxy, echo_link, name="b")
    slow(toxiproxy, echo_link, name="c", stream="upstream")
    with connected(echo_link.listen) as client:
        assert round_trip_seconds(client) >= 3 * LEAST_SECONDS


def test_latency_is_pipelined(toxiproxy: Toxiproxy, echo_link: ProxyState) -> None:
    slow(toxiproxy, echo_link, 300)
    with connected(echo_link.listen) as client:
        start = time.perf_counter()
        for number in range(20):
            client.sendall(b"%02d" % number)
            time.sleep(0.01)
        assert received(client, 40) == b"".join(b"%02d" % number for number in range(20))
        # One after the other they would take 20 x 300 ms.
        assert 0.3 <= time.perf_counter() - start < 3.0


def test_jitter_spreads_the_delay_around_the_latency_and_keeps_the_order(
    toxiproxy: Toxiproxy, echo_link: ProxyState
) -> None:
    slow(toxiproxy, echo_link, 40, jitter_ms=40)
    with connected(echo_link.listen) as client:
        delays = [round_trip_seconds(client) for _ in range(30)]
        assert statistics.pstdev(delays) > 0.005
        assert min(delays) < 0.04
        message = bytes(range(256)) * 4
        for byte in message:
            client.sendall(bytes([byte]))
        assert received(client, len(message)) == message


def test_what_latency_holds_is_handed_on_when_it_is_removed(
    toxiproxy: Toxiproxy, echo_link: ProxyState
) -> None:
    slow(toxiproxy, echo_link, 60_000)
    with connected(echo_link.listen) as client:
        client.sendall(b"held")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(DEADLINE_SECONDS)
        toxiproxy.remove_toxic(echo_link.name, "slow")
        assert received(client, 4) == b"held"


def test_a_timeout_of_0_swallows_answers_and_never_closes(
    toxiproxy: Toxiproxy, echo_link: ProxyState
) -> None:
    black_hole(toxiproxy, echo_link)
    with connected(echo_link.listen) as client:
        client.sendall(b"ping")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(DEADLINE_SECONDS)
        toxiproxy.remove_toxic(echo_link.name, "gone")
        assert is_closed(client)


def test_a_timeout_closes_after_silence(toxiproxy: Toxiproxy, echo_link: ProxyState) -> None:
    with connected(echo_link.listen) as client:
        black_hole(toxiproxy, echo_link, 300)
        start = time.perf_counter()
        client.sendall(b"ping")
        assert is_closed(client)
        assert time.perf_counter() - start >= 0.25


def test_each_chunk_starts_the_silence_anew(toxiproxy: Toxiproxy, echo_link: ProxyState) -> None:
    black_hole(toxiproxy, echo_link, 600)
    with connected(echo_link.listen) as client:
        start = time.perf_counter()
        while time.perf_counter() - start < 0.8:
            client.sendall(b".")
            time.sleep(0.1)
        assert is_closed(client)
        assert time.perf_counter() - start >= 1.2


def test_a_disabled_proxy_drops_live_connections_and_refuses_new_ones(
    toxiproxy: Toxiproxy, echo_link: ProxyState
) -> None:
    with connected(echo_link.listen) as client:
        round_trip_seconds(client)
        toxiproxy.set_enabled(echo_link.name, False)
        assert is_closed(client)
        with pytest.raises(ConnectionRefusedError):
            connected(echo_link.listen)
    toxiproxy.set_enabled(echo_link.name, True)
    with connected(echo_link.listen) as client:
        round_trip_seconds(client)


def test_a_refused_upstream_accepts_and_then_closes(toxiproxy: Toxiproxy) -> None:
    link = toxiproxy.create_proxy("dead", "127.0.0.1:0", f"127.0.0.1:{free_port()}")
    with connected(link.listen) as client:
        assert is_closed(client)


def test_the_close_of_the_upstream_reaches_the_client_after_the_data(toxiproxy: Toxiproxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        link = toxiproxy.create_proxy("bye", "127.0.0.1:0", f"127.0.0.1:{server.getsockname()[1]}")
        slow(toxiproxy, link, 50)
        with connected(link.listen) as client:
            peer, _ = server.accept()
            peer.sendall(b"last words")
            peer.close()
            assert received(client, 100) == b"last words"


def test_no_byte_is_lost_or_reordered_while_toxics_come_and_go(
    toxiproxy: Toxiproxy, echo_link: ProxyState
) -> None:
    errors: list[str] = []

    def talk(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(3):
            message = dice.randbytes(dice.randrange(1, 400_000))
            with connected(echo_link.listen) as client:
                sender = threading.Thread(target=_send_in_pieces, args=(client, message, seed))
                sender.start()
                if received(client, len(message)) != message:
                    errors.append(f"connection of seed {seed} differs")
                sender.join()

    talkers = [threading.Thread(target=talk, args=(seed,)) for seed in range(10)]
    for talker in talkers:
        talker.start()
    dice = random.Random(7)
    changes = 0
    while any(talker.is_alive() for talker in talkers) or changes < 40:
        name = f"t{dice.randrange(3)}"
        toxiproxy.remove_toxic(echo_link.name, name)
        stream = dice.choice(("upstream", "downstream"))
        share = dice.choice((1.0, 0.5))
        slow(toxiproxy, echo_link, 20, jitter_ms=20, stream=stream, name=name, toxicity=share)
        time.sleep(dice.random() * 0.02)
        changes += 1
    for talker in talkers:
        talker.join()
    assert errors == []


def _send_in_pieces(client: socket.socket, message: bytes, seed: int) -> None:
    dice = random.Random(-seed)
    while message:
        count = dice.choice((1, 100, 10_000, 100_000))
        client.sendall(message[:count])
        message = message[count:]


def test_a_half_closed_client_still_gets_the_answer_of_the_embedded_server(
    embedded_url: str, echo: str
) -> None:
    toxiproxy = Toxiproxy(embedded_url)
    link = toxiproxy.create_proxy("half", "127.0.0.1:0", echo)
    slow(toxiproxy, link)
    slow(toxiproxy, link, stream="upstream", name="up")
    with connected(link.listen) as client:
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert received(client, 100) == b"question"
    toxiproxy.delete_proxy(link.name)
    toxiproxy.close()


def test_a_sender_waits_when_nobody_reads_behind_the_embedded_server(embedded_url: str) -> None:
    toxiproxy = Toxiproxy(embedded_url)
    with socket.create_server(("127.0.0.1", 0)) as server:
        upstream = f"127.0.0.1:{server.getsockname()[1]}"
        link = toxiproxy.create_proxy("full", "127.0.0.1:0", upstream)
        with connected(link.listen) as client:
            peer, _ = server.accept()
            peer.settimeout(DEADLINE_SECONDS)
            sent = _send_until_stuck(client, most_bytes=64 * 1024 * 1024)
            assert sent < 64 * 1024 * 1024
            client.shutdown(socket.SHUT_WR)
            total = 0
            while chunk := peer.recv(1 << 20):
                total += len(chunk)
            assert total == sent
            peer.close()
    toxiproxy.delete_proxy(link.name)
    toxiproxy.close()


def _send_until_stuck(client: socket.socket, most_bytes: int) -> int:
    client.settimeout(1.0)
    sent = 0
    block = bytes(1 << 20)
    try:
        while sent < most_bytes:
            sent += client.send(block)
    except TimeoutError:
        pass
    client.settimeout(DEADLINE_SECONDS)
    return sent


def test_toxicity_hits_a_reproducible_share_of_connections_with_the_embedded_server(
    echo: str,
) -> None:
    def hits() -> list[bool]:
        with embedded("--seed", "42") as url:
            toxiproxy = Toxiproxy(url)
            link = toxiproxy.create_proxy("some", "127.0.0.1:0", echo)
            slow(toxiproxy, link, 100, toxicity=0.3)
            found = []
            for _ in range(30):
                with connected(link.listen) as client:
                    found.append(round_trip_seconds(client) >= 0.1)
            toxiproxy.close()
            return found

    first = hits()
    assert 1 <= sum(first) <= 20
    assert sum(one != other for one, other in zip(first, hits(), strict=True)) <= 2


def test_one_slow_dial_does_not_block_other_clients_of_the_embedded_server(
    embedded_url: str,
) -> None:
    toxiproxy = Toxiproxy(embedded_url)
    # A full backlog: later dials get no answer.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        upstream = f"127.0.0.1:{server.getsockname()[1]}"
        link = toxiproxy.create_proxy("stuck", "127.0.0.1:0", upstream)
        clients = [connected(link.listen) for _ in range(8)]
        for client in clients:
            client.sendall(b"early")
        toxiproxy.set_enabled(link.name, False)
        assert all(is_closed(client) for client in clients)
        for client in clients:
            client.close()
    toxiproxy.delete_proxy(link.name)
    toxiproxy.close()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts sockets in /proc")
def test_clients_that_give_up_on_a_black_hole_leave_no_socket_in_the_embedded_server(
    echo: str,
) -> None:
    with embedded_process() as (started, url):
        toxiproxy = Toxiproxy(url)
        link = toxiproxy.create_proxy("many", "127.0.0.1:0", echo)
        black_hole(toxiproxy, link)
        idle = sockets_of(started.pid)
        clients = [connected(link.listen) for _ in range(20)]
        for client in clients:
            client.sendall(b"ping")
        assert wait_for(lambda: sockets_of(started.pid) >= idle + 40)
        for client in clients:
            client.close()
        assert wait_for(lambda: sockets_of(started.pid) <= idle)
        toxiproxy.close()


def sockets_of(pid: int) -> int:
    """How many file descriptors a process holds."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
