"""The lean client against a real socket that answers byte for byte what each test says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from launchday.load.http import HttpClient

Script = Callable[[socket.socket], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Events:
    """What Locust would be told."""

    def __init__(self) -> None:
        self.fired: list[dict[str, Any]] = []

    def fire(self, **meta: Any) -> None:
        self.fired.append(meta)


class Owner:
    """A user as the client sees it."""

    def context(self) -> dict[str, Any]:
        return {"who": "owner"}


@contextmanager
def server(*scripts: Script) -> Iterator[str]:
    """Accept one connection for each script, one after the other."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for script in scripts:
            connection, _ = listener.accept()
            with connection:
                script(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        thread.join(10)
        listener.close()


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(65536)
        if not received:
            return data
        data += received
    return data


def answering(*answers: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        for answer in answers:
            if not read_request(connection):
                return
            connection.sendall(answer)

    return script


def client(url: str, timeout_seconds: float = 10.0) -> tuple[HttpClient, Events]:
    events = Events()
    return HttpClient(url, events, Owner(), timeout_seconds=timeout_seconds), events


def test_one_connection_serves_many_requests_and_each_is_reported_once() -> None:
    with server(answering(OK, OK, OK)) as url:
        http, events = client(url)
        assert [http.get("/a", name="a").text for _ in range(3)] == ["hi", "hi", "hi"]
        http.close()
    assert [meta["name"] for meta in events.fired] == ["a", "a", "a"]
    assert events.fired[0]["context"] == {"who": "owner"}
    assert events.fired[0]["exception"] is None
    assert events.fired[0]["response_length"] == 2


def test_a_chunked_body_in_pieces_is_put_together() -> None:
    def script(connection: socket.socket) -> None:
        read_request(connection)
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for piece in (head[:20], head[20:] + b"3\r\nab", b"c\r\n2\r\nde\r\n", b"0\r\n\r\n"):
            connection.sendall(piece)

    with server(script) as url:
        http, _ = client(url)
        assert http.get("/").content == b"abcde"
        http.close()


def test_a_503_is_an_answer_with_headers_of_any_case_and_locust_sees_a_failure() -> None:
    answer = b'HTTP/1.1 503 x\r\nretry-AFTER: 3\r\nContent-Length: 18\r\n\r\n{"reason":"limit"}'
    with server(answering(answer)) as url:
        http, events = client(url)
        response = http.get("/")
        http.close()
    assert response.status_code == 503
    assert response.json() == {"reason": "limit"}
    assert response.headers["Retry-After"] == "3"
    assert "Retry-After" in response.headers
    assert str(events.fired[0]["exception"]) == "HTTP 503"


def test_no_answer_in_time_is_a_timeout_and_the_connection_is_not_used_again() -> None:
    done = threading.Event()

    def silent(connection: socket.socket) -> None:
        read_request(connection)
        done.wait(10)

    with server(silent, answering(OK)) as url:
        http, events = client(url, timeout_seconds=0.2)
        response = http.get("/")
        done.set()
        assert response.status_code == 0
        assert isinstance(response.error, TimeoutError)
        assert http.get("/").status_code == 200
        http.close()
    assert isinstance(events.fired[0]["exception"], TimeoutError)


def test_a_refused_connection_is_an_outcome_not_an_exception() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    http, _ = client(f"http://127.0.0.1:{port}")
    assert isinstance(http.get("/").error, ConnectionRefusedError)


def test_a_kept_connection_that_the_server_closed_is_replaced_for_a_get_only() -> None:
    with server(answering(OK), answering(OK), answering(OK)) as url:
        http, _ = client(url)
        assert http.get("/").status_code == 200
        assert http.get("/").status_code == 200  # the first connection is closed by now
        error = http.post("/", data=b"x").error
        assert isinstance(error, ConnectionError)
        assert http.get("/").status_code == 200
        http.close()


def test_an_answer_cut_short_is_a_connection_error() -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
    with server(answering(cut)) as url:
        http, _ = client(url)
        assert isinstance(http.get("/").error, ConnectionResetError)


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    with server(answering(b"HTTP/1.1 200 OK\r\n\r\nall of it")) as url:
        http, _ = client(url)
        assert http.get("/").text == "all of it"


def test_the_body_is_sent_with_its_length_and_type() -> None:
    seen: list[bytes] = []

    def script(connection: socket.socket) -> None:
        seen.append(read_request(connection))
        connection.sendall(OK)

    with server(script) as url:
        http, _ = client(url)
        http.post("/v1/x", json={"a": 1}, headers={"Idempotency-Key": "k"})
        http.close()
    head = seen[0].decode()
    assert head.startswith("POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert "Content-Type: application/json\r\n" in head
    assert "Content-Length: 7\r\n" in head
    assert "Idempotency-Key: k\r\n" in head


def test_an_interim_answer_is_passed_over() -> None:
    with server(answering(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)) as url:
        http, _ = client(url)
        assert http.get("/").status_code == 200
        http.close()


def test_an_answer_to_head_has_no_body() -> None:
    with server(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")) as url:
        http, _ = client(url)
        assert http.head("/").status_code == 200


def test_catch_response_decides_what_locust_counts() -> None:
    with server(answering(OK, OK)) as url:
        http, events = client(url)
        with http.get("/", catch_response=True) as response:
            assert response.status_code == 200
            response.failure("not what we wanted")
        with http.get("/", catch_response=True) as response:
            response.success()
        http.close()
    assert str(events.fired[0]["exception"]) == "not what we wanted"
    assert events.fired[1]["exception"] is None


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:80", ""])
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url must be like"):
        client(url)
