"""One limit for several processes: never above it, none of it idle, nothing lost to `kill -9`."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launchday.admission.limits import FixedLimit
from launchday.admission.shared import SharedLimit

WORKER = Path(__file__).with_name("shared_worker.py")
SOURCES = Path(__file__).parents[2] / "src"
DEADLINE_SECONDS = 20

Spawn = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "limit"


@pytest.fixture
def spawn(path: Path) -> Iterator[Spawn]:
    """`spawn(load=...)`: a worker process that is ready."""
    running: list[subprocess.Popen[str]] = []

    def one(**config: Any) -> subprocess.Popen[str]:
        config = {"path": str(path), "seed": len(running), "events": None, **config}
        worker = subprocess.Popen(
            [sys.executable, str(WORKER), json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SOURCES)},
        )
        running.append(worker)
        return worker

    yield one
    for worker in running:
        with worker:
            worker.kill()


def wait_ready(*workers: subprocess.Popen[str]) -> None:
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"


def stop(*workers: subprocess.Popen[str]) -> list[dict[str, int]]:
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.close()
    reports = []
    for worker in workers:
        assert worker.stdout is not None
        reports.append(json.loads(worker.stdout.readline()))
        assert worker.wait(DEADLINE_SECONDS) == 0
    return reports


class Truth:
    """What happened in all workers, in order."""

    def __init__(self, files: list[Path]) -> None:
        events: list[tuple[int, int]] = []
        for file in files:
            numbers = array("q", file.read_bytes())
            events += zip(numbers[::2], numbers[1::2], strict=True)
        self.inflight_before: list[tuple[int, int]] = []
        inflight = self.peak = 0
        for _, change in sorted(events):
            self.inflight_before.append((inflight, change))
            inflight += change
            self.peak = max(self.peak, inflight)

    def refused_below(self, limit: int) -> int:
        """Requests that were refused although a slot was free somewhere."""
        return sum(change == 0 and before < limit for before, change in self.inflight_before)


def until(condition: Callable[[], bool]) -> float:
    """Return how many seconds it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < DEADLINE_SECONDS
        time.sleep(0.005)
    return time.monotonic() - started


@pytest.mark.parametrize("used_before", [False, True])
def test_a_fork_has_a_row_of_its_own(spawn: Spawn, used_before: bool) -> None:
    worker = spawn(limit=20, used_before=used_before)
    assert worker.stdout is not None
    seen = json.loads(worker.stdout.readline())
    assert seen["parent"] == {"limit": 18, "workers": 2, "total": 5}
    held = 3 if used_before else 0
    assert seen["child"] == {"limit": 20 - held, "workers": 2 if held else 1, "total": 2 + held}


def test_s24_in_a_storm_the_sum_stays_within_a_fiftieth_of_the_limit(
    spawn: Spawn, tmp_path: Path
) -> None:
    limit, files = 100, [tmp_path / f"events{n}" for n in range(4)]
    workers = [
        spawn(limit=limit, load="hammer", service_seconds=0.005, events=str(file)) for file in files
    ]
    wait_ready(*workers)
    time.sleep(2)
    assert sum(report["offered"] for report in stop(*workers)) > 4 * limit
    truth = Truth(files)
    assert limit <= truth.peak <= 1.02 * limit + 1


@pytest.mark.parametrize(
    "shares", [(1, 0, 0, 0), (0.85, 0.05, 0.05, 0.05)], ids=["alone", "skewed"]
)
def test_s24_a_busy_worker_uses_the_slots_of_its_idle_peers(
    spawn: Spawn, tmp_path: Path, shares: tuple[float, ...]
) -> None:
    limit, service_seconds = 40, 0.1
    rate_rps = 0.8 * limit / service_seconds
    files = [tmp_path / f"events{n}" for n in range(4)]
    workers = [
        spawn(
            limit=limit,
            load=share * rate_rps,
            service_seconds=service_seconds,
            events=str(file),
        )
        for share, file in zip(shares, files, strict=True)
    ]
    wait_ready(*workers)
    time.sleep(2.5)
    reports = stop(*workers)
    offered = sum(report["offered"] - report["refused"] for report in reports)
    truth = Truth(files)
    needless = truth.refused_below(limit)
    assert offered > 300
    assert needless <= 0.005 * offered
    assert limit / 2 < truth.peak <= limit + 3


def watch(path: Path, limit: int) -> SharedLimit:
    """A worker that has nothing to do and, without ticks, reclaims nothing."""
    watcher = SharedLimit(FixedLimit(limit), path=path)
    assert watcher.limit >= 1
    return watcher


def test_s24_the_slots_of_a_killed_worker_go_to_the_others(spawn: Spawn, path: Path) -> None:
    limit, load = 40, {"limit": 40, "load": 600, "service_seconds": 0.05}
    workers = [spawn(**load) for _ in range(4)]
    wait_ready(*workers)
    watcher = watch(path, limit)
    until(lambda: watcher.live_workers == 5 and watcher.total_inflight >= limit)
    workers[0].send_signal(signal.SIGKILL)
    seconds = until(lambda: watcher.live_workers == 4)
    sys.stdout.write(f"slots of a killed worker reclaimed after {seconds:.2f} s\n")
    assert seconds < 10
    until(lambda: watcher.total_inflight >= 0.9 * limit)
    newcomer = spawn(**load)
    wait_ready(newcomer)
    until(lambda: watcher.live_workers == 5)
    stop(newcomer, *workers[1:])
    assert (watcher.live_workers, watcher.total_inflight, watcher.limit) == (1, 0, limit)
    watcher.close()


@pytest.mark.slow
def test_s24_a_hundred_kills_leave_nothing_behind(spawn: Spawn, path: Path) -> None:
    chance = random.Random(24)
    load = {"limit": 40, "load": 300, "service_seconds": 0.05}
    workers = [spawn(**load) for _ in range(4)]
    wait_ready(*workers)
    watcher = watch(path, 40)
    for _ in range(100):
        victim = workers.pop(chance.randrange(4))
        with victim:
            victim.kill()
        workers.append(spawn(**load))
        wait_ready(workers[-1])
        time.sleep(chance.random() / 4)
        assert watcher.total_inflight <= 5 * 40
    until(lambda: watcher.live_workers == 5)
    stop(*workers)
    assert (watcher.live_workers, watcher.total_inflight, watcher.limit) == (1, 0, 40)
    watcher.close()
