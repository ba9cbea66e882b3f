"""What a run may leave behind, on disk before it is injected: one file for each lease.

The files are in `$XDG_STATE_HOME/launchday/leases` (default ~/.local/state), so that `launchday
chaos clear` finds what a run broke when its conductor and its janitor are both gone.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from launchday.errors import PreflightError, ToxiproxyError

OUR_PREFIX = "launchday-"
QUIET_SECONDS = 5.0
DOUBT_SECONDS = 30.0
_LOOPBACK = ("0.0.0.0", "::", "::1")


class CanUndo(Protocol):
    """What taking a fault back needs of a Toxiproxy; both raise ToxiproxyError."""

    def set_enabled(self, proxy: str, enabled: bool) -> object:
        """Listen, or refuse."""

    def remove_toxic(self, proxy: str, name: str) -> object:
        """Remove a toxic; one that is gone is fine."""


@dataclass(frozen=True)
class Undo:
    """How to take one fault back: remove `toxic` from `link`, or enable the link when None.

    `words` name the fault in the log of the run.
    """

    link: str
    toxic: str | None
    words: str = ""

    def __call__(self, toxiproxy: CanUndo) -> None:
        """Do it; harmless when it is already done. Raises ToxiproxyError.

        A proxy that is gone has taken its faults with it.
        """
        try:
            if self.toxic is None:
                toxiproxy.set_enabled(self.link, True)
            else:
                toxiproxy.remove_toxic(self.link, self.toxic)
        except ToxiproxyError as error:
            if error.status != 404:
                raise


@dataclass(frozen=True)
class LeaseState:
    """One lease: on which Toxiproxy, how to undo it, and what the janitor must know.

    `seconds` is how long the janitor waits for a beat; `log` is faults.jsonl of the run, or empty;
    `owned`: the Toxiproxy ends with the conductor; `experiment`: its title, for the log. The
    janitor stays until nothing of this was there for `quiet_seconds`, or for `doubt_seconds` when
    a request that breaks something was not answered and may still arrive.
    """

    url: str
    undos: tuple[Undo, ...]
    seconds: float
    log: str = ""
    owned: bool = False
    experiment: str = ""
    quiet_seconds: float = QUIET_SECONDS
    doubt_seconds: float = DOUBT_SECONDS


@dataclass(frozen=True)
class FoundLease:
    """A lease file; `is_held` says whether its conductor lives."""

    path: Path
    state: LeaseState
    is_held: bool

    def disables(self, link: str) -> bool:
        """Whether one of its faults takes `link` down."""
        return any(undo.link == link and undo.toxic is None for undo in self.state.undos)


def directory() -> Path:
    """Where the lease files of this user are."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "launchday" / "leases"


@contextmanager
def written(state: LeaseState) -> Iterator[Path]:
    """Write `state` to a file that is locked for as long as this process lives.

    It stays when the block is left: whoever undoes the faults removes it. Raises PreflightError
    when it cannot be written.
    """
    folder = directory()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Readable by nobody else: a password may be in the URL.
        descriptor, name = tempfile.mkstemp(suffix=".json", prefix="lease-", dir=folder)
        try:
            _write(descriptor, state)
        except OSError:
            os.close(descriptor)
            os.unlink(name)
            raise
    except OSError as error:
        raise PreflightError(
            f"cannot write to {folder} ({error.strerror}), where leases are noted so that no "
            "fault is left behind; set XDG_STATE_HOME to a directory that can be written"
        ) from error
    try:
        yield Path(name)
    finally:
        os.close(descriptor)


def _write(descriptor: int, state: LeaseState) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    undos = [(undo.link, undo.toxic, undo.words) for undo in state.undos]
    data = json.dumps({**vars(state), "undos": undos, "pid": os.getpid()}).encode()
    while data:
        data = data[os.write(descriptor, data) :]


def read(path: Path) -> LeaseState:
    """What `written` wrote. Raises OSError or ValueError."""
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        undos = tuple(Undo(*undo) for undo in values["undos"])
        return LeaseState(
            values["url"],
            undos,
            float(values["seconds"]),
            values["log"],
            values["owned"],
            values.get("experiment", ""),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is no lease") from error


def found(url: str) -> list[FoundLease]:
    """The leases on the Toxiproxy at `url`; files that are none are passed over."""
    leases = []
    for path in sorted(directory().glob("lease-*.json")):
        with suppress(OSError, ValueError):
            state = read(path)
            if same_server(state.url, url):
                leases.append(FoundLease(path, state, _is_held(path)))
    return leases


def same_server(one: str, other: str) -> bool:
    """Whether two URLs name one API: `http://localhost:80/` is `http://127.0.0.1`.

    Compares scheme, port, path and what the hosts resolve to; user and password do not count.
    """
    if _place(one)[1:] != _place(other)[1:]:
        return False
    host, same = _place(one)[0], _place(other)[0]
    return host == same or not _resolved(host).isdisjoint(_resolved(same))


def _place(url: str) -> tuple[str, str, int, str]:
    parts = urlsplit(url)
    default = 443 if parts.scheme == "https" else 80
    port = default if parts.port is None else parts.port
    return parts.hostname or "", parts.scheme, port, parts.path.rstrip("/")


def _resolved(host: str) -> set[str]:
    try:
        infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return {host}
    addresses = {str(info[4][0]) for info in infos}
    return {"127.0.0.1" if address in _LOOPBACK else address for address in addresses}


def remove(leases: Sequence[Path]) -> None:
    """Forget leases whose faults are undone."""
    for path in leases:
        path.unlink(missing_ok=True)


def _is_held(path: Path) -> bool:
    with path.open() as file:
        try:
            # Shared: another reader must not look like a conductor.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
