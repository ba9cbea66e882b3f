"""A Toxiproxy API as plain HTTP, for tests that compare servers; ends of connections in words."""

from __future__ import annotations

import itertools
import os
import re
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.chaos.support import DEADLINE_SECONDS, embedded_process, process, wait_for
from tests.ports import free_port

_numbers = itertools.count()
# Long enough for a byte on this machine; only used where nothing must come.
SILENCE_SECONDS = 0.25


class Api:
    """One server. `kind` is `embedded` or `real`, so that a test can say where they differ."""

    def __init__(self, url: str, kind: str) -> None:
        self.url, self.kind = url, kind
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=DEADLINE_SECONDS)

    def proxy(self, upstream: str, listen: str = "127.0.0.1:0") -> tuple[str, str]:
        """Create a proxy; its name and where it listens."""
        name = f"link-{next(_numbers)}"
        body = {"name": name, "listen": listen, "upstream": upstream}
        answer = self.http.post("/proxies", json=body)
        assert answer.status_code == 201, answer.text
        return name, answer.json()["listen"]

    def toxic(
        self,
        proxy: str,
        kind: str,
        stream: str = "downstream",
        toxicity: float = 1.0,
        **values: int,
    ) -> str:
        """Add a toxic; its name."""
        body = {"type": kind, "stream": stream, "toxicity": toxicity, "attributes": values}
        answer = self.http.post(f"/proxies/{proxy}/toxics", json=body)
        assert answer.status_code == 200, answer.text
        return f"{kind}_{stream}"

    def change(self, proxy: str, toxic: str, toxicity: float | None = None, **values: int) -> None:
        """Update a toxic."""
        body: dict[str, Any] = {"attributes": values}
        if toxicity is not None:
            body["toxicity"] = toxicity
        answer = self.http.patch(f"/proxies/{proxy}/toxics/{toxic}", json=body)
        assert answer.status_code == 200, answer.text

    def remove(self, proxy: str, toxic: str) -> None:
        """Remove a toxic."""
        assert self.http.delete(f"/proxies/{proxy}/toxics/{toxic}").status_code == 204

    def clear(self) -> None:
        """Delete all proxies."""
        for name in self.http.get("/proxies").json():
            self.http.delete(f"/proxies/{name}")

    def close(self) -> None:
        """Give the connections back."""
        self.http.close()


@contextmanager
def server(kind: str, path: str | None, *arguments: str) -> Iterator[Api]:
    """A server of its own with these arguments; `path` is that of the real one."""
    if kind == "embedded":
        with embedded_process(*arguments) as (_, url):
            api = Api(url, kind)
            yield api
            api.close()
        return
    assert path is not None
    port = free_port()
    words = [word.replace("--", "-", 1) for word in arguments]
    command = [path, "-host", "127.0.0.1", "-port", str(port), *words]
    null, quiet = subprocess.DEVNULL, {**os.environ, "LOG_LEVEL": "error"}
    with subprocess.Popen(command, stdout=null, stderr=null, env=quiet) as started:
        api = Api(f"http://127.0.0.1:{port}", kind)
        try:
            assert wait_for(lambda: answers(api))
            yield api
        finally:
            api.close()
            started.kill()


def first_line(started: subprocess.Popen[bytes]) -> str:
    """What a process says first, within the deadline."""
    assert started.stdout is not None
    ready, _, _ = select.select([started.stdout], [], [], DEADLINE_SECONDS)
    assert ready, "the process said nothing"
    return started.stdout.readline().decode().strip()


@contextmanager
def embedded_after(code: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """An embedded Toxiproxy that runs this code before it starts, and its URL."""
    main = f"{code}from launchday.chaos.embedded import main; sys.exit(main(['--port', '0']))"
    with process(sys.executable, "-c", f"import sys; {main}") as started:
        yield started, first_line(started).split()[-1]


def counted(api: Api, name: str) -> dict[str, float]:
    """The byte counters of a proxy by name and direction."""
    found = re.findall(
        r"^toxiproxy_proxy_(\w+)_bytes_total\{(.*)\} (.+)$",
        api.http.get("/metrics").text,
        re.MULTILINE,
    )
    return {
        f"{what} {direction}": float(value)
        for what, labels, value in found
        if f'proxy="{name}"' in labels
        for direction in re.findall(r'direction="(\w+)"', labels)
    }


def answers(api: Api) -> bool:
    """Whether the API does."""
    try:
        return api.http.get("/version").status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def listening() -> Iterator[tuple[socket.socket, str]]:
    """A server socket that the test itself accepts on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_SECONDS)
        yield listener, f"127.0.0.1:{listener.getsockname()[1]}"


def accepted(listener: socket.socket) -> socket.socket:
    """The next connection, which never waits longer than the deadline."""
    peer, _ = listener.accept()
    peer.settimeout(DEADLINE_SECONDS)
    return peer


def end_of(peer: socket.socket) -> str:
    """How a connection ends, after whatever still comes: `eof` or `reset`."""
    try:
        while peer.recv(65536):
            pass
    except ConnectionResetError:
        return "reset"
    return "eof"


def is_silent(peer: socket.socket) -> bool:
    """Whether nothing comes, not even an end."""
    peer.settimeout(SILENCE_SECONDS)
    try:
        peer.recv(1)
    except TimeoutError:
        return True
    finally:
        peer.settimeout(DEADLINE_SECONDS)
    return False


def reset(peer: socket.socket) -> None:
    """Close with RST."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def seconds_until_end(peer: socket.socket) -> float:
    """How long until the connection ends, in either way."""
    start = time.perf_counter()
    end_of(peer)
    return time.perf_counter() - start


def exit_code(command: list[str], deadline_seconds: float) -> int | None:
    """What a server that should not start ends with; None when it lives on until the deadline."""
    null = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=null, stderr=null) as started:
        try:
            return started.wait(timeout=deadline_seconds)
        except subprocess.TimeoutExpired:
            started.kill()
            return None
