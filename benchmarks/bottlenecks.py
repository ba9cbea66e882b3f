"""Is the bottleneck named that was planted? `python -m benchmarks.bottlenecks [--json]`.

Plants, and what a plan from a live record must say:

    cpu         the reference backend burns 10 ms for each request     CPU
    pool        the reference backend has 4 worker slots of 50 ms      worker slots
    lock        a service with one lock, and no metric of it           not a measured resource
    downstream  Toxiproxy delays the gateway that commands wait for    downstream: gateway
    generator   the generator burns 20 ms for each arrival             refused: the generator

A run whose generator fell behind without being the plant is void and made again, at most twice.
Exit code: 0 nine of ten or more were named right; 1 fewer; 2 it could not run, or all was void.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

if not __package__:  # run by its path
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks._generator_cli import command_line, count, run
from benchmarks._live_runs import ROOT, breakpoint_record, launchday
from benchmarks.admission_ladder import say
from launchday.runs.processes import any_free_port

GOAL = 0.9
ATTEMPTS = 3
STEPS = {"steps": 8, "step_seconds": 10}
_SCENARIO = ROOT / "benchmarks" / "_planted_scenario.py"
_NOBODY = "not a measured resource"
_START_SECONDS = 30.0


@dataclass(frozen=True)
class Named:
    """What was planted, what the plan named, and in which words; `void`: why it says nothing."""

    planted: str
    named: str
    right: bool
    words: str
    void: str = ""


def named(planted: str, document: dict[str, Any]) -> Named:
    """What a plan names, compared with what was planted."""
    refused, bottleneck = document["refused"] or "", document["bottleneck"] or {}
    by_generator = "generator" in refused or "lateness" in refused
    resource = "generator" if by_generator else bottleneck.get("resource", "") or _NOBODY
    words = refused or bottleneck.get("sentence", "")
    if by_generator and planted != "generator":
        return Named(planted, resource, False, words, void=refused)
    right = {
        "cpu": resource == "CPU",
        "pool": resource == "worker slots",
        "lock": resource == _NOBODY,
        "downstream": resource.startswith("downstream: "),
        "generator": resource == "generator",
    }[planted]
    return Named(planted, resource, right, words)


def cpu(runs: Path) -> Path:
    """The reference backend, 10 ms of CPU a request: 90 requests per second."""
    settings = {"PROFILE": "cpu_bound", "SERVICE_MEAN_SECONDS": "0.01"}
    return _backend(runs, {"from_rps": 15, "to_rps": 120}, **settings)


def pool(runs: Path) -> Path:
    """The reference backend with four slots of 50 ms: 80 requests per second."""
    return _backend(runs, {"from_rps": 15, "to_rps": 110}, SLOTS="4")


def _backend(runs: Path, parameters: dict[str, float], **local: str) -> Path:
    settings = {f"LAUNCHDAY_LOCAL__{name}": value for name, value in local.items()}
    return breakpoint_record(runs, ["--local"], {**STEPS, **parameters}, **settings)


def downstream(runs: Path) -> Path:
    """Commands wait for a gateway that Toxiproxy delays; nobody writes the fault down."""
    port = any_free_port()
    module = [sys.executable, "-m", "launchday.chaos.embedded"]
    url = f"http://127.0.0.1:{port}"
    with (
        _process([*module, "--host", "127.0.0.1", "--port", str(port)], f"{url}/version"),
        _slow_gateway(url, latency_ms=150),
    ):
        parameters = {**STEPS, "from_rps": 20, "to_rps": 200, "shares": "unlock=1"}
        return breakpoint_record(runs, ["--local"], parameters, TOXIPROXY_URL=url)


def lock(runs: Path) -> Path:
    """A service with one lock, held for 10 ms a request: 100 requests per second."""
    return _own_service(runs, {**STEPS, "from_rps": 15, "to_rps": 140}, seconds=0.01)


def generator(runs: Path) -> Path:
    """A service that is idle, and a generator that burns 20 ms for each arrival."""
    parameters = {**STEPS, "from_rps": 20, "to_rps": 200, "burn_seconds": 0.02}
    return _own_service(runs, parameters, seconds=0.0)


PLANTS: dict[str, Callable[[Path], Path]] = {
    "cpu": cpu,
    "pool": pool,
    "lock": lock,
    "downstream": downstream,
    "generator": generator,
}


def _own_service(runs: Path, parameters: dict[str, Any], seconds: float) -> Path:
    port, metrics = any_free_port(), any_free_port()
    module = [sys.executable, "-m", "benchmarks._planted_service"]
    url = f"http://127.0.0.1:{port}"
    with _process([*module, str(port), str(metrics), str(seconds)], f"{url}/healthz"):
        where = ["--target", url, "--metrics", f"http://127.0.0.1:{metrics}/metrics"]
        return breakpoint_record(runs, where, parameters, _SCENARIO)


@contextmanager
def _process(command: list[str], url: str) -> Iterator[None]:
    """A process that answers at `url`, ended with the block."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[2]} did not start")
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).status_code < 500
    except httpx.HTTPError:
        return False


@contextmanager
def _slow_gateway(url: str, latency_ms: int) -> Iterator[None]:
    """Delay the link `gateway` as soon as the local stack has made it."""
    over = threading.Event()

    def plant() -> None:
        toxic = {"type": "latency", "attributes": {"latency": latency_ms}}
        with httpx.Client(base_url=url, timeout=5.0, trust_env=False) as toxiproxy:
            while not over.wait(0.05):
                if "gateway" in toxiproxy.get("/proxies").json():
                    toxiproxy.post("/proxies/gateway/toxics", json=toxic).raise_for_status()
                    return

    thread = threading.Thread(target=plant)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def once(planted: str) -> Named:
    """Plant, measure, plan and compare; again if it is void."""
    for attempt in range(1, ATTEMPTS + 1):
        with tempfile.TemporaryDirectory() as home:
            record = PLANTS[planted](Path(home) / "runs")
            document = launchday("plan", record, "--json", "--output", Path(home) / "plan").document
        found = named(planted, document)
        say(f"{planted}: {(found.void and 'void, ') or ''}{found.named}: {found.words[:150]}")
        if not found.void or attempt == ATTEMPTS:
            break
    return found


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Every plant that was asked for, so many times."""
    found = [once(planted) for _ in range(args.rounds) for planted in args.plants]
    return summary(found)


def summary(found: list[Named]) -> dict[str, Any]:
    """How many of those that count were named right."""
    counted = [each for each in found if not each.void]
    right = sum(each.right for each in counted)
    return {
        "named_right": right,
        "counted": len(counted),
        "void": len(found) - len(counted),
        "share": right / len(counted) if counted else None,
        "runs": [asdict(each) for each in found],
    }


def table(result: dict[str, Any]) -> str:
    """One line a run."""
    lines = [
        f"{'void' if each['void'] else 'right' if each['right'] else 'WRONG':<6}"
        f"{each['planted']:<12}{each['named']:<26}{each['words']}"
        for each in result["runs"]
    ]
    total = f"{result['named_right']} of {result['counted']} right, {result['void']} void"
    return "\n".join([*lines, total, ""])


def judge(result: dict[str, Any]) -> int:
    """The exit code."""
    if result["share"] is None:
        return 2
    return 0 if result["share"] >= GOAL else 1


def main() -> int:
    """Read the command line and measure."""
    parser = command_line(__doc__ or "")
    parser.add_argument("--rounds", type=count, default=2, help="of every plant (default 2)")
    parser.add_argument("--plants", nargs="+", choices=list(PLANTS), default=list(PLANTS))
    return run(parser.parse_args(), measure, table, judge)


if __name__ == "__main__":
    sys.exit(main())
