"""The lean client against a real socket that answers byte for byte what each test says."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

import gevent
import pytest

from tests.load.sockets import (
    CHUNKED,
    OK,
    OOPS,
    answering,
    client,
    eventually,
    read_request,
    server,
    wait_until_noticed,
)


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


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
def test_a_kept_connection_that_the_server_closed_while_idle_is_replaced(method: str) -> None:
    with server(answering(OK), answering(OK)) as url:
        http, events = client(url)
        assert http.get("/").status_code == 200
        wait_until_noticed(http)
        assert http.request(method, "/", data=b"").status_code == 200
        http.close()
    assert [meta["exception"] for meta in events.fired] == [None, None]


def test_bytes_that_came_while_idle_are_no_answer() -> None:
    stray = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
    sent = threading.Event()

    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK)
        assert sent.wait(10)
        connection.sendall(stray)
        with suppress(ConnectionResetError):  # closed with the stray bytes unread
            assert read_request(connection) == b""

    with server(script, answering(OK)) as url:
        http, _ = client(url)
        assert http.get("/").status_code == 200
        sent.set()
        wait_until_noticed(http)
        assert http.post("/", data=b"x").status_code == 200
        http.close()


def test_a_connection_closed_only_after_the_request_was_sent_is_replaced_for_a_get_only() -> None:
    def closing_on_the_second(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK)
        read_request(connection)

    with server(closing_on_the_second, closing_on_the_second, answering(OK)) as url:
        http, _ = client(url)
        assert http.get("/").status_code == 200
        assert http.get("/").status_code == 200  # on the second connection
        assert isinstance(http.post("/").error, ConnectionError)
        assert http.get("/").status_code == 200
        http.close()


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nConnection: close", b"HTTP/1.0 200 OK"])
def test_a_connection_that_the_answer_does_not_keep_is_not_used_again(start: bytes) -> None:
    sent_after: list[bytes] = []

    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(start + b"\r\nContent-Length: 2\r\n\r\nhi")
        sent_after.append(read_request(connection))

    with server(script, answering(OK)) as url:
        http, _ = client(url)
        assert http.get("/").text == "hi"
        assert http.get("/").text == "hi"
        http.close()
    assert sent_after == [b""]


@pytest.mark.parametrize("surplus", [OOPS, b"HTTP/1.1 100 Continue\r\n\r\n", b"HTT", b"garbage"])
def test_bytes_after_the_answer_go_into_no_answer(surplus: bytes) -> None:
    sent_after: list[bytes] = []

    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK + surplus)
        sent_after.append(read_request(connection))

    with server(script, answering(OK)) as url:
        http, _ = client(url)
        response = http.get("/")
        assert (response.status_code, response.text) == (200, "hi")
        assert "X-Other" not in response.headers
        response = http.post("/", data=b"x")
        assert (response.status_code, response.text) == (200, "hi")
        http.close()
    assert sent_after == [b""]


def test_a_user_killed_in_the_middle_of_an_answer_leaves_no_rest_of_it() -> None:
    half_sent = threading.Event()
    sent_after: list[bytes] = []

    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK[:-1])
        half_sent.set()
        sent_after.append(read_request(connection))

    with server(script, answering(OK)) as url:
        http, events = client(url)
        user = gevent.spawn(http.get, "/")
        eventually(half_sent.is_set)
        user.kill()
        assert isinstance(user.value, gevent.GreenletExit)
        assert http.get("/").text == "hi"
        http.close()
    assert sent_after == [b""]
    assert len(events.fired) == 1


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", id="status line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Type: a", id="in the headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nServer: a\r\n", id="before the empty line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", id="length"),
        pytest.param(CHUNKED + b"5\r\nab", id="in a chunk"),
        pytest.param(CHUNKED + b"2\r\nab\r\n", id="before the last chunk"),
        pytest.param(CHUNKED, id="before the first chunk"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="interim only"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", id="after interim"),
    ],
)
def test_an_answer_cut_short_is_a_connection_error(cut: bytes) -> None:
    with server(answering(cut)) as url:
        http, events = client(url)
        response = http.get("/")
    assert isinstance(response.error, ConnectionResetError)
    assert response.status_code == 0
    assert events.fired[0]["exception"] is response.error


def test_a_head_answer_cut_in_its_headers_is_a_connection_error() -> None:
    with server(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n")) as url:
        http, _ = client(url)
        assert isinstance(http.head("/").error, ConnectionResetError)


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


def test_headers_of_an_interim_answer_are_not_those_of_the_answer() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nTransfer-Encoding: x\r\n\r\n"
    with server(answering(hints + b"HTTP/1.1 200 OK\r\n\r\nto the end")) as url:
        http, _ = client(url)
        response = http.get("/")
    assert response.text == "to the end"
    assert "Link" not in response.headers


HEAD_ANSWERS = [b"Content-Length: 100\r\n", b"Transfer-Encoding: chunked\r\n", b""]


@pytest.mark.parametrize("framing", HEAD_ANSWERS)
@pytest.mark.parametrize("split", [None, -3, -2, -1, 12])
def test_an_answer_to_head_has_no_body_however_its_packets_are_cut(
    framing: bytes, split: int | None
) -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n"

    def script(connection: socket.socket) -> None:
        read_request(connection)
        if split is not None:
            connection.sendall(answer[:split])
            time.sleep(0.02)  # so that the client most likely reads two packets
        connection.sendall(answer[split or 0 :])
        read_request(connection)  # stays open: the end is not told by the connection

    with server(script) as url:
        http, _ = client(url)
        response = http.head("/")
        http.close()
    assert (response.status_code, response.text) == (200, "")


def test_what_follows_the_head_of_an_answer_to_head_is_not_its_body() -> None:
    with server(answering(OK), answering(OK)) as url:
        http, _ = client(url)
        assert http.head("/").content == b""
        assert http.get("/").text == "hi"
        http.close()


@pytest.mark.parametrize("framing", HEAD_ANSWERS)
@pytest.mark.parametrize("status", [204, 304])
def test_a_204_or_304_has_no_body_and_keeps_the_connection(status: int, framing: bytes) -> None:
    answer = f"HTTP/1.1 {status} x\r\n".encode() + framing + b"\r\n"
    with server(answering(answer, OK)) as url:
        http, _ = client(url)
        response = http.get("/")
        assert (response.status_code, response.content) == (status, b"")
        assert http.get("/").text == "hi"
        http.close()


def test_a_request_may_be_given_more_time_than_the_client_has() -> None:
    def slow(connection: socket.socket) -> None:
        read_request(connection)
        time.sleep(0.4)
        connection.sendall(OK)

    with server(slow) as url:
        http, _ = client(url, timeout_seconds=0.2)
        assert http.get("/", timeout=30.0).status_code == 200
        http.close()


def test_a_method_is_known_in_any_case() -> None:
    head_only = b"HTTP/1.1 200 x\r\nContent-Length: 10\r\n\r\n"
    with server(answering(head_only)) as url:
        http, _ = client(url)
        assert http.request("head", "/").status_code == 200
        http.close()


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


def test_the_path_of_a_base_url_must_be_one() -> None:
    with pytest.raises(ValueError, match="path of base_url"):
        client("http://127.0.0.1:1/a b")


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:80", ""])
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url must be like"):
        client(url)
