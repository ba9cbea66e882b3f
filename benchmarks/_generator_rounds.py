"""One run of one generator on a core of its own, and what the interleaved rounds add up to."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._generator_peers import FAST, UNRECORDED, Generator, Job, Said
from benchmarks._generator_server import Server
from benchmarks._ladder_process import cores, pin
from benchmarks._service import cpu_seconds
from launchday.load.generator import environment

# Seconds of load before and after what is measured; seconds that a generator may take to start.
# On a busy machine Locust does much between its start and its first request: a part of the margin.
WARM_UP_SECONDS, MARGIN_SECONDS, START_SECONDS = 0.5, 4.0, 30.0


@dataclass(frozen=True)
class Snapshot:
    """Counts of one moment; `everybody_cpu` is of all processes of the machine."""

    at: float
    requests: int
    generator_cpu: float
    server_cpu: float
    everybody_cpu: float


@dataclass(frozen=True)
class Round:
    """What one run gave. Shares are of one core, in the measured window.

    `served`: requests that the server counted in the whole run, `said` what the generator says.
    `others_share`: what anybody else used, of whichever core, and how much makes the run void.
    """

    requests_per_second: float
    cpu_us_per_request: float
    generator_cpu_share: float
    server_cpu_share: float
    others_share: float
    served: int
    said: Said
    connections: int
    most_others_share: float
    ended_early: bool = False

    @property
    def recorded(self) -> bool:
        """Whether the generator counted every request but those that its end cut off."""
        return 0 <= self.served - self.said.requests <= self.connections

    @property
    def void(self) -> str | None:
        """Why this run says nothing; None: it does."""
        if self.ended_early:
            return "it ended before its time"
        if self.said.failures:
            return f"{self.said.failures} requests failed"
        if self.others_share > self.most_others_share:
            return f"others used {self.others_share:.0%} of a core"
        return None


def everybody_cpu_seconds() -> float:
    """Return the CPU time of all processes so far, with that of their children that have ended.

    /proc/stat does not say it: here the loopback's interrupts and a guest's overhead are in it too.
    """
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            # user, system, and of ended children user, system; the name before may hold blanks.
            ticks += sum(map(int, path.read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def between(
    first: Snapshot, last: Snapshot, served: int, said: Said, connections: int, most_others: float
) -> Round:
    """Return what happened between two moments of a run."""
    seconds = last.at - first.at
    requests = max(1, last.requests - first.requests)
    generator_cpu = last.generator_cpu - first.generator_cpu
    server_cpu = last.server_cpu - first.server_cpu
    others_cpu = last.everybody_cpu - first.everybody_cpu - generator_cpu - server_cpu
    return Round(
        requests_per_second=(last.requests - first.requests) / seconds,
        cpu_us_per_request=generator_cpu / requests * 1e6,
        generator_cpu_share=generator_cpu / seconds,
        server_cpu_share=server_cpu / seconds,
        others_share=max(0.0, others_cpu) / seconds,
        served=served,
        said=said,
        connections=connections,
        most_others_share=most_others,
    )


class Runner:
    """Runs generators against one server. Raises RuntimeError for one that does not run."""

    def __init__(
        self, server: Server, connections: int, seconds: float, most_others_share: float
    ) -> None:
        self._server, self._connections, self._seconds = server, connections, seconds
        self._most_others_share = most_others_share

    def run(self, generator: Generator, binary: str) -> Round:
        """Start it, measure while all its connections are busy, wait for its end."""
        with tempfile.TemporaryDirectory(prefix="generator-") as folder:
            whole = WARM_UP_SECONDS + self._seconds + MARGIN_SECONDS
            job = Job(self._server.url, self._connections, whole, Path(folder))
            before = self._server.requests()
            process = start(generator.command(binary, job), job.folder, generator.environment)
            try:
                self._await_requests(process, before)
                time.sleep(WARM_UP_SECONDS)
                first = self._snapshot(process.pid)
                time.sleep(self._seconds)
                early = process.poll() is not None
                last = first if early else self._snapshot(process.pid)
                words = finish(process, START_SECONDS)
            finally:
                end(process)
            if generator.report:
                with start(generator.report(binary, job), job.folder, {}) as reporter:
                    words = finish(reporter, START_SECONDS)
            served = self._server.requests() - before
            said, most = understood(generator, words), self._most_others_share
            if early:
                return Round(0, 0, 0, 0, 0, served, said, 0, most, ended_early=True)
            return between(first, last, served, said, self._connections, most)

    def _await_requests(self, process: subprocess.Popen[bytes], before: int) -> None:
        ends_at = time.monotonic() + START_SECONDS
        while self._server.requests() == before:
            if process.poll() is not None or time.monotonic() > ends_at:
                process.kill()
                raise RuntimeError(why(process, "it sent nothing"))
            time.sleep(0.02)

    def _snapshot(self, pid: int) -> Snapshot:
        requests = self._server.requests()
        return Snapshot(
            time.perf_counter(),
            requests,
            cpu_seconds(pid),
            self._server.cpu_seconds(),
            everybody_cpu_seconds(),
        )


def understood(generator: Generator, words: str) -> Said:
    """Return what a generator says of its run. Raises RuntimeError when it says something else."""
    try:
        return generator.parse(words)
    except (ValueError, KeyError) as error:
        raise RuntimeError(f"its words were not understood: {error!r:.300}") from error


def start(
    command: list[str], folder: Path, variables: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a generator on its core; its configuration is looked for in an empty folder."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**environment(folder), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: pin(cores()[0]),
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process, also one that has ended, and close its pipes."""
    with process:
        process.kill()


def finish(process: subprocess.Popen[bytes], seconds: float) -> str:
    """Return what a process printed. Raises RuntimeError when it fails or does not end."""
    try:
        words, complaint = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise RuntimeError(why(process, f"it did not end within {seconds:.0f} s")) from None
    if process.returncode:
        said = complaint.decode(errors="replace").strip() or "it said nothing"
        raise RuntimeError(f"exit code {process.returncode}: {said[-300:]}")
    return words.decode()


def why(process: subprocess.Popen[bytes], reason: str) -> str:
    """Return a reason with the last words of a process that has ended."""
    said = process.communicate()[1].decode(errors="replace").strip()
    return f"{reason}: {said[-300:]}" if said else reason


def interleaved(
    names: Iterable[str], rounds: int, spare: int, run: Callable[[str], Round]
) -> tuple[dict[str, list[Round]], dict[str, str]]:
    """Run all in turns, so that a busy machine disturbs all alike; then repeat the void ones.

    `spare`: how many runs may be repeated in all. Returns the runs by name, and why others have
    none: whoever raises RuntimeError is not asked again.
    """
    found: dict[str, list[Round]] = {name: [] for name in names}
    failed: dict[str, str] = {}

    def turn(name: str) -> None:
        try:
            found[name].append(run(name))
        except RuntimeError as error:
            failed[name] = str(error)
            del found[name]

    for _ in range(rounds):
        for name in list(found):
            turn(name)
    for _ in range(spare):
        short = [name for name in found if sum(not one.void for one in found[name]) < rounds]
        if short:
            turn(min(short, key=lambda name: len(found[name])))
    return found, failed


def row(name: str, done: list[Round], wrk: list[Round]) -> dict[str, Any]:
    """Return the medians of what is not void; None where everything is.

    `cpu_ratio_to_wrk`: of wrk's CPU per request and this one's; 1 is as lean as wrk.
    """
    good, wrk = _good(done), _good(wrk)
    rate, wrk_rate = (_median([one.requests_per_second for one in of]) for of in (good, wrk))
    cost, wrk_cost = (_median([one.cpu_us_per_request for one in of]) for of in (good, wrk))
    return {
        "generator": name,
        "requests_per_second": rate,
        "ratio_to_wrk": rate / wrk_rate if rate and wrk_rate else None,
        "cpu_us_per_request": cost,
        "cpu_ratio_to_wrk": wrk_cost / cost if cost and wrk_cost else None,
        "records_every_request": bool(good) and all(one.recorded for one in good),
        "generator_cpu_share": _median([one.generator_cpu_share for one in good]),
        "server_cpu_share": _median([one.server_cpu_share for one in good]),
        "rounds": len(good),
        "void": [one.void for one in done if one.void],
    }


def recording_share(rounds: Mapping[str, list[Round]]) -> float | None:
    """Return the share of the fast path's CPU that recording takes; None: not measured."""
    costs = [
        _median([one.cpu_us_per_request for one in _good(rounds.get(name, []))])
        for name in (FAST, UNRECORDED)
    ]
    return 1 - costs[1] / costs[0] if costs[0] and costs[1] else None


def _good(done: list[Round]) -> list[Round]:
    return [one for one in done if not one.void]


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None
