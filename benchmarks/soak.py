"""Does a long run stay as it began? Memory, descriptors and drift of a generator under load.

`python -m benchmarks.soak [--minutes 30] [--rate 2000] [--json]`. One generator process sends even
arrivals to a receiver that stamps them, each on a core of its own. After the warm-up (a tenth of
the time, at most two minutes) resident memory may grow by 2 %, the tenth percentile of the
deviations from the schedule by 1 ms, and open descriptors, other than the connections that the
receiver has too, by 2: after a stall more connections are kept, which is no leak. Exit code 0: it
stayed so; 1: not; 2: it could not run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run by its path
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks._arrivals_receiver import Receiver, Stamps
from benchmarks._arrivals_runs import constant, epoch_of
from benchmarks._arrivals_senders import RECORD, SENDERS, Sender, Task
from benchmarks._generator_cli import command_line, count, positive, run
from benchmarks._generator_rounds import START_SECONDS, end, finish, start, why
from benchmarks._ladder_measures import percentile
from benchmarks._service import cpu_seconds
from benchmarks.admission_ladder import say

MOST_GROWTH, MOST_DRIFT_MS, MOST_DESCRIPTORS = 0.02, 1.0, 2
WARM_UP_SHARE, MOST_WARM_UP_SECONDS = 0.1, 120.0
# Of how many parts the time is; the first after the warm-up is compared with the last.
STEPS = 30


@dataclass(frozen=True)
class Step:
    """One part of the time: what the receiver saw, and the process at its end.

    `low_ms`: the tenth percentile of the deviations, which a busy neighbour moves least.
    `descriptors`: open ones, without the `connections` to the receiver.
    """

    ends_at_seconds: float
    received: int
    low_ms: float
    median_ms: float
    p99_ms: float
    resident_bytes: int
    descriptors: int
    connections: int
    cpu_share: float


def judged(steps: list[Step], scheduled: int, received: int, distinct: int) -> dict[str, Any]:
    """Compare the last part with the first after the warm-up."""
    whole = steps[-1].ends_at_seconds
    warm_up = min(MOST_WARM_UP_SECONDS, WARM_UP_SHARE * whole)
    first = next(step for step in steps if step.ends_at_seconds > warm_up)
    last = steps[-1]
    growth = last.resident_bytes / first.resident_bytes - 1
    drift_ms = last.low_ms - first.low_ms
    descriptors = last.descriptors - first.descriptors
    flat = (
        growth <= MOST_GROWTH
        and abs(drift_ms) <= MOST_DRIFT_MS
        and descriptors <= MOST_DESCRIPTORS
        and distinct == received == scheduled
    )
    return {
        "seconds": whole,
        "resident_growth": growth,
        "resident_bytes": last.resident_bytes,
        "drift_ms": drift_ms,
        "descriptors_growth": descriptors,
        "connections": last.connections,
        "scheduled": scheduled,
        "received": received,
        "missing": scheduled - distinct,
        "lateness_p99_ms": statistics.median(step.p99_ms for step in steps),
        "cpu_share": statistics.median(step.cpu_share for step in steps),
        "flat": flat,
    }


class Soak:
    """One generator that is watched from its first request to its end."""

    def __init__(self, receiver: Receiver, task: Task, process: subprocess.Popen[bytes]) -> None:
        self._receiver, self._task, self._process = receiver, task, process
        self._rate = task.curve.peak_rps
        self._epoch = 0.0
        self._seen: set[int] = set()
        self._received = 0

    def watch(self) -> dict[str, Any]:
        """Return the verdict. Raises RuntimeError when the generator does not run to its end."""
        self._await_requests()
        self._epoch = epoch_of(self._task.folder / RECORD)
        length = self._task.curve.duration_seconds / STEPS
        steps = []
        for number in range(1, STEPS + 1):
            steps.append(self._step(number * length, length))
            say(line(steps[-1]))
        finish(self._process, START_SECONDS)
        self._note(self._receiver.take())  # what was late at the end
        scheduled = round(self._task.curve.total)
        return judged(steps, scheduled, self._received, len(self._seen))

    def _await_requests(self) -> None:
        ends_at = time.monotonic() + START_SECONDS
        while not self._receiver.received():
            if self._process.poll() is not None or time.monotonic() > ends_at:
                self._process.kill()
                raise RuntimeError(why(self._process, "it sent nothing"))
            time.sleep(0.02)

    def _step(self, ends_at: float, length: float) -> Step:
        pid = self._process.pid
        cpu = cpu_seconds(pid)
        # A little before the end of the last one, else the process may be gone.
        time.sleep(max(0.0, self._epoch + ends_at - 0.2 - time.perf_counter()))
        if self._process.poll() is not None:
            raise RuntimeError(why(self._process, "it ended before its time"))
        late_ms = self._note(self._receiver.take())
        if not late_ms:
            raise RuntimeError(f"it sent nothing for {length:.0f} s")
        connections = self._receiver.connections()
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return Step(
            ends_at_seconds=ends_at,
            received=len(late_ms),
            low_ms=percentile(late_ms, 0.1) or 0.0,
            median_ms=statistics.median(late_ms),
            p99_ms=percentile(late_ms, 0.99) or 0.0,
            resident_bytes=resident * os.sysconf("SC_PAGE_SIZE"),
            descriptors=len(os.listdir(f"/proc/{pid}/fd")) - connections,
            connections=connections,
            cpu_share=(cpu_seconds(pid) - cpu) / length,
        )

    def _note(self, stamps: Stamps) -> list[float]:
        """Return the deviations of what was received, in ms; even arrival k is due at k + 1/2."""
        self._seen.update(stamps.indices)
        self._received += len(stamps.indices)
        return [
            (nanoseconds / 1e9 - self._epoch - (index + 0.5) / self._rate) * 1000
            for nanoseconds, index in zip(stamps.nanoseconds, stamps.indices, strict=True)
        ]


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Return the verdict of the whole."""
    sender: Sender = SENDERS["launchday even"]
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        with Receiver(folder) as receiver:
            task = Task(receiver.url, constant(args.rate, args.minutes * 60), folder)
            process = start(sender.command(sender.binary, task), folder, {})
            try:
                return Soak(receiver, task, process).watch()
            finally:
                end(process)


def line(step: Step) -> str:
    """Return one part of the time in words."""
    told = asdict(step)
    return (
        "  {ends_at_seconds:6.0f} s{received:9} requests, median {median_ms:6.2f} ms, p99"
        " {p99_ms:7.2f} ms, {megabytes:7.1f} MB, {descriptors} + {connections} descriptors,"
        " {cpu_share:.0%} CPU"
    ).format(**told, megabytes=step.resident_bytes / 1e6)


def show(result: dict[str, Any]) -> str:
    """Return the verdict in words."""
    verdict = "flat" if result["flat"] else "NOT flat"
    memory, drift_ms = result["resident_growth"], result["drift_ms"]
    return (
        f"{verdict}: over {result['seconds'] / 60:g} minutes memory {memory:+.2%}, drift"
        f" {drift_ms:+.3f} ms, descriptors {result['descriptors_growth']:+}; {result['received']}"
        f" of {result['scheduled']} arrivals received, {result['missing']} missing; p99 of the"
        f" deviation {result['lateness_p99_ms']:.2f} ms\n"
    )


def parse(words: list[str]) -> argparse.Namespace:
    """Return the arguments. Exits with 2 when they are wrong."""
    parser = command_line(__doc__)
    parser.add_argument("--minutes", type=positive, default=30.0, help="default %(default)g")
    parser.add_argument("--rate", type=count, default=2000, help="per second, default %(default)s")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(run(parse(sys.argv[1:]), measure, show, lambda result: 0 if result["flat"] else 1))
