"""The ledger of a run: what clients were told, what the target stored, what the cars executed.

ledger-<worker>.jsonl, by the generator: each request that carried an Idempotency-Key, whatever
became of it; a retry is another line with the same key. The last line says how many there are.

    {"key", "endpoint", "unix", "outcome", "status": 0 if there was no answer, "id", "state"}
    {"kind": "end", "lines": n}

stored.jsonl, by the conductor once the load is over: its own first line, then what the target
answered to `GET /admin/ledger?since_unix=…`, whole; or one line that says why it is missing.

    {"kind": "asked", "since_unix", "exclusive": whether nobody else used the target}
    {"kind": "stored", "what": "reservation", "command" or another noun, "key", "id",
     "state": of a command}
    {"kind": "executed", "key", "vin", "command"}
    {"kind": "end", "lines": n, without the first and the last}
    {"kind": "missing", "reason"}

`key` is null for what came of a request without one. Any service can be audited that answers so;
only a thing called "command" must also be executed, and only if its state is "done".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import Any

from launchday.errors import RecordError
from launchday.record import SAMPLES_GLOB, read_lines

LEDGER_GLOB = "ledger-*.jsonl"
STORED_FILE = "stored.jsonl"


@dataclass(frozen=True, slots=True)
class Told:
    """What one request with a key was told: `status` 0 is no answer, `id` and `state` of a 2xx."""

    key: str
    endpoint: str
    outcome: str
    status: int
    id: str | None = None
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """One thing that the target stored because of a request with this key."""

    what: str
    key: str
    id: str
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Executed:
    """One command that a car executed because of a request with this key."""

    key: str
    vin: str
    command: str


@dataclass
class Ledger:
    """Both sides of a run. What has no key belongs to no request and is only counted.

    `exclusive`: nobody but the generator used the target. `told_missing` and `stored_missing` say
    in words why a side is not whole, and are None if it is.
    """

    told: list[Told] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    executed: list[Executed] = field(default_factory=list)
    without_key: int = 0
    exclusive: bool = False
    told_missing: str | None = None
    stored_missing: str | None = None


def read_ledger(run: Path) -> Ledger:
    """Read both sides from a run directory, also from one whose run was killed.

    Raises:
        RecordError: a file cannot be read, or is damaged before its last line.
    """
    ledger = Ledger()
    try:
        ledger.told_missing = _read_told(run, ledger)
        ledger.stored_missing = _read_stored(run, ledger)
    except OSError as error:
        raise RecordError(f"cannot read the ledger in {run}: {error}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        words = f"{type(error).__name__}: {error}"
        raise RecordError(f"the ledger in {run} is damaged: {words}") from error
    return ledger


def _read_told(run: Path, ledger: Ledger) -> str | None:
    paths = sorted(run.glob(LEDGER_GLOB))
    if not paths:
        return "the generator kept no ledger"
    broken = [path.name for path in paths if not _read_worker(path, ledger)]
    if broken:
        return f"the generator was killed before {broken[0]} was whole"
    workers = len(list(run.glob(SAMPLES_GLOB)))
    if len(paths) < workers:
        return f"only {len(paths)} of {workers} generator processes kept a ledger"
    return None


def _read_worker(path: Path, ledger: Ledger) -> bool:
    """Add what one worker noted; whether its last line says that nothing is missing."""
    for count, line in enumerate(read_lines(path)):
        if line.get("kind") == "end":
            return bool(line["lines"] == count)
        ledger.told.append(_told(line))
    return False


def _told(line: Mapping[str, Any]) -> Told:
    state = line["state"]
    return Told(
        str(line["key"]),
        intern(str(line["endpoint"])),
        intern(str(line["outcome"])),
        int(line["status"]),
        text_or_none(line["id"]),
        None if state is None else intern(str(state)),
    )


def text_or_none(value: object) -> str | None:
    """An identifier or a state as text; a number is one too, anything else is none."""
    is_one = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value) if is_one else None


def _read_stored(run: Path, ledger: Ledger) -> str | None:
    count = 0
    for line in read_lines(run / STORED_FILE):
        kind = line["kind"]
        if kind == "missing":
            return str(line["reason"])
        if kind == "asked":
            ledger.exclusive = bool(line["exclusive"])
            continue
        if kind == "end":
            whole = line["lines"] == count
            return None if whole else "the target's ledger has not as many lines as its end says"
        count += 1
        _add(ledger, line)
    if count:
        return "the target's ledger breaks off before its end"
    return "the run ended before the target was asked what it stored"


def _add(ledger: Ledger, line: Mapping[str, Any]) -> None:
    key = text_or_none(line["key"])
    if key is None:
        ledger.without_key += 1
    elif line["kind"] == "stored":
        state = text_or_none(line.get("state"))
        ledger.stored.append(
            Stored(intern(str(line["what"])), key, str(line["id"]), state and intern(state))
        )
    elif line["kind"] == "executed":
        ledger.executed.append(Executed(key, str(line["vin"]), intern(str(line["command"]))))
