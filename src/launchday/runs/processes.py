"""Child processes on a leash: started with a log, watched, ended in order."""

from __future__ import annotations

import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from launchday.errors import PreflightError
from launchday.runs import leash
from launchday.runs.stop import Stop

_OPEN_FILES = 10_240  # as many as macOS gives without a change to the system
_SELDOM_USED_PORTS = range(20_000, 32_000)
_STOP_SECONDS = leash.GRACE_SECONDS + 3.0


@dataclass
class Child:
    """One running command. `log` holds what it printed."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def running(self) -> bool:
        """Whether the command still runs."""
        return self.process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The command's exit code, None while it runs."""
        return self.process.poll()

    def last_words(self) -> str:
        """The last line that it printed which is not blank."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        words = [line.strip() for line in lines if line.strip()]
        return words[-1] if words else "it printed nothing"

    def stop(self) -> None:
        """End the command: SIGTERM, then SIGKILL after 5 s. Harmless when it has ended."""
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Processes:
    """Children of one run, ended last-started-first when the `with` block is left."""

    logs: Path
    children: list[Child] = field(default_factory=list)

    def start(
        self, name: str, command: list[str], *, env: Mapping[str, str], cwd: Path | None = None
    ) -> Child:
        """Start a command; what it prints goes to `<logs>/<name>.log`."""
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{name}.log"
        with log.open("wb") as output, _signals_blocked():
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", leash.__file__, *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        child = Child(name, log, process)
        self.children.append(child)
        return child

    def wait_until(
        self, child: Child, ready: Callable[[], bool], stop: Stop, *, deadline_seconds: float = 30.0
    ) -> None:
        """Poll until `ready()`.

        Raises:
            PreflightError: the child ended or the deadline passed; with its last words.
        """
        deadline = time.monotonic() + deadline_seconds
        while not ready():
            if not child.running:
                raise PreflightError(f"{child.name} did not start: {child.last_words()}")
            if time.monotonic() > deadline:
                raise PreflightError(
                    f"{child.name} was not ready within {deadline_seconds:.0f} s: "
                    f"{child.last_words()} (log: {child.log})"
                )
            stop.wait(0.1)

    def __enter__(self) -> Processes:
        _allow_open_files()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for child in reversed(self.children):
            child.stop()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """What is started inside inherits the mask: Ctrl-C must not end a leash before it ignores it.

    Until `setsid` the new process is in the terminal's group, and Python takes a while to start.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, leash.SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _allow_open_files() -> None:
    """Raise this process's soft limit of open files; children inherit it.

    A surge opens more connections than the 1024 (Linux) or 256 (macOS) that a shell allows.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def free_port(wanted: int, purpose: str, setting: str) -> int:
    """A port on 127.0.0.1 that can be listened on: `wanted`, or any if that is 0.

    Raises:
        PreflightError: `wanted` is taken.
    """
    if wanted == 0:
        return any_free_port()
    check_port(wanted, purpose, f"set {setting} in launchday.toml (0 picks a free one)")
    return wanted


def check_port(port: int, purpose: str, remedy: str) -> None:
    """Raise PreflightError unless one can listen on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PreflightError(
                f"port {port} for {purpose} is taken ({error.strerror}); stop what listens there "
                f"or {remedy}"
            ) from error


def any_free_port() -> int:
    """A port on 127.0.0.1 that nobody uses, and that no outgoing connection is given meanwhile.

    The system would pick one of those that it gives to outgoing connections (from 32768 on Linux,
    from 49152 on macOS): before anybody listens on it, it may be one's own port of a connection.
    """
    for port in random.sample(_SELDOM_USED_PORTS, len(_SELDOM_USED_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise PreflightError(
        f"no port of 127.0.0.1 from {_SELDOM_USED_PORTS.start} to {_SELDOM_USED_PORTS.stop - 1} "
        "can be listened on"
    )
