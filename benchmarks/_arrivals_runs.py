"""One sender at one rate or along one surge, as the receiver saw it."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks._arrivals_measures import Trace, best_fidelity, fidelity, steadiness
from benchmarks._arrivals_receiver import NO_INDEX, Receiver, Stamps
from benchmarks._arrivals_senders import RECORD, SEED, Sender, Task
from benchmarks._generator_rounds import (
    MARGIN_SECONDS,
    START_SECONDS,
    end,
    everybody_cpu_seconds,
    finish,
    start,
    why,
)
from benchmarks._service import cpu_seconds
from launchday.load.arrivals import schedule
from launchday.rate_curve import RateCurve
from launchday.record import read_lines, schedule_from_json

# Users and connections are made meanwhile; not measured.
CUT_SECONDS = 2.0
# A receiver that is busier stamps late what came in time.
MOST_RECEIVER_SHARE = 0.8
# A surge from 100 to 3000 a second within one: 14 650 arrivals.
SURGE = RateCurve(
    ((0.0, 100.0), (2.0, 100.0), (3.0, 3000.0), (5.0, 3000.0), (9.0, 300.0), (10.0, 300.0))
)


def constant(rate: float, seconds: float) -> RateCurve:
    """Return a curve of one rate."""
    return RateCurve(((0.0, rate), (seconds, rate)))


@dataclass(frozen=True)
class Usage:
    """Shares of one core while it was measured: the generator's, the receiver's, all others'."""

    generator_cpu_share: float
    receiver_cpu_share: float
    others_share: float

    def void(self, most_others_share: float) -> str | None:
        """Return why such a run says nothing; None: it does."""
        if self.receiver_cpu_share > MOST_RECEIVER_SHARE:
            return "the receiver was saturated"
        if self.others_share > most_others_share:
            return f"others used {self.others_share:.0%} of a core"
        return None


@dataclass(frozen=True)
class Received:
    """What one run gave; `at` in seconds from the start of the schedule, or from the first."""

    at: list[float]
    indices: Sequence[int]
    schedule: list[float] | None
    usage: Usage

    def steady(self, rate: float, from_seconds: float, to_seconds: float) -> dict[str, Any]:
        """Return the row of a constant rate, of what was due in this time."""
        if self.schedule is None:
            kept = [at for at in self.at if from_seconds <= at < to_seconds]
            trace, due = Trace.even(kept, rate), round(rate * (to_seconds - from_seconds))
        else:
            trace = Trace.indexed(self.at, self.indices, self.schedule)
            trace = trace.between(from_seconds, to_seconds)
            due = sum(from_seconds <= one < to_seconds for one in self.schedule)
        told = steadiness(trace)
        if self.schedule is None:
            told["least_ms"] = None  # from the first request, which says nothing
        return {**told, "missing": due - len(trace.at), **asdict(self.usage)}

    def surge(self, curve: RateCurve) -> dict[str, Any]:
        """Return the row of a surge."""
        followed = (fidelity if self.schedule is not None else best_fidelity)(self.at, curve)
        due = round(curve.total) if self.schedule is None else len(self.schedule)
        return {**asdict(followed), "missing": due - len(self.at), **asdict(self.usage)}


class Arrivals:
    """Runs senders against one receiver. Raises RuntimeError for one that does not run."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def run(self, sender: Sender, binary: str, curve: RateCurve, cut_seconds: float) -> Received:
        """Send the whole curve; CPU is measured after the cut, and not in the last moment."""
        with tempfile.TemporaryDirectory(prefix="arrivals-") as folder:
            task = Task(self._receiver.url, curve, Path(folder))
            self._receiver.take()
            process = start(sender.command(binary, task), task.folder, sender.variables(task))
            try:
                self._await_requests(process)
                time.sleep(cut_seconds)
                usage = self._usage(process.pid, curve.duration_seconds - cut_seconds - 0.5)
                finish(process, MARGIN_SECONDS + START_SECONDS)
            finally:
                end(process)
            return _received(sender, task, self._receiver.take(), usage)

    def _await_requests(self, process: subprocess.Popen[bytes]) -> None:
        ends_at = time.monotonic() + START_SECONDS
        while not self._receiver.received():
            if process.poll() is not None or time.monotonic() > ends_at:
                process.kill()
                raise RuntimeError(why(process, "it sent nothing"))
            time.sleep(0.02)

    def _usage(self, pid: int, seconds: float) -> Usage:
        first = self._cpu(pid)
        time.sleep(seconds)
        last = self._cpu(pid)
        took, generator, receiver, everybody = (
            b - a for a, b in zip(first, last, strict=True)
        )  # fmt: skip
        others = max(0.0, everybody - generator - receiver)
        return Usage(generator / took, receiver / took, others / took)

    def _cpu(self, pid: int) -> tuple[float, float, float, float]:
        return (
            time.perf_counter(), cpu_seconds(pid), self._receiver.cpu_seconds(),
            everybody_cpu_seconds(),
        )  # fmt: skip


def _received(sender: Sender, task: Task, stamps: Stamps, usage: Usage) -> Received:
    if not stamps.nanoseconds:
        raise RuntimeError("it sent nothing after its start")
    seconds = [one / 1e9 for one in stamps.nanoseconds]
    if sender.mode is None:
        first = min(seconds)
        return Received([one - first for one in seconds], stamps.indices, None, usage)
    if NO_INDEX in stamps.indices:
        raise RuntimeError("a request did not name its arrival")
    epoch = epoch_of(task.folder / RECORD)
    due = [one.due_seconds for one in schedule(task.curve, seed=SEED, mode=sender.mode)]
    return Received([one - epoch for one in seconds], stamps.indices, due, usage)


def epoch_of(record: Path) -> float:
    """Return when the schedule of a record began, on time.perf_counter() of this machine."""
    lines = read_lines(record / "samples-0.jsonl")
    epoch_unix = schedule_from_json(next(iter(lines))).epoch_unix
    # The two clocks one after the other; of several readings the closest is the truest.
    before = [(time.perf_counter(), time.time(), time.perf_counter()) for _ in range(20)]
    a, unix, b = min(before, key=lambda three: three[2] - three[0])
    return epoch_unix - unix + (a + b) / 2


def median_row(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of each number of rows that are alike; None where one has none."""
    merged: dict[str, Any] = {}
    for name, value in rows[0].items():
        values = [row[name] for row in rows]
        if isinstance(value, dict):
            merged[name] = median_row(values)
        else:
            known = [one for one in values if one is not None]
            merged[name] = statistics.median(known) if len(known) == len(values) else None
    return merged
