"""The client against a server that tears, cuts, resets and pads its answers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import gevent
import pytest

from launchday.load.http import AnswerError, HttpClient, open_connections
from tests.load.answers_on_the_wire import TABLE, Hostile
from tests.load.sockets import (
    CHUNKED,
    OK,
    Events,
    client,
    eventually,
    open_files,
    read_request,
    reset,
    serving,
)

NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"
on_linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts /proc/self/fd")


class Server:
    """Says `pieces` to GET /hostile, then perhaps closes or resets; to all else NEXT."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ending = ""

    def handle(self, connection: socket.socket) -> None:
        while request := read_request(connection):
            if not request.startswith(b"GET /hostile"):
                connection.sendall(NEXT)
                continue
            for number, piece in enumerate(self.pieces):
                if number:
                    time.sleep(0.001)  # so that most likely they are two packets
                connection.sendall(piece)
            if self.ending == "reset":
                return reset(connection)
            if self.ending == "close":
                return None
        return None


@pytest.fixture(scope="module")
def hostile_server() -> Iterator[tuple[Server, str]]:
    server = Server()
    with serving(server.handle) as url:
        yield server, url


def outcome(http: HttpClient) -> tuple[int, bytes] | None:
    response = http.get("/hostile")
    return (response.status_code, response.content) if response.error is None else None


def is_without_connection(http: HttpClient) -> bool:
    return http._connection is None or http._connection.dead


@pytest.mark.parametrize("hostile", TABLE.values(), ids=TABLE.keys())
def test_the_outcome_is_right_wherever_an_answer_is_torn_and_the_next_is_its_own(
    hostile_server: tuple[Server, str], hostile: Hostile
) -> None:
    server, url = hostile_server
    server.ending = "close" if hostile.closes else ""
    for cut in range(0, len(hostile.sent), 7):
        server.pieces = [hostile.sent[:cut], hostile.sent[cut:]] if cut else [hostile.sent]
        http, events = client(url, timeout_seconds=10.0)
        assert outcome(http) == hostile.expected
        if not hostile.kept:  # a surplus in a packet of its own is noticed while idle
            eventually(partial(is_without_connection, http))
        assert http.post("/next", data=b"").content == b"next"
        assert len(events.fired) == 2
        http.close()


@pytest.mark.parametrize("name", ["plain", "chunked, trailers", "interim", "to the end"])
def test_a_reset_at_any_byte_is_a_connection_error_and_nothing_is_left(
    hostile_server: tuple[Server, str], name: str
) -> None:
    server, url = hostile_server
    sent = TABLE[name].sent
    server.ending = "reset"
    http, _ = client(url)
    for cut in range(len(sent)):
        server.pieces = [sent[:cut]]
        response = http.get("/hostile")
        assert isinstance(response.error, ConnectionError), cut
        assert response.status_code == 0
        assert http.get("/next").content == b"next"
    http.close()


def test_ten_megabytes_of_headers_are_refused(hostile_server: tuple[Server, str]) -> None:
    server, url = hostile_server
    server.pieces = [b"HTTP/1.1 200 OK\r\n" + b"X-Filler: 0123456789abcdef\r\n" * 370_000]
    server.ending = ""
    http, events = client(url)
    response = http.get("/hostile")
    assert isinstance(response.error, AnswerError)
    assert "longer than" in str(response.error)
    assert http.get("/next").content == b"next"
    http.close()
    assert events.fired[0]["exception"] is response.error


def test_a_large_answer_in_many_pieces_is_put_together() -> None:
    body = bytes(range(256)) * 8192

    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        read_request(connection)
        connection.sendall(CHUNKED)
        for at in range(0, len(body), 50_000):
            piece = body[at : at + 50_000]
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")

    with serving(script) as url:
        http, _ = client(url)
        assert http.get("/").content == body
        assert http.get("/").content == body
        http.close()


def test_a_request_larger_than_the_buffers_is_sent_in_parts() -> None:
    body = bytes(range(256)) * 40_000
    got: list[bytes] = []

    def script(connection: socket.socket) -> None:
        received = bytearray(connection.recv(1000))
        start = received.index(b"\r\n\r\n") + 4
        while len(received) < start + len(body):
            received += connection.recv(65536)
        got.append(bytes(received[start:]))
        connection.sendall(OK)
        read_request(connection)
        connection.sendall(OK)

    with serving(script) as url:
        http, _ = client(url)
        assert http.post("/", data=body).text == "hi"
        assert http.get("/").text == "hi"
        http.close()
    assert got == [body]


def test_an_answer_to_half_a_request_counts_and_ends_the_connection() -> None:
    done = threading.Event()
    refusal = b"HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n"

    def script(connection: socket.socket) -> None:
        request = connection.recv(1000)
        if request.startswith(b"GET"):
            connection.sendall(OK)
            return
        connection.sendall(refusal)
        done.wait(10)

    with serving(script) as url:
        http, _ = client(url)
        assert http.post("/", data=bytes(20_000_000)).status_code == 413
        assert http.get("/").status_code == 200
        done.set()
        http.close()


def test_slow_bytes_are_read_to_the_end_while_there_is_time(
    hostile_server: tuple[Server, str],
) -> None:
    server, url = hostile_server
    server.pieces = [OK[i : i + 1] for i in range(len(OK))]
    server.ending = ""
    http, _ = client(url)
    assert outcome(http) == (200, b"hi")
    http.close()


def dribble(connection: socket.socket) -> None:
    request = read_request(connection)
    if request.startswith(b"GET /next"):
        connection.sendall(NEXT)
        return
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.01)


def test_an_answer_that_dribbles_for_ever_is_a_timeout() -> None:
    with serving(dribble) as url:
        http, _ = client(url, timeout_seconds=0.3)
        response = http.get("/")
        assert isinstance(response.error, TimeoutError)
        assert str(response.error) == "no whole answer in time"
        assert response.elapsed_seconds >= 0.3
        assert http.get("/next").content == b"next"
        http.close()


def test_the_first_byte_has_a_limit_of_its_own() -> None:
    with serving(dribble) as url:
        http = HttpClient(url, Events(), timeout_seconds=0.6, first_byte_seconds=0.1)
        late = http.get("/")
        assert str(late.error) == "no whole answer in time"  # its first byte was there in time
        assert late.elapsed_seconds >= 0.6
        http.close()

    def silent(connection: socket.socket) -> None:
        read_request(connection)
        read_request(connection)

    with serving(silent) as url:
        http = HttpClient(url, Events(), timeout_seconds=30.0, first_byte_seconds=0.1)
        never = http.get("/")
        assert str(never.error) == "no answer in time"
        assert 0.1 <= never.elapsed_seconds < 15
        http.close()


def test_the_limit_of_one_request_counts_for_it_alone() -> None:
    def script(connection: socket.socket) -> None:
        while request := read_request(connection):
            if request.startswith(b"GET /slow"):
                time.sleep(0.3)
            connection.sendall(OK)

    with serving(script) as url:
        http, _ = client(url)
        assert http.get("/").status_code == 200  # from here on the poller knows of 10 s only
        assert isinstance(http.get("/slow", timeout=0.05).error, TimeoutError)
        assert http.get("/slow").status_code == 200
        http.close()


def test_a_connection_that_is_not_accepted_is_a_timeout() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        filling = [socket.socket() for _ in range(3)]
        for each in filling:  # as many as the kernel queues; the next one is not answered
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        http = HttpClient(url, Events(), timeout_seconds=30.0, connect_seconds=0.2)
        response = http.get("/")
        for each in filling:
            each.close()
    assert isinstance(response.error, TimeoutError)
    assert str(response.error) == "no connection in time"
    assert 0.2 <= response.elapsed_seconds < 15


def test_a_name_that_does_not_exist_is_an_outcome() -> None:
    for host in ("nowhere.invalid", "a" * 64 + ".invalid"):
        http = HttpClient(f"http://{host}:1", Events(), timeout_seconds=20.0)
        response = http.get("/")
        assert isinstance(response.error, OSError)
        assert response.status_code == 0


@on_linux
def test_users_killed_at_any_moment_leave_no_descriptor_and_no_waiter() -> None:
    waiting = threading.Semaphore(0)

    def silent(connection: socket.socket) -> None:
        read_request(connection)
        waiting.release()
        connection.sendall(OK[:-1])
        read_request(connection)

    with serving(silent) as url:
        files, connections = open_files(), open_connections()
        clients = [client(url)[0] for _ in range(30)]
        users = [gevent.spawn(http.get, "/") for http in clients]
        gevent.killall(users[:10])  # before they began
        eventually(lambda: waiting.acquire(blocking=False))
        gevent.killall(users[10:])
        assert open_connections() == connections
        eventually(lambda: open_files() <= files)


@on_linux
def test_failures_of_every_kind_leak_no_descriptor(hostile_server: tuple[Server, str]) -> None:
    server, url = hostile_server
    files, connections = open_files(), open_connections()
    for name in ("two lengths", "head cut", "close", "surplus: garbage"):
        server.pieces = [TABLE[name].sent]
        server.ending = "close" if TABLE[name].closes else ""
        for _ in range(20):
            http, _ = client(url)
            http.get("/hostile")
            http.get("/next")  # this one is kept, and dropped with its client
    del http
    assert open_connections() == connections
    eventually(lambda: open_files() <= files)


def test_two_greenlets_may_use_one_client_at_once() -> None:
    def echo(connection: socket.socket) -> None:
        while request := read_request(connection):
            time.sleep(0.01)
            path = request.split()[1]
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path)
            )

    with serving(echo) as url:
        http, _ = client(url)
        users = [gevent.spawn(http.get, f"/{number}") for number in range(20)]
        gevent.joinall(users)
        assert [user.value.text for user in users] == [f"/{number}" for number in range(20)]
        assert open_connections() == 1
        http.close()
