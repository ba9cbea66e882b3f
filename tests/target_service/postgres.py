"""A PostgreSQL server of the tests' own, where its programs are installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from launchday.errors import PreflightError
from launchday.runs.local_database import as_nobody, programs
from tests.ports import free_port

MAX_CONNECTIONS = 100
DEADLINE_SECONDS = 60


class Postgres:
    """A throw-away cluster; a user that is not root runs it, as PostgreSQL demands."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self._programs, self._prefix = programs(), as_nobody(folder)
        except PreflightError as error:
            # A developer's machine need not have PostgreSQL.
            pytest.skip(str(error))
        self.port = free_port()
        self.url = self.url_by(self.port)
        self._run("initdb", "-U", "car", "-A", "trust", "--no-sync", "-D", f"{folder}/data")
        self._server: subprocess.Popen[bytes]
        self._options = ["-p", str(self.port), "-N", str(MAX_CONNECTIONS), "-k", str(folder)]
        self._options += ["-c", "listen_addresses=127.0.0.1"]

    def url_by(self, port: int, database: str = "postgres") -> str:
        """Return the URL of a database of this server as seen through a port."""
        return f"postgresql://car@127.0.0.1:{port}/{database}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._prefix, str(self._programs / program), *arguments]
        with (self._folder / "out").open("a") as out:
            done = subprocess.run(
                command,
                stdout=out,
                stderr=out,
                cwd=self._folder,
                timeout=DEADLINE_SECONDS,
                check=False,
            )
        assert done.returncode == 0, f"{program}: {(self._folder / 'out').read_text()[-300:]}"

    def create(self) -> str:
        """Create one more, empty database; return its name."""
        name = f"car_{uuid.uuid4().hex[:8]}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "car", name)
        return name

    def start(self) -> None:
        """Start it, after a crash as well, and wait until it accepts connections."""
        command = [*self._prefix, f"{self._programs}/postgres", "-D", f"{self._folder}/data"]
        with (self._folder / "log").open("a") as log:
            # Our own child, unlike what pg_ctl starts: one that is killed must be reaped, or its
            # successor takes the zombie for another server on the same files.
            self._server = subprocess.Popen(
                [*command, *self._options], cwd=self._folder, stdout=log, stderr=log
            )
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not self._accepts():
            assert self._server.poll() is None, (self._folder / "log").read_text()[-300:]
            assert time.monotonic() < deadline, "PostgreSQL does not accept connections"
            time.sleep(0.02)

    def _accepts(self) -> bool:
        command = [f"{self._programs}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False, timeout=DEADLINE_SECONDS).returncode == 0

    def stop(self) -> None:
        """Stop it as `pg_ctl stop -m immediate` does: no checkpoint, no farewell."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """SIGKILL; those that it had started notice and end by themselves."""
        self._end(signal.SIGKILL)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self._processes():
            assert time.monotonic() < deadline, "the server's children did not end"
            time.sleep(0.02)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all of its processes where they are, then let them go on."""
        try:
            self._server.send_signal(signal.SIGSTOP)  # first: then it starts no others meanwhile
            while not self._is_stopped(self._server.pid):
                time.sleep(0.001)
            self._signal_all(signal.SIGSTOP)
            while not all(map(self._is_stopped, self._processes())):
                self._signal_all(signal.SIGSTOP)
                time.sleep(0.001)
            yield
        finally:
            self._signal_all(signal.SIGCONT)

    @staticmethod
    def _is_stopped(process: int) -> bool:
        """Whether the signal has arrived: until then a service may still start another one."""
        try:
            stat = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            return True  # it has ended
        return stat.rpartition(")")[2].split()[0] in "TZX"

    def _signal_all(self, number: int) -> None:
        for process in self._processes():
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def _processes(self) -> set[int]:
        links = Path("/proc").glob("[0-9]*/cwd")
        return {int(link.parent.name) for link in links if self._works_here(link)}

    def _end(self, number: int) -> None:
        self._server.send_signal(number)
        self._server.wait(DEADLINE_SECONDS)

    def _works_here(self, link: Path) -> bool:
        try:
            return link.readlink() == self._folder / "data"
        except OSError:
            return False


@contextmanager
def throw_away_postgres() -> Iterator[Postgres]:
    """Run a server of our own; skips where PostgreSQL is not installed."""
    # Not below pytest's own folder: that one is closed to the user that runs the server.
    folder = Path("/tmp") / f"launchday-pg-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    try:
        server = Postgres(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
