"""Runs the launchday command as a user does, and looks for what it left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
LAUNCHDAY = [sys.executable, "-m", "launchday"]

EXPERIMENT = """
from launchday.chaos.experiment import Experiment, latency

EXPERIMENT = Experiment(
    title="Slow gateway, short",
    description="For tests.",
    faults=(latency("gateway", latency_ms=300),),
    phase="peak",
    after_seconds=2,
    duration_seconds={duration_seconds},
)
"""

# Small enough for a busy machine: 2 slots of 50 ms are 40 requests per second.
SMALL = {"LAUNCHDAY_LOCAL__SLOTS": "2"}
SHORT = [
    *("-p", "baseline_rps=15"), *("-p", "multiple=8"), *("-p", "quiet_seconds=5"),
    *("-p", "rise_seconds=1"), *("-p", "peak_seconds=8"), *("-p", "decay_seconds=1"),
    *("-p", "tail_seconds=7"),
]  # fmt: skip


def environment(**extra: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("TOXIPROXY_URL",)}
    clean = {k: v for k, v in clean.items() if not k.startswith(("LAUNCHDAY_", "LOCUST_"))}
    return clean | SMALL | extra


def launchday(
    *arguments: str, cwd: Path = ROOT, preexec_fn: Callable[[], None] | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*LAUNCHDAY, *arguments],
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        preexec_fn=preexec_fn,
    )


def start(*arguments: str, cwd: Path = ROOT, **env: str) -> subprocess.Popen[str]:
    """Start a command in a session of its own, as a terminal would."""
    return subprocess.Popen(
        [*LAUNCHDAY, *arguments],
        cwd=cwd,
        env=environment(**env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def processes_mentioning(text: str) -> list[str]:
    """Command lines and environments of live processes that hold `text` (Linux only)."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            words = (directory / "cmdline").read_bytes() + (directory / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in words and int(directory.name) != os.getpid():
            found.append(words.split(b"\0LS_COLORS")[0].decode(errors="replace")[:200])
    return found


def wait_for(condition: Callable[[], object], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)


def interrupt(process: subprocess.Popen[str], number: int) -> str:
    """Send a signal as a terminal does, to the whole group, and return what was printed."""
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=60)
    return output


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True


@contextmanager
def somebody_elses_service() -> Iterator[str]:
    """A service that knows nothing of launchday: answers 200 to everything."""
    server = _Server(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
