"""A PostgreSQL of the run's own, from the programs of this machine: made, started, thrown away."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from launchday.errors import PreflightError
from launchday.runs.processes import Processes, free_port
from launchday.runs.stop import Stop

PORT = 5432
_HINT = (
    "install PostgreSQL (the programs initdb and postgres on PATH), or name a database of yours: "
    "local.database_url in launchday.toml, or LAUNCHDAY_LOCAL__DATABASE_URL"
)
_INSTALLED = Path("/usr/lib/postgresql")  # Debian keeps them off PATH
_MOST_CONNECTIONS = 100  # as in compose: six replicas of the reference backend
_NOBODY = 65534
_INIT_SECONDS = 60.0


@contextmanager
def throw_away_postgresql(processes: Processes, stop: Stop) -> Iterator[str]:
    """Start a server on a free port of 127.0.0.1; yield its URL. Its files go with the block.

    It is durable like any other (fsync is on). It runs as nobody if this process is root, since
    PostgreSQL refuses to be root.

    Raises:
        PreflightError: its programs are not here, or it did not start.
    """
    folder_of_programs = programs()
    folder = Path(tempfile.mkdtemp(prefix="launchday-postgresql-"))
    try:
        prefix = as_nobody(folder)
        _initialise(processes, [*prefix, str(folder_of_programs / "initdb")], folder, stop)
        port = free_port(0, "PostgreSQL", "")
        command = [*prefix, str(folder_of_programs / "postgres"), "-D", str(folder / "data")]
        options = ["-p", str(port), "-k", str(folder), "-N", str(_MOST_CONNECTIONS)]
        options += ["-c", "listen_addresses=127.0.0.1"]
        server = processes.start("postgresql", [*command, *options], env=_environment())
        processes.wait_until(server, lambda: _accepts(port), stop)
        try:
            yield f"postgresql://car@127.0.0.1:{port}/postgres"
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def through(url: str, port: int) -> str:
    """`url` of a database, through a port of 127.0.0.1. Raises PreflightError: many hosts."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}{at}127.0.0.1:{port}").geturl()


def address_of(url: str) -> str:
    """HOST:PORT of a PostgreSQL URL.

    Raises:
        PreflightError: it names none, or many.
    """
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port or PORT
    except ValueError:
        host, port = None, 0
    if not host or "," in parts.netloc:
        # Not the URL itself: it may hold a password.
        raise PreflightError(
            "local.database_url must be like postgresql://USER@HOST:PORT/NAME, with one host"
        )
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def programs() -> Path:
    """The folder of PostgreSQL's programs. Raises PreflightError: none is found."""
    found = shutil.which("initdb")
    folders = sorted(_INSTALLED.glob("*/bin"), reverse=True)
    for folder in [*([Path(found).resolve().parent] if found else []), *folders]:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise PreflightError(f"the experiment needs the link 'database', and so PostgreSQL: {_HINT}")


def as_nobody(folder: Path) -> list[str]:
    """What a command begins with that must not be root, and give `folder` to who it is then.

    Raises PreflightError: this process is root, and there is no setpriv.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise PreflightError(
            f"PostgreSQL does not run as root, and there is no setpriv to be another user: {_HINT}"
        )
    os.chown(folder, _NOBODY, _NOBODY)
    return [setpriv, f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]


def _initialise(processes: Processes, initdb: list[str], folder: Path, stop: Stop) -> None:
    # --no-sync: what initdb writes need not survive a power cut, what the server writes does.
    command = [*initdb, "-U", "car", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
    child = processes.start("initdb", [*command, "-D", str(folder / "data")], env=_environment())
    processes.wait_until(child, lambda: child.exit_code == 0, stop, deadline_seconds=_INIT_SECONDS)


def _environment() -> dict[str, str]:
    # PGDATA, PGPORT and the like are about another server.
    return {key: value for key, value in os.environ.items() if not key.startswith("PG")}


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2.0).close()
    except OSError:
        return False
    return True
