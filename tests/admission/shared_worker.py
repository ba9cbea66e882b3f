"""One worker process of `test_shared.py`: a small gate around a `SharedLimit`, under load.

Takes its settings as JSON in the first argument, says `ready`, and serves until a line or the end
of standard input; then it prints what it did as JSON. Stamps of what was admitted (1), given back
(-1) and refused (0), on the monotonic clock of the machine, go to the file `events`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from array import array
from pathlib import Path
from typing import Any

from launchday.admission.limits import FixedLimit
from launchday.admission.shared import SharedLimit

TICK_SECONDS = 0.1
BURST = 20


class SmallGate:
    """Admits or refuses at once; a service is a timer."""

    def __init__(self, limit: SharedLimit, *, service_seconds: float, seed: int) -> None:
        self.limit = limit
        self.inflight = 0
        self.events = array("q")
        self.offered = self.refused = 0
        self._service_seconds = service_seconds
        self._random = random.Random(seed)
        self._loop = asyncio.get_running_loop()

    def offer(self) -> None:
        self.offered += 1
        if self.inflight >= self.limit.limit:
            self.refused += 1
            self.events.extend((time.monotonic_ns(), 0))
            return
        self.inflight += 1
        self.events.extend((time.monotonic_ns(), 1))
        self.limit.publish(self.inflight)
        self._loop.call_later(2 * self._random.random() * self._service_seconds, self.give_back)

    def give_back(self) -> None:
        self.events.extend((time.monotonic_ns(), -1))
        self.inflight -= 1
        self.limit.publish(self.inflight)

    async def poisson(self, rate_rps: float) -> None:
        due = self._loop.time()
        while True:
            due += self._random.expovariate(rate_rps)
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            self.offer()

    async def hammer(self) -> None:
        while True:
            for _ in range(BURST):
                if self.inflight < self.limit.limit:
                    self.offer()
            await asyncio.sleep(0)

    async def tick(self) -> None:
        while True:
            self.limit.tick(time.monotonic())
            await asyncio.sleep(TICK_SECONDS)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def serve(settings: dict[str, Any]) -> None:
    limit = SharedLimit(FixedLimit(settings["limit"]), path=settings["path"])
    gate = SmallGate(limit, service_seconds=settings["service_seconds"], seed=settings["seed"])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
    tasks = [asyncio.create_task(gate.tick())]
    if settings["load"] == "hammer":
        tasks.append(asyncio.create_task(gate.hammer()))
    elif settings["load"]:
        tasks.append(asyncio.create_task(gate.poisson(settings["load"])))
    await asyncio.sleep(0)
    say("ready")
    await stop.wait()
    for task in tasks:
        task.cancel()
    while gate.inflight:  # noqa: ASYNC110  (a timer ends each service)
        await asyncio.sleep(0.001)
    limit.close()
    if settings["events"]:
        Path(settings["events"]).write_bytes(gate.events.tobytes())  # noqa: ASYNC240  (over)
    say(json.dumps({"offered": gate.offered, "refused": gate.refused}))


def fork(settings: dict[str, Any]) -> None:
    """Hold 3 in flight, fork, let the child hold 2; print what each of them sees."""
    limit = SharedLimit(FixedLimit(settings["limit"]), path=settings["path"])
    if settings["used_before"]:
        limit.publish(3)
        limit.tick(time.monotonic())
    answer, tell = os.pipe()
    end, ended = os.pipe()
    child = os.fork()
    if not child:
        os.close(ended)
        limit.publish(2)
        seen = {"limit": limit.limit, "workers": limit.live_workers, "total": limit.total_inflight}
        os.write(tell, json.dumps(seen).encode())
        os.read(end, 1)
        os._exit(0)
    of_child = json.loads(os.read(answer, 1000))
    limit.publish(3)
    seen = {"limit": limit.limit, "workers": limit.live_workers, "total": limit.total_inflight}
    say(json.dumps({"parent": seen, "child": of_child}))
    os.close(ended)
    os.waitpid(child, 0)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    if "used_before" in given:
        fork(given)
    else:
        asyncio.run(serve(given))
