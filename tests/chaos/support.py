"""Real servers for the tests of faults: a Toxiproxy of either kind, an echo, a small HTTP one."""

from __future__ import annotations

import os
import select
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from launchday.chaos.toxiproxy import Toxiproxy
from tests.ports import free_port

DEADLINE_SECONDS = 20.0


def real_server() -> str | None:
    """Path of a real toxiproxy-server, or None."""
    return os.environ.get("TOXIPROXY_SERVER") or shutil.which("toxiproxy-server")


def wait_for(what: Callable[[], bool], deadline_seconds: float = DEADLINE_SECONDS) -> bool:
    """Poll until `what` is true; False when the deadline is over."""
    deadline = time.monotonic() + deadline_seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process; it is stopped at the end, whatever happened."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe) as started:
        try:
            yield started
        finally:
            if started.poll() is None:
                started.terminate()
            try:
                started.communicate(timeout=DEADLINE_SECONDS)
            except (subprocess.TimeoutExpired, ValueError):
                started.kill()


@contextmanager
def embedded_process(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """An embedded Toxiproxy in its own process, and its URL."""
    module = "launchday.chaos.embedded"
    with process(sys.executable, "-m", module, "--port", "0", *arguments) as started:
        assert started.stdout is not None
        ready, _, _ = select.select([started.stdout], [], [], DEADLINE_SECONDS)
        assert ready, "the embedded Toxiproxy did not say that it listens"
        line = started.stdout.readline().decode()
        assert line.startswith("listening on http://127.0.0.1:")
        yield started, line.split()[-1]


@contextmanager
def embedded(*arguments: str) -> Iterator[str]:
    """The URL of an embedded Toxiproxy in its own process."""
    with embedded_process(*arguments) as (_, url):
        yield url


@contextmanager
def real(path: str) -> Iterator[str]:
    """A real toxiproxy-server; its URL."""
    port = free_port()
    command = [path, "-host", "127.0.0.1", "-port", str(port)]
    quiet = {**os.environ, "LOG_LEVEL": "error"}
    null = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=null, stderr=null, env=quiet) as started:
        try:
            toxiproxy = Toxiproxy(f"http://127.0.0.1:{port}")
            toxiproxy.wait_ready(DEADLINE_SECONDS)
            toxiproxy.close()
            yield toxiproxy.url
        finally:
            started.terminate()


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


class _Healthz(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        pass


class _EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients that go away in the middle are the point of these tests


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def served(server: socketserver.TCPServer) -> Iterator[str]:
    """Run a server in a thread; its `host:port`."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def echo_server() -> socketserver.TCPServer:
    """Sends back what it receives."""
    return _EchoServer(("127.0.0.1", 0), _Echo)


def http_server() -> socketserver.TCPServer:
    """Answers every GET with 200 ok."""
    return _HttpServer(("127.0.0.1", 0), _Healthz)


def connected(listen: str) -> socket.socket:
    """A client socket on `host:port` that never waits longer than the deadline."""
    host, _, port = listen.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=DEADLINE_SECONDS)


def received(client: socket.socket, count: int) -> bytes:
    """Exactly `count` bytes, or fewer when the peer closed."""
    data = b""
    while len(data) < count:
        chunk = client.recv(count - len(data))
        if not chunk:
            break
        data += chunk
    return data


def round_trip_seconds(client: socket.socket, message: bytes = b"ping") -> float:
    """How long an echo takes; fails when it is not the same."""
    start = time.perf_counter()
    client.sendall(message)
    assert received(client, len(message)) == message
    return time.perf_counter() - start
