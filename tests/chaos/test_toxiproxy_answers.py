"""What comes back from something that is no Toxiproxy, an old one, a new one, or a broken one."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from launchday.chaos.toxiproxy import Toxiproxy
from launchday.chaos.toxiproxy_errors import NoAnswer, NoToxiproxy, ProxyNotFound
from launchday.errors import ToxiproxyError
from tests.chaos.support import served
from tests.ports import free_port

TOXIC = {"name": "t", "type": "latency", "stream": "downstream", "toxicity": 1}
TOXIC |= {"attributes": {"latency": 1, "jitter": 0}}
PROXY = {"name": "a", "listen": "127.0.0.1:1", "upstream": "127.0.0.1:2", "enabled": True}

Reply = tuple[int, bytes]


@contextmanager
def answering(reply: Callable[[str, str], Reply | None]) -> Iterator[Toxiproxy]:
    """A server that gives `reply(method, path)`; None closes the connection without a word."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            said = reply(self.command, self.path)
            if said is None:
                self.close_connection = True
                return
            self.send_response(said[0])
            self.send_header("Content-Length", str(len(said[1])))
            self.end_headers()
            self.wfile.write(said[1])

        do_GET = do_POST = do_PATCH = do_DELETE = _answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # the client hangs up on purpose

    with served(Server(("127.0.0.1", 0), Handler)) as address:
        toxiproxy = Toxiproxy(f"http://{address}", timeout_seconds=1.0)
        yield toxiproxy
        toxiproxy.close()


def said(status: int, words: str) -> Reply:
    return status, json.dumps({"error": words, "status": status}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe\x00",
        b"{",
        b"[1,2",
        b"[" * 100_000,
        b"null",
        b"3",
        b'{"a": null}',
        b'{"a": {"name": 1, "listen": 2, "upstream": 3, "enabled": 4}}',
        json.dumps({"a": {**PROXY, "toxics": {"t": 1}}}).encode(),
        json.dumps({"a": {**PROXY, "enabled": "yes"}}).encode(),
    ],
)
def test_an_answer_that_is_no_list_of_proxies_is_refused_in_one_short_line(body: bytes) -> None:
    with (
        answering(lambda method, path: (200, body)) as toxiproxy,
        pytest.raises(NoToxiproxy, match="is no Toxiproxy") as raised,
    ):
        toxiproxy.proxies()
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 250


def test_ten_megabytes_are_not_read() -> None:
    begun = json.dumps({"a": PROXY}).encode()
    with (
        answering(lambda method, path: (200, begun + b" " * 10_000_000)) as toxiproxy,
        pytest.raises(NoToxiproxy, match="more than 4 MiB"),
    ):
        toxiproxy.proxies()


def test_fields_and_toxics_of_a_newer_server_are_no_trouble() -> None:
    loss = {**TOXIC, "type": "packet_loss", "attributes": {"probability": 0.1}, "since": 1}
    proxies = {"a": {**PROXY, "Logger": {}, "tags": ["x"], "toxics": [loss]}}
    with answering(lambda method, path: (200, json.dumps(proxies).encode())) as toxiproxy:
        (toxic,) = toxiproxy.proxies()["a"].toxics
        assert (toxic.type, toxic.attributes) == ("packet_loss", {"probability": 0.1})


def test_a_toxic_that_is_not_known_here_is_left_to_the_server_to_refuse(
    toxiproxy: Toxiproxy,
) -> None:
    toxiproxy.create_proxy("a", "127.0.0.1:0", "127.0.0.1:1")
    with pytest.raises(ToxiproxyError, match="invalid toxic type"):
        toxiproxy.add_toxic("a", "t", "packet_loss", attributes={"probability": -3})


@pytest.mark.parametrize("status", [404, 405])
def test_a_server_before_2_6_gets_post_instead_of_patch(status: int) -> None:
    asked: list[str] = []

    def reply(method: str, path: str) -> Reply:
        asked.append(f"{method} {path}")
        if method == "PATCH":
            return status, b"404 page not found\n" if status == 404 else b""
        return 200, json.dumps(PROXY if path == "/proxies/a" else TOXIC).encode()

    with answering(reply) as toxiproxy:
        toxiproxy.update_proxy("a", enabled=True)
        toxiproxy.update_toxic("a", "t", {"latency": 2})
    assert asked == [
        "PATCH /proxies/a",
        "POST /proxies/a",
        "GET /proxies/a/toxics/t",
        "POST /proxies/a/toxics/t",
    ]


def test_a_patch_that_a_new_server_refuses_is_not_posted_again() -> None:
    asked: list[str] = []

    def reply(method: str, path: str) -> Reply:
        asked.append(method)
        return said(404, "proxy not found")

    with answering(reply) as toxiproxy, pytest.raises(ProxyNotFound):
        toxiproxy.set_enabled("a", True)
    assert asked == ["PATCH"]


def test_a_redirect_is_not_followed() -> None:
    with (
        answering(lambda method, path: (302, b"")) as toxiproxy,
        pytest.raises(NoToxiproxy, match="302") as raised,
    ):
        toxiproxy.proxies()
    assert raised.value.status == 302


def test_the_empty_503_of_a_stuck_server_is_said_as_such() -> None:
    with (
        answering(lambda method, path: (503, b"")) as toxiproxy,
        pytest.raises(ToxiproxyError, match="restart it") as raised,
    ):
        toxiproxy.proxies()
    assert raised.value.status == 503


def test_a_version_in_words_is_one_of_an_old_server() -> None:
    with answering(lambda method, path: (200, b"2.1.4")) as toxiproxy:
        assert toxiproxy.version() == "2.1.4"


@pytest.mark.parametrize("body", [b"", b"<p>", b'{"a": 1}', b"x" * 500, b"[" * 10_000, b"a\nb"])
def test_a_version_that_is_none_is_refused(body: bytes) -> None:
    with (
        answering(lambda method, path: (200, body)) as toxiproxy,
        pytest.raises(NoToxiproxy, match="no Toxiproxy"),
    ):
        toxiproxy.version()


def test_a_connection_that_died_while_idle_is_replaced_once() -> None:
    answers: list[Reply | None] = [(200, b"{}"), None, (200, b"{}"), None, None]
    with answering(lambda method, path: answers.pop(0)) as toxiproxy:
        assert toxiproxy.proxies() == {}
        assert toxiproxy.proxies() == {}
        with pytest.raises(NoAnswer):
            toxiproxy.proxies()
    assert answers == []


def test_an_answer_that_drips_ends_at_the_time_limit() -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not stop.wait(0.05):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return

        dripping = threading.Thread(target=drip)
        dripping.start()
        toxiproxy = Toxiproxy(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_seconds=0.3)
        began = time.monotonic()
        with pytest.raises(NoAnswer, match="no answer in time"):
            toxiproxy.proxies()
        assert time.monotonic() - began < 20  # the answer would take 50 s
        toxiproxy.close()
        stop.set()
        dripping.join()


def test_what_does_not_answer_has_no_status() -> None:
    with pytest.raises(NoAnswer) as raised:
        Toxiproxy(f"http://127.0.0.1:{free_port()}").proxy("a")
    assert raised.value.status is None


def test_toxiproxy_python_keeps_working_for_others() -> None:
    import requests
    import toxiproxy.api as theirs

    asked = requests.Response()
    asked.status_code, asked._content = 204, b""
    assert theirs.validate_response(asked) is asked
    assert theirs.requests.Session is requests.Session
