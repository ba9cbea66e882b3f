"""Do journeys succeed at half of the capacity? `python -m benchmarks.journeys`.

Seeded and open loop: arrivals keep their times whatever the service does. Real processes,
shedding on, a gateway whose cars sleep and answer late. A journey succeeds when every step is
answered as it should be at the first try; no client tries again. Exit code 0: enough journeys
succeeded; 1: not; 2: void, because the schedule was not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import uvloop

from benchmarks._phone import KINDS, MEAN_REQUESTS, SIGN_IN_SHARE, Failed, Kind, Phone, Tally
from benchmarks._service import Connection, cpu_seconds
from launchday.histogram import LogHistogram
from tests.target_service.processes import ADMIN, ADMIN_TOKEN, FREE_PORTS, Process, sign_in

GOAL = 0.999
LOAD = 0.5
OWNERS = 500
# An arrival is kept when it began within this time, and the schedule when so many were.
ON_TIME_SECONDS, SCHEDULE_GOAL = 0.1, 0.99
PROGRESS_SECONDS = 10.0
SETTINGS = {
    **FREE_PORTS,
    "TARGET_SLOTS": "8",
    "TARGET_SERVICE_MEAN_SECONDS": "0.05",
    "TARGET_FLEET_SIZE": str(OWNERS),
    "TARGET_ADMIN_TOKEN": ADMIN_TOKEN,
    "GATEWAY_SLEEPING_SHARE": "0.1",
    "GATEWAY_WAKE_SECONDS": "1",
    "GATEWAY_LATE_SHARE": "0.02",
    "GATEWAY_LATE_SECONDS": "1",
}


@dataclass(frozen=True)
class Arrival:
    """One journey of the schedule."""

    number: int
    at_seconds: float
    kind: Kind
    signs_in: bool

    @property
    def owner(self) -> int:
        # In turns: of one car, two journeys at once would be rare and would disturb each other.
        return self.number % OWNERS


def schedule(seed: int, seconds: float, journeys_per_second: float) -> Iterator[Arrival]:
    """Yield the arrivals of a Poisson process; the same for the same arguments."""
    random, number = Random(seed), 0
    weights = [kind.weight for kind in KINDS]
    at_seconds = random.expovariate(journeys_per_second)
    while at_seconds < seconds:
        [kind] = random.choices(KINDS, weights)
        yield Arrival(number, at_seconds, kind, random.random() < SIGN_IN_SHARE)
        number += 1
        at_seconds += random.expovariate(journeys_per_second)


class Crowd:
    """Everybody who comes to one target."""

    def __init__(self, port: int, headers: list[dict[str, str]]) -> None:
        self.tally = Tally()
        self._port = port
        self._headers = headers

    async def drive(self, arrivals: Iterator[Arrival]) -> float:
        """Begin every journey at its time, wait for the last; return the seconds it took."""
        began = time.perf_counter()
        progress = asyncio.create_task(self._progress(began))
        async with asyncio.TaskGroup() as group:
            for arrival in arrivals:
                await asyncio.sleep(began + arrival.at_seconds - time.perf_counter())
                group.create_task(self._journey(arrival, began))
        progress.cancel()
        return time.perf_counter() - began

    async def _journey(self, arrival: Arrival, began: float) -> None:
        tally, owner = self.tally, arrival.owner
        tally.begun += 1
        tally.on_time += time.perf_counter() - began - arrival.at_seconds < ON_TIME_SECONDS
        try:
            async with Connection(self._port) as connection:
                key = f"journey-{arrival.number}"
                phone = Phone(connection, owner, self._headers[owner], key, tally)
                if arrival.signs_in:
                    await phone.sign_in()
                await arrival.kind.run(phone)
        except Failed as failed:
            tally.failures[str(failed)] += 1
        except OSError as error:
            tally.failures[f"connect: {type(error).__name__}"] += 1
        else:
            tally.succeeded += 1

    async def _progress(self, began: float) -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            tally, seconds = self.tally, time.perf_counter() - began
            sys.stderr.write(
                f"{seconds:4.0f} s: {tally.begun} journeys, {tally.failures.total()} failed, "
                f"{tally.requests / seconds:.0f} requests/s, "
                f"{tally.on_time / max(1, tally.begun):.2%} on time\n"
            )


@contextmanager
def stack(folder: Path, seconds: float) -> Iterator[Process]:
    """Run a gateway with a journal and a target with a database file."""
    gateway = Process(
        "target_service.gateway",
        folder / "gateway.log",
        SETTINGS | {"GATEWAY_JOURNAL": str(folder / "journal")},
    )
    try:
        settings = {
            "TARGET_DATABASE_URL": f"sqlite:///{folder / 'car.db'}",
            "TARGET_GATEWAY_URL": gateway.url,
            "TARGET_SESSION_SECONDS": str(seconds + 600),
        }
        target = Process("target_service", folder / "target.log", SETTINGS | settings)
        try:
            yield target
        finally:
            target.close()
    finally:
        gateway.close()


def measure(seconds: float, seed: int) -> dict[str, Any]:
    """Run the stack and the crowd; return the summary."""
    with tempfile.TemporaryDirectory() as name, stack(Path(name), seconds) as target:
        capacity_rps = float(
            target.http.get("/debug/capacity", headers=ADMIN)
            .raise_for_status()
            .json()["capacity_rps"]
        )
        crowd = Crowd(target.port, [sign_in(target, number) for number in range(OWNERS)])
        arrivals = schedule(seed, seconds, LOAD * capacity_rps / MEAN_REQUESTS)
        target_cpu, own_cpu = cpu_seconds(target.popen.pid), time.process_time()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            took = runner.run(crowd.drive(arrivals))
        busy = (cpu_seconds(target.popen.pid) - target_cpu) / took
        return summary(crowd.tally, seconds, capacity_rps) | {
            "seed": seed,
            "target_cpu_share": busy,
            "client_cpu_share": (time.process_time() - own_cpu) / took,
        }


def summary(tally: Tally, seconds: float, capacity_rps: float) -> dict[str, Any]:
    """Return what is printed: rates per second, shares of 1, latencies in milliseconds."""
    return {
        "journeys": tally.begun,
        "succeeded": tally.succeeded,
        "success_share": tally.succeeded / max(1, tally.ended),
        "goal": GOAL,
        "seconds": seconds,
        "requests": tally.requests,
        "load": tally.requests / seconds / capacity_rps,
        "capacity_rps": capacity_rps,
        "schedule_kept_share": tally.on_time / max(1, tally.begun),
        "steps": {name: _latency(steps) for name, steps in sorted(tally.steps.items())},
        "failures": dict(tally.failures.most_common()),
    }


def _latency(seconds: LogHistogram) -> dict[str, float]:
    p50, p99 = seconds.quantile(0.5) or 0.0, seconds.quantile(0.99) or 0.0
    return {"count": seconds.total, "p50_ms": 1000 * p50, "p99_ms": 1000 * p99}


def in_words(found: dict[str, Any]) -> str:
    """Return the summary as lines for people."""
    lines = [
        f"{name:16} {step['count']:6} x  p50 {step['p50_ms']:6.0f} ms  p99 {step['p99_ms']:6.0f} ms"
        for name, step in found["steps"].items()
    ]
    lines += [f"failed {count} x {words}" for words, count in found["failures"].items()]
    lines += [
        f"{found['succeeded']} of {found['journeys']} journeys succeeded: "
        f"{found['success_share']:.3%} (goal {GOAL:.1%})",
        f"{found['load']:.2f} of the capacity of {found['capacity_rps']:.0f} requests/s for "
        f"{found['seconds']:.0f} s; CPU: target {found['target_cpu_share']:.0%}, "
        f"client {found['client_cpu_share']:.0%}",
        f"schedule kept: {found['schedule_kept_share']:.2%}",
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="of arrivals (default 600)")
    parser.add_argument("--seed", type=int, default=1, help="of the arrivals (default 1)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.seconds <= 0:
        parser.error("--seconds must be above 0")
    found = measure(options.seconds, options.seed)
    sys.stdout.write(f"{json.dumps(found) if options.json else in_words(found)}\n")
    if found["schedule_kept_share"] < SCHEDULE_GOAL:
        sys.stdout.write("" if options.json else "void: the schedule was not kept\n")
        return 2
    return 0 if found["success_share"] >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
