"""How connections end, seen on both sockets: EOF or RST, embedded and real server alike."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from tests.chaos.support import connected, received
from tests.chaos.wire import Api, accepted, end_of, listening, reset


@pytest.fixture
def api(server_url: str, request: pytest.FixtureRequest) -> Iterator[Api]:
    api = Api(server_url, "embedded" if "embedded" in request.node.name else "real")
    yield api
    api.clear()
    api.close()


Ends = Callable[[socket.socket], None]


@pytest.mark.parametrize("end", [socket.socket.close, reset], ids=["fin", "rst"])
@pytest.mark.parametrize("who", ["client", "upstream"])
def test_the_end_of_one_side_is_an_eof_for_the_other_after_all_data(
    api: Api, end: Ends, who: str
) -> None:
    with listening() as (listener, address):
        _, listen = api.proxy(address)
        with connected(listen) as client, accepted(listener) as peer:
            one, other = (client, peer) if who == "client" else (peer, client)
            one.sendall(b"last words")
            assert received(other, 10) == b"last words"
            end(one)
            assert end_of(other) == "eof"


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_reset_peer_is_a_reset_for_both_sides(api: Api, stream: str) -> None:
    with listening() as (listener, address):
        name, listen = api.proxy(address)
        api.toxic(name, "reset_peer", stream, timeout=50)
        with connected(listen) as client, accepted(listener) as peer:
            (client if stream == "upstream" else peer).sendall(b"dropped")
            assert end_of(client) == "reset"
            assert end_of(peer) == "reset"


@pytest.mark.parametrize("change", ["disable", "delete", "move"])
def test_a_stopped_proxy_ends_live_connections_with_eof(api: Api, change: str) -> None:
    with listening() as (listener, address):
        name, listen = api.proxy(address)
        with connected(listen) as client, accepted(listener) as peer:
            client.sendall(b"ping")
            assert received(peer, 4) == b"ping"
            if change == "delete":
                api.http.delete(f"/proxies/{name}")
            else:
                body = {"enabled": False} if change == "disable" else {"upstream": "127.0.0.1:1"}
                assert api.http.patch(f"/proxies/{name}", json=body).status_code == 200
            assert (end_of(client), end_of(peer)) == ("eof", "eof")
            if change != "move":
                with pytest.raises(ConnectionRefusedError):
                    connected(listen)


def test_limit_data_gives_the_client_its_bytes_and_then_eof(api: Api) -> None:
    with listening() as (listener, address):
        name, listen = api.proxy(address)
        api.toxic(name, "limit_data", bytes=1000)
        with connected(listen) as client, accepted(listener) as peer:
            peer.sendall(bytes(1000))
            assert received(client, 2000) == bytes(1000)
            assert end_of(client) == "eof"
            assert end_of(peer) == "eof"


def test_a_timeout_ends_both_sides_with_eof(api: Api) -> None:
    with listening() as (listener, address):
        name, listen = api.proxy(address)
        api.toxic(name, "timeout", timeout=100)
        with connected(listen) as client, accepted(listener) as peer:
            peer.sendall(b"dropped")
            assert received(client, 1) == b""
            assert end_of(peer) == "eof"


def test_an_upstream_that_closes_behind_a_timeout_is_an_eof_for_the_client(api: Api) -> None:
    with listening() as (listener, address):
        name, listen = api.proxy(address)
        api.toxic(name, "timeout", timeout=0)
        with connected(listen) as client, accepted(listener) as peer:
            peer.sendall(b"dropped")
            peer.close()
            assert received(client, 1) == b""


@pytest.mark.parametrize("upstream", ["127.0.0.1:1", "no-such-host.invalid:80", "nonsense"])
def test_an_upstream_that_cannot_be_reached_is_a_closed_connection(api: Api, upstream: str) -> None:
    _, listen = api.proxy(upstream)
    with connected(listen) as client:
        assert end_of(client) == "eof"
    assert api.http.get("/version").status_code == 200


def test_ipv6_is_listened_on_and_dialled(api: Api) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        listener.settimeout(20)
        _, listen = api.proxy(f"[::1]:{listener.getsockname()[1]}", "[::1]:0")
        assert listen.startswith("[::1]:")
        port = int(listen.rpartition(":")[2])
        with socket.create_connection(("::1", port), timeout=20) as client:
            peer = accepted(listener)
            client.sendall(b"ping")
            assert received(peer, 4) == b"ping"
            peer.close()
            assert end_of(client) == "eof"
