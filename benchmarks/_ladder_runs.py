"""The measurements of the live ladder: capacity, rows, recovery and the CPU time of a request."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks._ladder_apps import PEER
from benchmarks._ladder_measures import (
    Trace,
    best_share,
    recovery_seconds,
    summary,
    why_void,
)
from benchmarks._ladder_process import Load, Server

UNLOADED_RATIO = 0.3
# A server that waited longer for its core tells of its neighbours: worth a second try; void.
STARVED_SHARE, VOID_STARVED_SHARE = 0.03, 0.1
STARVED = "server was starved of CPU"
# Of the row's length: before the step, the step itself, after it.
RECOVERY_LENGTHS = (0.8, 1.0, 1.5)
CLOSED_CONNECTIONS = 16
RECOVERY_RATIOS = (0.7, 5.0, 0.7)
# The name of a number of `cpu_us`, the system, the profile and the limit that it is measured with.
COSTS = {
    "bare_503": ("none", "bare_503", 24),
    "bare_200": ("none", "hello", 24),
    "accept": ("launchday", "hello", 24),
    "refuse": ("launchday", "hello", 1),
    "refuse_protocol": ("launchday_protocol", "hello", 1),
    "refuse_semaphore": ("semaphore", "hello", 1),
    "refuse_uvicorn_limit": ("uvicorn_limit", "hello", 1),
    f"refuse_{PEER}": (PEER, "hello", 1),
}
COST_OF_REFUSAL = {
    "launchday": "refuse",
    "launchday_protocol": "refuse_protocol",
    "semaphore": "refuse_semaphore",
    "uvicorn_limit": "refuse_uvicorn_limit",
    PEER: f"refuse_{PEER}",
}


@dataclass(frozen=True)
class Profile:
    """How one profile is measured.

    `objective_seconds`: an answer that takes longer is worth nothing. `busy`: connections that
    keep the service busy, to find its capacity; `requests`: how many to ask for that.
    `on_cpu`: whether CPU is what is short, so that refusals take from the admitted.
    """

    name: str
    objective_seconds: float
    patience_seconds: float
    busy: int
    requests: int
    on_cpu: bool


PROFILES = {
    # Twice the slots, so that none is ever idle; every service time once.
    "io_bound": Profile("io_bound", 0.5, 1.0, 40, 1080, False),
    "cpu_bound": Profile("cpu_bound", 0.5, 1.0, 8, 300, True),
}


@dataclass(frozen=True)
class Baseline:
    """What the unprotected service does: the capacity in requests per second, and its p99 in
    seconds at 0.3 of it."""

    capacity_rps: float
    p99_seconds: float


def open_loop(
    load: Load, server: Server, profile: Profile, phases: Iterable[tuple[float, float]], seed: int
) -> Trace:
    """Send at these (requests per second, seconds), one after the other."""
    listed = list(phases)
    job = {
        "kind": "open",
        "port": server.port,
        "phases": listed,
        "seed": seed,
        "patience_seconds": profile.patience_seconds,
    }
    return Trace(**load.run(job, sum(seconds for _, seconds in listed)))


def capacity(load: Load, profile: Profile) -> float:
    """Return the requests per second of the bare service when it is never idle.

    Where CPU is short: what one core would do that nobody else uses, ``requests / CPU time``.
    """
    job = {"kind": "closed", "connections": profile.busy, "requests": profile.requests}
    with Server("none", profile.name) as server:
        cpu = server.cpu_seconds()
        at = load.run({**job, "port": server.port}, 10)["answered_at"]
        cpu = server.cpu_seconds() - cpu
    if profile.on_cpu:
        return len(at) / cpu
    # Neither the start nor the end, when not all connections are busy.
    edge = profile.busy // 2
    return float((len(at) - 2 * edge - 1) / (at[-1 - edge] - at[edge]))


def baseline(load: Load, profile: Profile, seconds: float, seed: int) -> Baseline:
    """Measure what rows are compared with. Raises RuntimeError: void, three times."""
    rps = capacity(load, profile)
    for _ in range(3):
        with Server("none", profile.name) as server:
            trace = open_loop(load, server, profile, [(UNLOADED_RATIO * rps, seconds)], seed)
        p99 = summary(trace, 0, seconds, profile.objective_seconds)["p99_admitted_seconds"]
        if p99 is not None and not why_void(trace):
            return Baseline(rps, p99)
    raise RuntimeError(f"{profile.name}: not even the unloaded service could be measured: {p99=}")


@dataclass(frozen=True)
class Ladder:
    """How rows are measured: `seconds` each, after `warm_up_seconds` that do not count.

    `cpu_us`: as `costs` returns it. `spare`: one item for each row that may be measured twice.
    """

    load: Load
    seconds: float
    warm_up_seconds: float
    seed: int
    cpu_us: dict[str, float | None]
    spare: list[None]

    def row(self, system: str, profile: Profile, ratio: float, base: Baseline) -> dict[str, Any]:
        """Measure one system at one multiple of the capacity, in a fresh server.

        A row that is void, or whose server was starved, is measured once more while `spare` lasts.
        """
        row = self._row(system, profile, ratio, base)
        disturbed = "void" in row or row["server_starved_share"] > STARVED_SHARE
        if not disturbed or not self.spare:
            return row
        self.spare.pop()
        again = self._row(system, profile, ratio, base)
        return min(row, again, key=lambda one: ("void" in one, one["server_starved_share"]))

    def _row(self, system: str, profile: Profile, ratio: float, base: Baseline) -> dict[str, Any]:
        ends_at = self.warm_up_seconds + self.seconds
        with Server(system, profile.name) as server:
            cpu, starved, began = (
                server.cpu_seconds(),
                server.starved_seconds(),
                time.perf_counter(),
            )
            phases = [(ratio * base.capacity_rps, ends_at)]
            trace = open_loop(self.load, server, profile, phases, self.seed)
            cpu, starved = server.cpu_seconds() - cpu, server.starved_seconds() - starved
            took = time.perf_counter() - began
        told = summary(trace, self.warm_up_seconds, ends_at, profile.objective_seconds)
        goodput = told["goodput_rps"] / base.capacity_rps
        # Below the capacity, what came by chance is what there was to do.
        offered = told["offered_rps"] / base.capacity_rps if ratio < 1 else ratio
        best = best_share(offered, self._cost_ratio(system, profile, base))
        p99 = told["p99_admitted_seconds"]
        row = {
            "system": system,
            "profile": profile.name,
            "offered_ratio": ratio,
            "goodput_ratio": goodput,
            "physics_ratio": goodput / best if best else None,
            "p99_admitted_over_unloaded": p99 / base.p99_seconds if p99 is not None else None,
            **told,
            "server_cpu_share": cpu / took,
            "server_starved_share": starved / took,
        }
        starved_much = row["server_starved_share"] > VOID_STARVED_SHARE
        reason = why_void(trace) or (STARVED if starved_much else None)
        return row | {"void": reason} if reason else row

    def _cost_ratio(self, system: str, profile: Profile, base: Baseline) -> float:
        cost_us = self.cpu_us.get(COST_OF_REFUSAL.get(system, ""))
        if not profile.on_cpu or cost_us is None:
            return 0.0
        return cost_us / 1e6 * base.capacity_rps

    def recovery(self, system: str, base: Baseline) -> float | None:
        """Step from 0.7 to 5 x and back; return the seconds until all is as before (S3)."""
        profile = PROFILES["io_bound"]
        lengths = [self.seconds * share for share in RECOVERY_LENGTHS]
        phases = [
            (ratio * base.capacity_rps, length)
            for ratio, length in zip(RECOVERY_RATIOS, lengths, strict=True)
        ]
        while True:
            with Server(system, profile.name) as server:
                trace = open_loop(self.load, server, profile, phases, self.seed)
            if not why_void(trace):
                return recovery_seconds(trace, sum(lengths[:2]), sum(lengths), base.p99_seconds)
            if not self.spare:
                return None
            self.spare.pop()


def costs(
    load: Load, systems: Iterable[str], rounds: int, requests: int
) -> dict[str, float | None]:
    """Return the microseconds of CPU (user and system, of the server) of one request each.

    Closed loop over 16 kept connections; all take turns in every round, and the medians count, so
    that a busy machine disturbs all alike. `accept_overhead` is the median of `accept` less
    `bare_200` in the same round. None: not among `systems`.
    """
    asked = {name: how for name, how in COSTS.items() if how[0] in {"none", *systems}}
    measured: dict[str, list[float]] = {name: [] for name in asked}
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(Server(*how)) for name, how in asked.items()}
        for name, server in servers.items():
            if COSTS[name][2] == 1:
                server.hold()
            spend(load, server, name, requests // 4)
        for _ in range(rounds):
            for name, server in servers.items():
                measured[name].append(spend(load, server, name, requests))
    found: dict[str, float | None] = dict.fromkeys(("bare_503", "refuse", "refuse_protocol"))
    found["accept_overhead"] = None
    found |= {name: statistics.median(values) for name, values in measured.items()}
    if "accept" in measured:
        pairs = zip(measured["accept"], measured["bare_200"], strict=True)
        found["accept_overhead"] = statistics.median(ours - bare for ours, bare in pairs)
    return found


def spend(load: Load, server: Server, name: str, requests: int) -> float:
    """Return the CPU time per request of the server. Raises RuntimeError: other answers."""
    job = {
        "kind": "closed",
        "port": server.port,
        "connections": CLOSED_CONNECTIONS,
        "requests": requests,
    }
    before = server.cpu_seconds()
    statuses = Counter(load.run(job, 60)["statuses"])
    spent = server.cpu_seconds() - before
    wanted = 200 if name in ("accept", "bare_200") else 503
    if statuses[wanted] < 0.99 * requests:
        raise RuntimeError(f"{name}: {dict(statuses)} instead of {requests} times {wanted}")
    return spent / requests * 1e6
