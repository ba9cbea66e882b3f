"""What a scrape of the reference backend costs: series, bytes, and CPU time of the process.

    python -m benchmarks.scrape_cost [--json]

Asks as Prometheus does (OpenMetrics, gzip), after some requests of every kind. Exit 0: within the
goals; 1: not; 2: void, because the rounds differ too much.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import sys
import tempfile
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks._service import cpu_seconds, spread
from tests.target_service.processes import FAST, FREE_PORTS, Process, sign_in

SERIES_GOAL = 2000
CORE_GOAL = 0.02  # of a core, at a scrape a second
SCRAPES = 50  # a round; CPU time is counted in steps of 10 ms
ROUNDS = 7
NOISE = 0.3
PROMETHEUS = {
    "Accept": "application/openmetrics-text;version=1.0.0,application/openmetrics-text;"
    "version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Accept-Encoding": "gzip",
}


@dataclass(frozen=True)
class Result:
    """`milliseconds` of CPU time a scrape, the median of the rounds; `void` says why not."""

    series: int
    bytes: int
    milliseconds: float
    core_share: float
    noise: float
    void: str | None


def scrape(port: int) -> bytes:
    """Return the body of one scrape, unpacked."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=PROMETHEUS)
    with urllib.request.urlopen(request, timeout=10) as answer:
        body: bytes = answer.read()
        packed = answer.headers.get("Content-Encoding") == "gzip"
    return gzip.decompress(body) if packed else body


def series_in(text: bytes) -> int:
    """Return how many samples an exposition holds."""
    return sum(1 for line in text.splitlines() if line and not line.startswith(b"#"))


def use(process: Process) -> None:
    """Ask for something of every kind, so that label sets made on demand are there."""
    owner = sign_in(process)
    for path in ("/v1/vehicles", "/v1/vehicles/none/state", "/v1/reservations", "/nowhere"):
        process.http.get(path, headers=owner)
        process.http.get(path)


def measure(process: Process) -> Result:
    """Return what a scrape of this process costs."""
    use(process)
    text = scrape(process.metrics_port)
    costs = []
    for _ in range(ROUNDS):
        before = cpu_seconds(process.popen.pid)
        for _ in range(SCRAPES):
            scrape(process.metrics_port)
        costs.append((cpu_seconds(process.popen.pid) - before) / SCRAPES)
    median, noise = statistics.median(costs), spread(costs)
    void = f"the rounds differ by {noise:.0%}" if noise > NOISE else None
    return Result(series_in(text), len(text), median * 1000, median, noise, void)


def main() -> int:
    """Print the result; 0 if the goals are met, 1 if not, 2 if the measurement is void."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    with tempfile.TemporaryDirectory() as name:
        database = {"TARGET_DATABASE_URL": f"sqlite:///{Path(name) / 'car.db'}"}
        process = Process("target_service", Path(name) / "log", {**FREE_PORTS, **FAST, **database})
        try:
            result = measure(process)
        finally:
            process.close()
    if as_json:
        goals = {"series_goal": SERIES_GOAL, "core_goal": CORE_GOAL}
        sys.stdout.write(json.dumps({**asdict(result), **goals}) + "\n")
    else:
        sys.stdout.write(
            f"{result.series} series (goal {SERIES_GOAL}), {result.bytes} bytes;"
            f" {result.milliseconds:.1f} ms CPU a scrape, {result.core_share:.1%} of a core at one"
            f" a second (goal {CORE_GOAL:.0%}); rounds differ by {result.noise:.0%}\n"
        )
        if result.void:
            sys.stdout.write(f"void: {result.void}\n")
    if result.void:
        return 2
    return int(result.series >= SERIES_GOAL or result.core_share > CORE_GOAL)


if __name__ == "__main__":
    sys.exit(main())
