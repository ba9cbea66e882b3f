"""One run of the relay benchmark: a path to the server, kept busy, and what it cost the relay."""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._generator_peers import parse_wrk
from benchmarks._generator_rounds import everybody_cpu_seconds, finish
from benchmarks._generator_server import Server
from benchmarks._ladder_process import ROOT
from benchmarks._service import cpu_seconds

TOXICS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "latency_5ms": {"type": "latency", "name": "slow", "attributes": {"latency": 5}},
}
# A generator that has used this much of its one core could not have asked more.
BUSY_SHARE = 0.95
_START_SECONDS, _SPARE_SECONDS = 20.0, 20.0
_WARM_UP_SECONDS = 1  # wrk takes whole ones


@dataclass(frozen=True)
class Relay:
    """A Toxiproxy in a process of its own: its API, and the port that leads to the server."""

    name: str
    pid: int
    url: str
    port: int

    def set_toxic(self, toxic: str) -> None:
        """Make this one the only toxic."""
        _call(f"{self.url}/reset", {})
        body = TOXICS[toxic]
        if body:
            _call(f"{self.url}/proxies/server/toxics", body)

    def resident_mb(self) -> float:
        """Return its memory now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6


@dataclass(frozen=True)
class Round:
    """One run. `others_share`: of a core, used by neither relay, server nor generator."""

    requests_per_second: float
    cpu_us_per_request: float
    generator_share: float
    others_share: float
    most_others_share: float

    def void(self, path: str) -> str | None:
        """Why this run says nothing of the relay; None: it does."""
        if self.others_share > self.most_others_share:
            return f"others used {self.others_share:.0%} of a core"
        if path != "direct" and self.generator_share > BUSY_SHARE:
            return f"the generator was busy for {self.generator_share:.0%} of the time"
        return None


@contextmanager
def relay(name: str, command: Sequence[str], upstream: int) -> Iterator[Relay]:
    """Start a Toxiproxy with one proxy to a port. Raises RuntimeError when it does not start.

    `{port}` in the command becomes a free one.
    """
    port = _free_port()
    words = [word.format(port=port) for word in command]
    environment = {**os.environ, "LOG_LEVEL": "error"}
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(process, f"{url}/version", name)
        body = {"name": "server", "listen": "127.0.0.1:0", "upstream": f"127.0.0.1:{upstream}"}
        listen = _call(f"{url}/proxies", body)["listen"]
        yield Relay(name, process.pid, url, int(listen.rpartition(":")[2]))
    finally:
        process.kill()
        process.wait()


def embedded_command() -> list[str]:
    """Return the command of the embedded Toxiproxy."""
    return [sys.executable, "-m", "launchday.chaos.embedded", "--port", "{port}"]


def real_command() -> list[str] | None:
    """Return the command of the real one; None where there is none."""
    found = os.environ.get("TOXIPROXY_SERVER") or shutil.which("toxiproxy-server")
    return [found, "-host", "127.0.0.1", "-port", "{port}"] if found else None


def generator_command(port: int, connections: int, seconds: int) -> list[str]:
    """Return the command of wrk, or of our own loop where there is no wrk."""
    wrk = shutil.which("wrk")
    if wrk:
        url = f"http://127.0.0.1:{port}/"
        return [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", url]
    module = "benchmarks._relay_generator"
    return [sys.executable, "-m", module, str(port), str(connections), str(seconds)]


def run(
    relay: Relay | None, server: Server, connections: int, seconds: int, most_others: float
) -> Round:
    """Keep a path busy; `relay` is None for the direct one. Raises RuntimeError."""
    port = relay.port if relay else server.port
    _generate(port, connections, _WARM_UP_SECONDS)

    def used_seconds() -> list[float]:
        return [server.cpu_seconds(), cpu_seconds(relay.pid) if relay else 0.0]

    before, everybody = used_seconds(), everybody_cpu_seconds()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    requests = _generate(port, connections, seconds)
    took = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = [now - then for now, then in zip(used_seconds(), before, strict=True)]
    own = after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
    others = everybody_cpu_seconds() - everybody - own - sum(used)
    return Round(
        requests_per_second=requests / seconds,
        cpu_us_per_request=used[1] / requests * 1e6,
        generator_share=own / took,
        others_share=max(0.0, others) / took,
        most_others_share=most_others,
    )


def row(path: str, toxic: str, connections: int, done: Sequence[Round]) -> dict[str, Any]:
    """Return the medians of the rounds that count, as `--json` prints them."""
    good = [one for one in done if not one.void(path)]

    def median(values: list[float]) -> float | None:
        return round(statistics.median(values), 2) if values else None

    cpu = median([one.cpu_us_per_request for one in good]) if path != "direct" else None
    return {
        "path": path,
        "toxic": toxic,
        "connections": connections,
        "requests_per_second": median([one.requests_per_second for one in good]),
        "cpu_us_per_request": cpu,
        "generator_share": median([one.generator_share for one in good]),
        "rounds": len(good),
        "void": [words for one in done if (words := one.void(path))],
    }


def live_connections(relay: Relay, count: int) -> dict[str, Any]:
    """Hold `count` connections through a relay, each with an answer; return memory meanwhile."""
    request = b"GET / HTTP/1.1\r\nhost: benchmark\r\n\r\n"
    with _sockets(relay.port, count) as held:
        for one in held:
            one.sendall(request)
        answered = sum(one.recv(1024).startswith(b"HTTP/1.1 200") for one in held)
        return {"connections": count, "answered": answered, "resident_mb": relay.resident_mb()}


@contextmanager
def _sockets(port: int, count: int) -> Iterator[list[socket.socket]]:
    held: list[socket.socket] = []
    try:
        for _ in range(count):
            held.append(socket.create_connection(("127.0.0.1", port), timeout=_START_SECONDS))
        yield held
    finally:
        for one in held:
            one.close()


def _generate(port: int, connections: int, seconds: int) -> int:
    process = subprocess.Popen(
        generator_command(port, connections, seconds),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        said = parse_wrk(finish(process, seconds + _SPARE_SECONDS))
    finally:
        process.kill()
        process.wait()
    if said.failures or not said.requests:
        raise RuntimeError(f"{said.failures} of {said.requests} requests failed")
    return said.requests


def _wait(process: subprocess.Popen[bytes], url: str, name: str) -> None:
    ends_at = time.monotonic() + _START_SECONDS
    while time.monotonic() < ends_at and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=1.0).close()
            return
        except OSError:
            select.select([], [], [], 0.05)
    raise RuntimeError(f"the {name} Toxiproxy did not start")


def _call(url: str, body: dict[str, Any]) -> dict[str, Any]:
    data = json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    asked = urllib.request.Request(url, data=data, headers=headers, method="POST")
    with urllib.request.urlopen(asked, timeout=_START_SECONDS) as answer:
        words = answer.read()
    found: dict[str, Any] = json.loads(words) if words else {}
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
