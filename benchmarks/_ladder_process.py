"""The two processes of the live ladder, each on a core of its own: started, asked, stopped."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks._ladder_apps import HOLD_PATH, LIMIT

ROOT = Path(__file__).parent.parent
START_SECONDS = 30.0


def cores() -> tuple[int | None, int | None]:
    """Return the cores of the load and of the server; None where they cannot be chosen."""
    if not hasattr(os, "sched_setaffinity"):
        return None, None
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[-1]) if len(usable) > 1 else (None, None)


def pin(core: int | None) -> None:
    """Keep this process on one core."""
    if core is not None:
        os.sched_setaffinity(0, {core})


class Child:
    """A process that is asked in lines of JSON on its stdin; it ends when its stdin does."""

    def __init__(self, module: str, argument: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(argument)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process; whoever talks to it is cut off."""
        self._process.kill()
        self._process.communicate()

    def starved_seconds(self) -> float:
        """Return how long it has waited for a core that others used; 0.0 where nobody counts."""
        # In nanoseconds: time on a core, time runnable without one, number of turns.
        counts = Path(f"/proc/{self._process.pid}/schedstat")
        return int(counts.read_text().split()[1]) / 1e9 if counts.exists() else 0.0

    def _ask(self, question: Any, seconds: float) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()
        return self._line(seconds)

    def _line(self, seconds: float) -> Any:
        output = self._process.stdout
        assert output is not None
        ready, _, _ = select.select([output], [], [], seconds)
        line = output.readline() if ready else b""
        if not line:
            raise RuntimeError(f"a process of the ladder said nothing within {seconds:.0f} s")
        return json.loads(line)


class Server(Child):
    """One system around one profile of work, in a uvicorn process of its own.

    `port`: where it listens, on 127.0.0.1. Raises RuntimeError when it does not start.
    """

    def __init__(self, system: str, profile: str, limit: int = LIMIT) -> None:
        argument = {"system": system, "profile": profile, "limit": limit, "core": cores()[1]}
        super().__init__("benchmarks._ladder_server", argument)
        self._holder: socket.socket | None = None
        try:
            self.port: int = self._line(START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self._holder is not None:
            self._holder.close()
        super().stop()

    def hold(self) -> None:
        """Take one slot for good."""
        self._holder = socket.create_connection(("127.0.0.1", self.port))
        self._holder.sendall(f"GET {HOLD_PATH} HTTP/1.1\r\nhost: ladder\r\n\r\n".encode())

    def cpu_seconds(self) -> float:
        """Return its user and system time so far."""
        return float(self._ask("cpu", START_SECONDS))


class Load(Child):
    """The generator, see `benchmarks._ladder_load`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ladder-")
        self._answer = Path(self._folder.name) / "answer.json"
        argument = {"core": cores()[0], "answer": str(self._answer)}
        super().__init__("benchmarks._ladder_load", argument)

    def stop(self) -> None:
        super().stop()
        self._folder.cleanup()

    def run(self, job: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Do one job and return what was recorded. Raises RuntimeError after twice the time."""
        self._ask(job, 2 * seconds + START_SECONDS)
        answer: dict[str, Any] = json.loads(self._answer.read_text())
        return answer
