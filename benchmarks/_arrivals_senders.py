"""Who sends at a rate in the arrivals benchmark, and how each is told to."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from launchday.load.arrivals import Mode
from launchday.load.generator import GeneratorPlan
from launchday.load.generator import command as launchday_command
from launchday.rate_curve import RateCurve

SCENARIO = Path(__file__).parent / "_arrivals_users.py"
CLOSED = Path(__file__).parent / "_arrivals_closed.py"
SEED, RECORD = 1, "record"
_CLOSED_USERS, _WRK2_CONNECTIONS = 100, 100
# By Little's law the users that an arrival may find busy; more only take longer to start.
_MOST_USERS = 2000


@dataclass(frozen=True)
class Task:
    """What is to be sent: a curve, to a URL; `folder` is free for files."""

    url: str
    curve: RateCurve
    folder: Path

    @property
    def constant(self) -> bool:
        """Whether the rate is the same throughout."""
        return len({rate for _, rate in self.curve.points}) == 1


@dataclass(frozen=True)
class Sender:
    """One way to send. `mode`: of launchday's schedule, whose arrivals are known by index.

    `binary`: looked for on PATH. `surges`: whether it follows a curve that is not constant.
    """

    binary: str
    command: Callable[[str, Task], list[str]]
    variables: Callable[[Task], Mapping[str, str]]
    mode: Mode | None = None
    surges: bool = True

    def find(self, named: str | None) -> str | None:
        """Return the binary, where `named` says or on PATH; None: not there."""
        return shutil.which(named or self.binary)


def points_of(curve: RateCurve) -> str:
    """Return the points as the option of the scenario."""
    return ",".join(f"{seconds:g}:{rate:g}" for seconds, rate in curve.points)


def _launchday(mode: Mode) -> Sender:
    def command(_: str, task: Task) -> list[str]:
        record = task.folder / RECORD
        record.mkdir()
        plan = GeneratorPlan(
            scenario=SCENARIO,
            target=task.url,
            record=record,
            seed=SEED,
            request_timeout_seconds=min(1.0, _MOST_USERS / task.curve.peak_rps),
            parameters={"points": points_of(task.curve), "arrivals": mode},
        )
        return launchday_command(plan)

    return Sender(sys.executable, command, lambda _: {}, mode)


def _constant_throughput(binary: str, task: Task) -> list[str]:
    users = str(_CLOSED_USERS)
    return [
        binary, "-m", "locust", "-f", str(CLOSED), "--headless", "--only-summary", "--host",
        task.url, "-u", users, "-r", users, "-t", f"{task.curve.duration_seconds:.0f}s",
    ]  # fmt: skip


def k6_script(task: Task) -> str:
    """Return the script: as many users ready as there are of ours, so that none is missing."""
    users = min(_MOST_USERS, max(50, round(task.curve.peak_rps)))
    points = task.curve.points
    if task.constant:
        executor = (
            f"executor: 'constant-arrival-rate', rate: {points[0][1]:g},"
            f" duration: '{task.curve.duration_seconds:g}s'"
        )
    else:
        stages = ", ".join(
            f"{{ target: {r1:g}, duration: '{round((t1 - t0) * 1000)}ms' }}"
            for (t0, _), (t1, r1) in pairwise(points)
        )
        executor = (
            f"executor: 'ramping-arrival-rate', startRate: {points[0][1]:g}, stages: [{stages}]"
        )
    return (
        "import http from 'k6/http';\n"
        "export const options = { discardResponseBodies: true, scenarios: { surge: { "
        f"{executor}, timeUnit: '1s', preAllocatedVUs: {users}, maxVUs: {users} }} }} }};\n"
        f"export default function () {{ http.get('{task.url}/'); }}\n"
    )


def _k6(binary: str, task: Task) -> list[str]:
    script = task.folder / "open.js"
    script.write_text(k6_script(task))
    return [binary, "run", "--quiet", "--no-usage-report", "--address", "127.0.0.1:0", str(script)]


def _wrk2(binary: str, task: Task) -> list[str]:
    return [
        binary, "-t1", f"-c{_WRK2_CONNECTIONS}", f"-d{task.curve.duration_seconds:.0f}s",
        f"-R{task.curve.peak_rps:g}", task.url + "/",
    ]  # fmt: skip


def _rate_each(task: Task) -> dict[str, str]:
    return {"RATE_EACH": str(task.curve.peak_rps / _CLOSED_USERS)}


SENDERS: dict[str, Sender] = {
    "launchday even": _launchday("even"),
    "launchday poisson": _launchday("poisson"),
    "k6": Sender("k6", _k6, lambda _: {"GOMAXPROCS": "1"}),
    "wrk2": Sender("wrk2", _wrk2, lambda _: {}, surges=False),
    "constant_throughput": Sender(sys.executable, _constant_throughput, _rate_each, surges=False),
}
