"""A service that notes which arrival came when, and Locust processes that send it arrivals."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from launchday.record import Record, RunInfo, absorb_samples_line, read_lines
from tests.ports import free_port

ROOT = Path(__file__).parent.parent.parent

SCENARIO = """
from locust import events, task
from launchday.load import RateCurve
from launchday.load.locust_user import ArrivalUser, SurgeShape

@events.init_command_line_parser.add_listener
def add_parameters(parser):
    parser.add_argument("--rps", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=4)

class Flat(SurgeShape):
    def curve(self, options):
        return RateCurve(((0, options.rps), (options.seconds, options.rps)))

class Often(ArrivalUser):
    weight = 3

    @task(2)
    def look(self):
        self.client.get(f"/look/{self.arrival.index}", name="look")

    @task(1)
    def buy(self):
        self.client.get(f"/buy/{self.arrival.index}/{self.random.random()}", name="buy")

class Seldom(ArrivalUser):
    @task
    def complain(self):
        self.client.get(f"/complain/{self.arrival.index}", name="complain")
"""


@dataclass
class Seen:
    """The paths that came, and when (time.perf_counter())."""

    paths: list[tuple[str, float]] = field(default_factory=list)
    stalls: Callable[[], float] = lambda: 0.0
    connections: set[asyncio.Transport] = field(default_factory=set)

    @property
    def indices(self) -> list[int]:
        """The arrivals that came, in order of their index; one that came twice is there twice."""
        return sorted(int(path.split("/")[2]) for path, _ in self.paths)

    @property
    def journeys(self) -> list[str]:
        """What came, in any order."""
        return sorted(path for path, _ in self.paths)


class _Connection(asyncio.Protocol):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._seen.connections.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._seen.connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            self._seen.paths.append((head.split(b" ")[1].decode(), time.perf_counter()))
            self._answer_after(self._seen.stalls())

    def _answer_after(self, seconds: float) -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        asyncio.get_running_loop().call_later(seconds, self._transport.write, answer)


@contextmanager
def service() -> Iterator[tuple[str, Seen]]:
    """Answers 200 to everything; `seen.stalls` says how long the next answer waits."""
    seen, started = Seen(), threading.Event()
    loop = asyncio.new_event_loop()
    where: list[str] = []

    stopping = asyncio.Event()

    async def serve() -> None:
        server = await loop.create_server(lambda: _Connection(seen), "127.0.0.1", 0, backlog=4096)
        where.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        started.set()
        await stopping.wait()
        server.close()
        while seen.connections:
            seen.connections.pop().abort()
        await asyncio.sleep(0.01)

    def run() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield where[0], seen
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)


class Crowd:
    """Locust processes of one test, each with its output in a file; killed at the end."""

    def __init__(self, directory: Path, url: str, scenario: str = SCENARIO) -> None:
        self.directory = directory
        self.record = directory / "record"
        self.record.mkdir()
        self._file = directory / "crowd.py"
        self._file.write_text(scenario)
        self._url = url
        self._processes: list[subprocess.Popen[bytes]] = []
        self._port = str(free_port())

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    def alone(self, *options: str) -> subprocess.Popen[bytes]:
        """One process that does everything."""
        plain = ["--headless", "--exit-code-on-error=0", "--host", self._url]
        common = [*plain, "--launchday-record", str(self.record)]
        return self.start("alone", *common, *options)

    def master(self, *options: str, workers: int) -> subprocess.Popen[bytes]:
        """A master that begins when so many workers are there."""
        bind = self._bind()
        plain = ["--headless", "--exit-code-on-error=0", "--host", self._url]
        common = [*plain, "--launchday-record", str(self.record)]
        return self.start("master", *bind, "--expect-workers", str(workers), *common, *options)

    def started_in_the_browser(self, *options: str, workers: int) -> subprocess.Popen[bytes]:
        """One with the web UI, and its workers if there shall be any."""
        process = self.start("browser", *(self._bind() if workers else ()), *options)
        for _ in range(workers):
            self.worker()
        return process

    def _bind(self) -> list[str]:
        return ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", self._port]

    def worker(self, *, file: Path | None = None) -> subprocess.Popen[bytes]:
        """One more worker."""
        name = f"worker{len(self._processes)}"
        way = ["--worker", "--master-host", "127.0.0.1", "--master-port", self._port]
        return self.start(name, *way, file=file)

    def start(self, name: str, *options: str, file: Path | None = None) -> subprocess.Popen[bytes]:
        """Any Locust process of the scenario."""
        command = [sys.executable, "-m", "locust", "-f", str(file or self._file), *options]
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("LOCUST_", "LAUNCHDAY_"))}
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.directory,
                env=clean | {"PYTHONPATH": str(ROOT / "src")},
            )
        self._processes.append(process)
        return process

    def log(self, name: str) -> str:
        """What a process has printed."""
        return (self.directory / f"{name}.log").read_text()

    def read(self) -> Record:
        """What was recorded."""
        info = RunInfo("x", "crowd", "", 0.0)
        record = Record(self.record, info, [], 0, {}, {}, [], [])
        for path in sorted(self.record.glob("samples-*.jsonl")):
            for line in read_lines(path):
                absorb_samples_line(record, line)
        return record


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)
