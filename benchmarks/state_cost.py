"""What `GET .../state` costs: CPU time a request, beside a bare FastAPI JSON route."""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from tests.target_service.processes import FREE_PORTS, Process, environment, sign_in

GOAL = 2.0
CONNECTIONS = 8
REQUESTS = 4000  # a round; half a second to a second and a half of CPU time
WARM_UP = 2000
NOISE = 0.15
TICKS = os.sysconf("SC_CLK_TCK")
SETTINGS = {
    **FREE_PORTS,
    "TARGET_SHEDDING": "off",
    "TARGET_SLOTS": "1000",
    # What is measured is the code, not the simulated service time and its timer.
    "TARGET_SERVICE_MEAN_SECONDS_BY_ROUTE": '{"state": 0}',
    "TARGET_FLEET_SIZE": "20",
}


@dataclass(frozen=True)
class Candidate:
    """One server: its process, and the bytes of the request that it gets."""

    pid: int
    port: int
    request: bytes


@dataclass(frozen=True)
class Result:
    """Medians in microseconds of CPU time a request, user and system; `void` says why not."""

    bare_microseconds: float
    state_microseconds: float
    ratio: float
    noise: float
    client_share: float
    void: str | None


def serve_bare(body: dict[str, object]) -> None:
    """Run a FastAPI application with one route, served like the reference backend."""
    app = FastAPI()

    @app.get("/v1/vehicles/{vin}/state")
    async def state(vin: str) -> dict[str, object]:
        return body

    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(
        app, http="httptools", loop="uvloop", ws="none", access_log=False, log_level="warning"
    )
    uvicorn.Server(config).run(sockets=[listener])


def _request(port: int, headers: dict[str, str]) -> bytes:
    lines = {"host": f"127.0.0.1:{port}", "accept": "application/json", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"GET /v1/vehicles/LAUNCHDAY00000000/state HTTP/1.1\r\n{head}\r\n".encode()


@contextmanager
def target(folder: Path) -> Iterator[tuple[Candidate, dict[str, object]]]:
    """Run the reference backend; give what it answers as well."""
    database = {"TARGET_DATABASE_URL": f"sqlite:///{folder / 'car.db'}"}
    process = Process("target_service", folder / "log", {**SETTINGS, **database})
    try:
        owner = sign_in(process)
        body = process.http.get("/v1/vehicles/LAUNCHDAY00000000/state", headers=owner).json()
        yield Candidate(process.popen.pid, process.port, _request(process.port, owner)), body
    finally:
        process.close()


@contextmanager
def bare(body: dict[str, object]) -> Iterator[Candidate]:
    """Run the bare route, which answers the same body."""
    command = [sys.executable, "-m", "benchmarks.state_cost", "--serve-bare", json.dumps(body)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        try:
            # As many headers as the other one is asked with.
            headers = {"authorization": f"Bearer {'x' * 80}"}
            yield Candidate(process.pid, port, _request(port, headers))
        finally:
            process.terminate()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, user and system, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def ask(candidate: Candidate, requests: int) -> None:
    """Send requests on some connections at once, until all are answered 200."""
    with ExitStack() as until_end:
        connections = [
            until_end.enter_context(socket.create_connection(("127.0.0.1", candidate.port)))
            for _ in range(CONNECTIONS)
        ]
        for _ in range(requests // CONNECTIONS):
            for connection in connections:
                connection.sendall(candidate.request)
            for connection in connections:
                _require_200(connection)


def _require_200(connection: socket.socket) -> None:
    answer = connection.recv(65536)
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"not a 200: {answer[:200]!r}")
    while not answer.endswith(b"}"):
        answer += connection.recv(65536)


def measure(candidates: dict[str, Candidate], rounds: int) -> Result:
    """Return the medians; the candidates take turns in every round."""
    costs: dict[str, list[float]] = {name: [] for name in candidates}
    shares = []
    for candidate in candidates.values():
        ask(candidate, WARM_UP)
    for _ in range(rounds):
        for name, candidate in candidates.items():
            server, client, began = cpu_seconds(candidate.pid), time.process_time(), time.time()
            ask(candidate, REQUESTS)
            costs[name].append((cpu_seconds(candidate.pid) - server) / REQUESTS * 1e6)
            shares.append((time.process_time() - client) / (time.time() - began))
    medians = {name: statistics.median(values) for name, values in costs.items()}
    noise = max(_spread(values) for values in costs.values())
    share = max(shares)
    ratio = medians["state"] / medians["bare"]
    return Result(medians["bare"], medians["state"], ratio, noise, share, _void(noise, share))


def _spread(values: list[float]) -> float:
    """Return half the distance of the quartiles, as a share of the median."""
    low, median, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / median


def _void(noise: float, client_share: float) -> str | None:
    if noise > NOISE:
        return f"the rounds differ by {noise:.0%}"
    if client_share > 0.9:
        return "the client was the bottleneck"
    return None


def _print(result: Result, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({**asdict(result), "goal": GOAL}) + "\n")
        return
    sys.stdout.write(
        f"bare FastAPI route  {result.bare_microseconds:7.1f} us CPU a request\n"
        f"GET .../state       {result.state_microseconds:7.1f} us CPU a request\n"
        f"ratio {result.ratio:.2f}, goal {GOAL:.1f}; rounds differ by {result.noise:.0%}\n"
    )
    if result.void:
        sys.stdout.write(f"void: {result.void}\n")


def main() -> int:
    """Print the result; 0 if the goal is met, 1 if not, 2 if the measurement is void."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve-bare", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve_bare:
        serve_bare(json.loads(arguments.serve_bare))
        return 0
    with (
        tempfile.TemporaryDirectory() as folder,
        target(Path(folder)) as (state, body),
        bare(body) as beside,
    ):
        result = measure({"bare": beside, "state": state}, arguments.rounds)
    _print(result, arguments.json)
    return 2 if result.void else int(result.ratio > GOAL)


if __name__ == "__main__":
    sys.exit(main())
