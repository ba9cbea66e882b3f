"""A real socket that answers byte for byte what a test says, and the lean client against it."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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


@contextmanager
def serving(handler: Script) -> Iterator[str]:
    """Accept connections until the block ends, each handled in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    threads: list[threading.Thread] = []

    def handle(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            handler(connection)

    def accept() -> None:
        with suppress(OSError):  # the listener was shut down
            while True:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threads.append(threading.Thread(target=handle, args=(connection,), daemon=True))
                threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in [accepting, *threads]:
            thread.join(10)


def reset(connection: socket.socket) -> None:
    """Close with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def open_files() -> int:
    """Descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


def in_a_process_of_its_own(code: str, *arguments: str) -> str:
    """What Python code prints, in a process where warnings are errors."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


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


def wait_until_noticed(http: HttpClient) -> None:
    """Until the client knows what the server did to the idle connection."""
    eventually(lambda: http._connection is not None and http._connection.dead)


def client(url: str, timeout_seconds: float = 10.0) -> tuple[HttpClient, Events]:
    events = Events()
    return HttpClient(url, events, Owner(), timeout_seconds=timeout_seconds), events
