"""Requests on the wire: what is reported, what is sent twice, and whose connection it is."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent import get_hub
from gevent import socket as gevent_socket

from launchday.load.http import HttpClient, HttpStatusError, poller
from launchday.load.http.addresses import Addresses
from launchday.load.http.poller import LoopPoller
from tests.load.sockets import (
    OK,
    Events,
    answering,
    client,
    eventually,
    in_a_process_of_its_own,
    read_request,
    server,
    serving,
)


@pytest.mark.parametrize("url", ["http://ä.example", "http://a b", "http://", "https://"])
def test_a_base_url_without_a_proper_host_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url must"):
        HttpClient(url, Events())


@pytest.mark.parametrize("setting", ["timeout_seconds", "first_byte_seconds", "connect_seconds"])
@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_refused(setting: str, seconds: float) -> None:
    limits: dict[str, Any] = {setting: seconds}
    with pytest.raises(ValueError, match=f"{setting} must be above 0"):
        HttpClient("http://127.0.0.1", Events(), **limits)


def test_a_prepared_request_is_sent_again_and_again() -> None:
    seen: list[bytes] = []

    def script(connection: socket.socket) -> None:
        while request := read_request(connection):
            seen.append(request)
            connection.sendall(OK)

    with serving(script) as url:
        http, events = client(url)
        prepared = http.prepare("GET", "/a", name="a", headers={"X": "1"})
        assert [prepared.send().text for _ in range(3)] == ["hi"] * 3
        with prepared.send(catch_response=True) as response:
            response.failure("no")
        http.close()
    assert len(set(seen)) == 1
    assert [meta["name"] for meta in events.fired] == ["a"] * 4
    assert str(events.fired[3]["exception"]) == "no"


def test_a_request_is_reported_with_what_locusts_own_clients_report() -> None:
    with server(answering(OK)) as url:
        http, events = client(url)
        response = http.get("/a?b=1", context={"more": 1})
        http.close()
    meta = events.fired[0]
    assert (meta["request_type"], meta["name"], meta["url"]) == ("GET", "/a?b=1", f"{url}/a?b=1")
    assert meta["context"] == {"who": "owner", "more": 1}
    assert meta["response"] is response
    assert meta["response_time"] == pytest.approx(response.elapsed.total_seconds() * 1000, abs=0.01)
    assert response.url == f"{url}/a?b=1"


def test_a_redirect_is_not_followed_and_not_taken_for_the_page() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"
    with server(answering(moved, moved)) as url:
        http, events = client(url)
        response = http.get("/")
        assert (response.status_code, response.ok) == (302, True)
        response.raise_for_status()
        with http.get("/", catch_response=True) as response:
            response.success()
        http.close()
    assert str(events.fired[0]["exception"]) == "HTTP 302: not followed"
    assert events.fired[1]["exception"] is None


def test_a_status_from_400_on_raises_when_asked() -> None:
    with server(answering(b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n")) as url:
        http, _ = client(url)
        with pytest.raises(HttpStatusError, match="HTTP 404"):
            http.get("/").raise_for_status()
        http.close()
    with pytest.raises(ConnectionRefusedError):
        http.get("/").raise_for_status()


def test_success_and_failure_without_catch_response_say_what_is_missing() -> None:
    with server(answering(OK)) as url:
        http, _ = client(url)
        response = http.get("/")
        http.close()
    with pytest.raises(RuntimeError, match="catch_response=True"):
        response.failure("too late")


def test_an_exception_in_the_block_is_what_the_request_is_counted_as() -> None:
    def broken(http: HttpClient) -> None:
        with http.get("/", catch_response=True) as response:
            raise KeyError(response.text)

    with server(answering(OK)) as url:
        http, events = client(url)
        with pytest.raises(KeyError):
            broken(http)
        http.close()
    assert isinstance(events.fired[0]["exception"], KeyError)


def closing_on_the_second(connection: socket.socket) -> None:
    if read_request(connection):
        connection.sendall(OK)
        read_request(connection)


def test_only_a_repeatable_request_is_sent_twice_and_it_says_so() -> None:
    with serving(closing_on_the_second) as url:
        http, events = client(url)
        assert not http.get("/").resent
        assert http.get("/").resent
        assert isinstance(http.post("/").error, ConnectionError)
        assert http.delete("/").error is None
        assert http.delete("/").resent
        http.close()
    assert len(events.fired) == 5


def test_the_second_attempt_has_no_more_time_than_the_first() -> None:
    accepted: list[float] = []

    def script(connection: socket.socket) -> None:
        accepted.append(1.0)
        if len(accepted) == 1:
            closing_on_the_second(connection)
        else:
            read_request(connection)
            read_request(connection)

    with serving(script) as url:
        http, _ = client(url, timeout_seconds=0.3)
        assert http.get("/").status_code == 200
        response = http.get("/")
        assert isinstance(response.error, TimeoutError)
        assert 0.3 <= response.elapsed_seconds < 5


def test_without_keep_alive_every_journey_has_a_connection_of_its_own() -> None:
    requests: list[int] = []

    def script(connection: socket.socket) -> None:
        requests.append(0)
        mine = len(requests) - 1
        while read_request(connection):
            requests[mine] += 1
            connection.sendall(OK)

    with serving(script) as url:
        http = HttpClient(url, Events(), keep_alive=False)
        kept = HttpClient(url, Events())
        for _ in range(3):
            for each in (http, kept):
                each.get("/")
                each.get("/")
                each.end_journey()
        kept.close()
    assert sorted(requests) == [2, 2, 2, 6]


def test_ipv6_is_spoken() -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            answering(OK)(connection)

    threading.Thread(target=serve, daemon=True).start()
    http, _ = client(f"http://[::1]:{listener.getsockname()[1]}")
    assert http.get("/").text == "hi"
    http.close()
    listener.close()


def test_the_address_that_answers_is_found_behind_one_that_does_not() -> None:
    with serving(answering(OK)) as url:  # only on 127.0.0.1, and localhost may be ::1 as well
        http, _ = client(url.replace("127.0.0.1", "localhost"))
        assert http.get("/").text == "hi"
        http.close()


@pytest.fixture
def without_epoll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(poller._pollers, get_hub(), LoopPoller(get_hub().loop))


@pytest.mark.usefixtures("without_epoll")
def test_where_there_is_no_epoll_gevents_watchers_do_the_same() -> None:
    def script(connection: socket.socket) -> None:
        while request := read_request(connection):
            if request.startswith(b"GET /slow"):
                select.select([], [], [], 0.3)
            connection.sendall(OK[:10])
            select.select([], [], [], 0.001)
            connection.sendall(OK[10:])
            if request.startswith(b"GET /close"):
                return

    with serving(script) as url:
        http, events = client(url)
        assert [http.get("/").text for _ in range(3)] == ["hi"] * 3
        assert isinstance(http.get("/slow", timeout=0.05).error, TimeoutError)
        assert http.get("/close").text == "hi"
        eventually(lambda: http._connection is not None and http._connection.dead)
        assert http.post("/", data=b"x").text == "hi"
        http.close()
    assert len(events.fired) == 6


FORKING = """
    import sys
    from gevent import monkey
    monkey.patch_all()
    import os
    from launchday.load.http import HttpClient, open_connections
    class Nobody:
        def fire(self, **meta): pass
    http = HttpClient(sys.argv[1], Nobody(), timeout_seconds=10)
    assert http.get("/").text == "hi"
    child = os.fork()
    if child == 0:
        print("child", open_connections(), http.get("/").text, open_connections(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print("parent", open_connections(), http.get("/").text, open_connections())
    http.close()
"""

KILLED_BY_GEVENT = """
    import sys, gevent
    from gevent import monkey
    monkey.patch_all()
    from launchday.load.http import HttpClient
    class Nobody:
        def fire(self, **meta): pass
    http = HttpClient(sys.argv[1], Nobody(), timeout_seconds=10)
    try:
        with gevent.Timeout(0.1):
            http.get("/")
    except gevent.Timeout:
        print("timeout")
    user = gevent.spawn(http.get, "/")
    gevent.sleep(0.1)
    user.kill()
    print(type(user.value).__name__)
"""


def test_a_forked_process_opens_a_connection_of_its_own_and_leaves_the_parents_alone() -> None:
    connections: list[socket.socket] = []

    def script(connection: socket.socket) -> None:
        connections.append(connection)
        answering(OK, OK)(connection)
        read_request(connection)

    with serving(script) as url:
        assert in_a_process_of_its_own(FORKING, url).split("\n")[:2] == [
            "child 0 hi 1",
            "parent 1 hi 1",
        ]
    assert len(connections) == 2


def test_timeouts_of_gevent_and_kills_reach_a_parked_user() -> None:
    def silent(connection: socket.socket) -> None:
        while connection.recv(1000):
            pass

    with serving(silent) as url:
        assert in_a_process_of_its_own(KILLED_BY_GEVENT, url).split() == ["timeout", "GreenletExit"]


def test_a_name_is_looked_up_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    real: Callable[..., Any] = gevent_socket.getaddrinfo

    def slow(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments)
        gevent.sleep(0.05)
        if len(asked) == 1:
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        return real(*arguments, **options)

    monkeypatch.setattr(gevent_socket, "getaddrinfo", slow)
    addresses = Addresses("127.0.0.1", 80)

    def failing() -> bool:
        try:
            addresses.get(10.0)
        except socket.gaierror:
            return True
        return False

    users = [gevent.spawn(failing) for _ in range(10)]
    assert all(user.get() for user in users)
    for _ in range(2):
        users = [gevent.spawn(addresses.get, 10.0) for _ in range(10)]
        assert {str(user.get()) for user in users} == {f"[({socket.AF_INET!r}, ('127.0.0.1', 80))]"}
    assert len(asked) == 2
