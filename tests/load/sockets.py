"""A real socket that answers byte for byte what a test says, and the lean client against it."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent

from launchday.load.http import HttpClient

Script = Callable[[socket.socket], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
OOPS = b"HTTP/1.1 500 Oops\r\nX-Other: 1\r\nContent-Length: 3\r\n\r\nbad"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Events:
    """What Locust would be told."""

    def __init__(self) -> None:
        self.fired: list[dict[str, Any]] = []

    def fire(self, **meta: Any) -> None:
        self.fired.append(meta)


class Owner:
    """A user as the client sees it."""

    def __init__(self) -> None:
        self.abandoned_keys: list[tuple[str, str]] = []

    def abandoned(self, endpoint: str, key: str) -> None:
        self.abandoned_keys.append((endpoint, key))

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


def eventually(condition: Callable[[], object], within_seconds: float = 10.0) -> None:
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        gevent.sleep(0.005)


def wait_until_readable(http: HttpClient) -> None:
    """Until the kernel has what the server did to the idle connection."""
    eventually(lambda: select.select([http._socket.fileno()], [], [], 0)[0])


def client(url: str, timeout_seconds: float = 10.0) -> tuple[HttpClient, Events]:
    events = Events()
    return HttpClient(url, events, Owner(), timeout_seconds=timeout_seconds), events
