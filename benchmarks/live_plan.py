"""Is a plan right? `python -m benchmarks.live_plan [--json]`: predicted against measured, live.

For each case a staircase on the reference backend makes a plan, and a run at the recommended rate
and at another one, after it, says how far off it was:

    io_bound, cpu_bound, bimodal    `launchday plan --validate` on the local stack
    replicas                        planned from one replica, driven on three, three times the rate

The error of goodput must be at most 10 %, the p99 within the objective. Of every staircase the
lower steps also predict the throughput of those up to 1.25 times beyond them, within 15 %. A run
whose generator fell behind is void and made again, at most twice. Exit code: 0 every case held; 1
one did not; 2 it could not run, or a case was void.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

if not __package__:  # run by its path
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks._capacity_beyond import GOAL as BEYOND_GOAL
from benchmarks._capacity_beyond import beyond
from benchmarks._generator_cli import command_line, positive, run
from benchmarks._live_runs import ROOT, breakpoint_record, launchday
from benchmarks.admission_ladder import say
from launchday.capacity.loads import measure as measured_of
from launchday.capacity.steps import Objective, Step
from launchday.record import read_record
from launchday.runs.processes import any_free_port
from launchday.runs.validate import requests_per_arrival
from tests.target_service.processes import FREE_PORTS, Process

GOAL = 0.10
# So near to each other that the next load is at most 1.25 times as far.
_STEPS = 12
ATTEMPTS = 3
REPLICAS = 3
# Enough that a step proves less than 1 % shed; what a launch asks for takes longer steps.
_SHARES = ("--shed", "1%", "--errors", "1%")
# One in ten of the bimodal profile takes 0.4 s alone: no load keeps its p99 below 0.5 s.
_SECONDS = {"io_bound": 0.5, "cpu_bound": 0.5, "bimodal": 1.0, "replicas": 0.5}
_SETTINGS = {
    "io_bound": {"LAUNCHDAY_LOCAL__SLOTS": "8"},
    "bimodal": {
        "LAUNCHDAY_LOCAL__SLOTS": "8",
        "LAUNCHDAY_LOCAL__PROFILE": "bimodal",
        "LAUNCHDAY_RULES__OBJECTIVE_SECONDS": "1",
        "LAUNCHDAY_RUN__REQUEST_TIMEOUT_SECONDS": "2",
    },
    "cpu_bound": {
        "LAUNCHDAY_LOCAL__PROFILE": "cpu_bound",
        "LAUNCHDAY_LOCAL__SERVICE_MEAN_SECONDS": "0.008",
    },
}
_ENDS = {"io_bound": (30, 210), "bimodal": (30, 210), "cpu_bound": (20, 150)}
_REPLICA = {
    "TARGET_SLOTS": "4",
    "TARGET_SERVICE_MEAN_SECONDS": "0.05",
    "TARGET_SHED_CGROUP": "off",
    "TARGET_FLEET_SIZE": "1000",
}


@dataclass(frozen=True)
class Compared:
    """One number of a case: `error` is measured by predicted, less 1."""

    what: str
    rps: float
    predicted: float
    measured: float
    error: float
    within: bool


@dataclass(frozen=True)
class Case:
    """How a case went; `void`: why it says nothing."""

    name: str
    recommended_rps: float | None
    compared: tuple[Compared, ...] = ()
    void: str = ""

    @property
    def held(self) -> bool:
        """Whether every number was within its bound."""
        return bool(self.compared) and all(each.within for each in self.compared)


def case_of(name: str, document: dict[str, Any], doubts: str) -> Case:
    """The case as capacity.json tells it; `doubts` is what the command said besides."""
    if document["refused"]:
        return Case(name, None, void=document["refused"])
    proved = document["found"]["proved"]
    recommended = proved["value"] if proved else None
    rows = tuple(
        Compared(
            row["what"], row["rps"], row["predicted"], row["measured"], row["error_share"],
            row["within"],
        )
        for row in document["validations"]
    )  # fmt: skip
    void = "" if rows else doubts.strip() or "nothing was compared"
    return Case(name, recommended, rows, void)


def _slo(name: str) -> tuple[str, ...]:
    return ("--slo", f"p99={_SECONDS[name]:g}s", *_SHARES)


def _objective(name: str) -> Objective:
    return Objective(0.99, _SECONDS[name], 0.01, 0.01)


def profile(name: str, seconds: float) -> Case:
    """Staircase, plan and validation of one profile by the command line."""
    low, high = _ENDS[name]
    with tempfile.TemporaryDirectory() as home:
        runs = Path(home) / "runs"
        curve = {"from_rps": low, "to_rps": high, "steps": _STEPS, "step_seconds": seconds}
        record = breakpoint_record(runs, ["--local"], curve, **_SETTINGS[name])
        done = launchday(
            "plan", record, *_slo(name), "--validate", "--validate-seconds", 2 * seconds,
            "--runs", runs, "--json",
        )  # fmt: skip
        case = case_of(name, done.document, "\n".join(done.errors.splitlines()[-1:]))
        return with_beyond(case, measured_of([read_record(record)], _objective(name)).steps)


def replicas(name: str, seconds: float) -> Case:
    """A plan from one replica, and three of them at three times its rates."""
    with tempfile.TemporaryDirectory() as home:
        runs = Path(home) / "runs"
        with _service(Path(home) / "one", 1) as url:
            curve = {"from_rps": 15, "to_rps": 100, "steps": _STEPS, "step_seconds": seconds}
            record = breakpoint_record(runs, ["--target", url], curve)
        document = launchday("plan", record, *_slo(name), "--json").document
        case = case_of(name, document, "not validated: that is what the replicas are for")
        staircase = measured_of([read_record(record)], _objective(name)).steps
        if case.recommended_rps is None:
            return replace(case, void=case.void or "no rate is proved")
        most = REPLICAS * case.recommended_rps / requests_per_arrival([read_record(record)])
        with _service(Path(home) / "many", REPLICAS) as url:
            curve = {
                "from_rps": 0.75 * most, "to_rps": most, "steps": 2, "step_seconds": 2 * seconds
            }  # fmt: skip
            again = breakpoint_record(runs, ["--target", url], curve)
        case = compare_replicas(case, measured_of([read_record(again)], _objective(name)).steps)
        return with_beyond(case, staircase)


def with_beyond(case: Case, steps: tuple[Step, ...]) -> Case:
    """The case and what its lower steps say of those a little beyond them."""
    if case.void:
        return case
    rows = [
        Compared(
            f"{each.times:.2f}x beyond", each.rps, each.predicted, each.measured, each.error,
            abs(each.error) <= BEYOND_GOAL,
        )
        for each in beyond(steps)
    ]  # fmt: skip
    return replace(case, compared=(*case.compared, *rows))


def compare_replicas(case: Case, steps: tuple[Step, ...]) -> Case:
    """So many replicas carry so many times as much: goodput as offered, p99 within."""
    rows: list[Compared] = []
    for step in steps:
        error = step.goodput_rps / step.offered_rps - 1
        numbers = (step.offered_rps, step.offered_rps, step.goodput_rps, error)
        rows.append(Compared("goodput", *numbers, abs(error) <= GOAL))
        if step.latency_seconds is not None:
            allowed = _SECONDS["replicas"]
            within = step.latency_seconds <= allowed
            against = step.latency_seconds / allowed - 1
            rows.append(
                Compared(
                    "p99 by objective", step.offered_rps, allowed,
                    step.latency_seconds, against, within,
                )
            )  # fmt: skip
    return replace(case, compared=tuple(rows), void="" if rows else "no step can be believed")


@contextmanager
def _service(home: Path, count: int) -> Iterator[str]:
    """Replicas of the reference backend on one database behind a balancer; yields its URL."""
    home.mkdir()
    with ExitStack() as until:
        gateway = Process("target_service.gateway", home / "gateway.log", FREE_PORTS)
        until.enter_context(closing(gateway))
        settings = {
            **FREE_PORTS, **_REPLICA, "TARGET_GATEWAY_URL": gateway.url,
            "TARGET_DATABASE_URL": f"sqlite:///{home / 'car.db'}",
        }  # fmt: skip
        ports = []
        for number in range(count):
            replica = Process("target_service", home / f"replica-{number}.log", settings)
            until.enter_context(closing(replica))
            ports.append(replica.port)
        port = any_free_port()
        balancer = subprocess.Popen(
            [sys.executable, "-m", "benchmarks._balancer", str(port), *map(str, ports)], cwd=ROOT
        )
        until.callback(balancer.wait)
        until.callback(balancer.kill)
        time.sleep(1.0)
        yield f"http://127.0.0.1:{port}"


CASES: dict[str, Callable[[str, float], Case]] = {
    "io_bound": profile,
    "cpu_bound": profile,
    "bimodal": profile,
    "replicas": replicas,
}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Every case that was asked for, again while it is void."""
    found = []
    for name in args.cases:
        for attempt in range(1, ATTEMPTS + 1):
            case = CASES[name](name, args.step_seconds)
            say(f"{name}: {(case.void and 'void: ' + case.void) or 'measured'}")
            if not case.void or attempt == ATTEMPTS:
                break
        found.append(case)
    return summary(found)


def summary(cases: list[Case]) -> dict[str, Any]:
    """What was measured, and the largest error of goodput of all that counts."""
    errors = [abs(r.error) for c in cases for r in c.compared if r.what == "goodput"]
    beyond_errors = [abs(r.error) for c in cases for r in c.compared if "beyond" in r.what]
    return {
        "held": all(case.held for case in cases if not case.void),
        "void": sum(bool(case.void) for case in cases),
        "largest_goodput_error": max(errors, default=None),
        "largest_error_beyond": max(beyond_errors, default=None),
        "cases": [{**asdict(case), "held": case.held} for case in cases],
    }


def table(result: dict[str, Any]) -> str:
    """One line for each number."""
    lines = []
    for case in result["cases"]:
        head = "void" if case["void"] else "held" if case["held"] else "NOT HELD"
        lines.append(f"{case['name']:<10}{head}  {case['void']}".rstrip())
        lines += [
            f"  {row['what']:<17}at {row['rps']:6.1f} rps: predicted {row['predicted']:8.3f}, "
            f"measured {row['measured']:8.3f}, {row['error']:+.1%}"
            for row in case["compared"]
        ]
    return "\n".join([*lines, ""])


def judge(result: dict[str, Any]) -> int:
    """The exit code."""
    if not result["held"]:
        return 1
    return 2 if result["void"] else 0


def main() -> int:
    """Read the command line and measure."""
    parser = command_line(__doc__ or "")
    parser.add_argument("--step-seconds", type=positive, default=30.0, help="default 30")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    return run(parser.parse_args(), measure, table, judge)


if __name__ == "__main__":
    sys.exit(main())
