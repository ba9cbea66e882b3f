"""The options that every scenario has: defined once, checked before any load is sent."""

from __future__ import annotations

import math
import os
import resource
from argparse import Namespace, _ArgumentGroup
from dataclasses import dataclass
from pathlib import Path

from launchday.errors import SettingsError
from launchday.load.arrivals import MODES, Mode

YOURS_VARIABLE = "LAUNCHDAY_ALLOW_PUBLIC_TARGET"
HOW_TO_ALLOW = "with --allow-public-target {host} (or " + YOURS_VARIABLE + "={host})"
# What the process needs besides its users: files, the event loop, the way to the master.
_OTHER_FILES = 100


@dataclass(frozen=True)
class Options:
    """What the command line says of arrivals; `seed` and `max_users` are None if it says nothing.

    `queue_limit`: arrivals that may wait for a user, in each process; the others are dropped.
    `yours`: hosts beyond loopback and private networks that may be loaded.
    """

    seed: int | None
    mode: Mode
    objective_seconds: float
    request_timeout_seconds: float
    late_after_seconds: float
    queue_limit: int
    max_users: int | None
    record: Path | None
    yours: tuple[str, ...]


def add_options(group: _ArgumentGroup) -> None:
    """Add them to a parser."""
    group.add_argument("--seed", help="same seed, same arrivals (default: one is chosen and said)")
    group.add_argument("--arrivals", choices=MODES, default="poisson")
    group.add_argument("--objective-seconds", type=float, default=0.5, help="2xx later is slow")
    group.add_argument(
        "--request-timeout-seconds", type=float, default=1.0, help="patience of a client"
    )
    group.add_argument(
        "--late-after-seconds", type=float, default=0.01, help="a later start counts as late"
    )
    group.add_argument(
        "--queue-limit", type=int, default=0, help="arrivals that may wait for a user (default 0)"
    )
    group.add_argument(
        "--max-users", help="users in each process (default: as many as it may open sockets)"
    )
    group.add_argument("--launchday-record", default="", help="directory for the samples")
    group.add_argument(
        "--metrics-port", type=int, help="serve /metrics here; worker i on port + i; 0: any"
    )
    group.add_argument(
        "--metrics-host", default="127.0.0.1", help="address of --metrics-port (default 127.0.0.1)"
    )
    group.add_argument(
        "--allow-public-target",
        default=os.environ.get(YOURS_VARIABLE, ""),
        help="hosts outside loopback and private networks that are yours to load, by comma",
    )


def checked(options: Namespace) -> Options:
    """The options of the command line or of the web UI, which gives numbers as text.

    Raises:
        SettingsError: one of them makes no sense.
    """
    if options.arrivals not in MODES:
        raise SettingsError(f"--arrivals is {options.arrivals!r}: it must be one of {MODES}")
    yours = str(options.allow_public_target).split(",")
    record = Path(options.launchday_record) if options.launchday_record else None
    if record and not record.is_dir():
        raise SettingsError(f"--launchday-record is {str(record)!r}: there is no such directory")
    return Options(
        seed=_whole(options.seed, "--seed", None),
        mode=options.arrivals,
        objective_seconds=_seconds(options, "objective_seconds"),
        request_timeout_seconds=_seconds(options, "request_timeout_seconds"),
        late_after_seconds=_seconds(options, "late_after_seconds"),
        queue_limit=_whole(options.queue_limit, "--queue-limit", 0) or 0,
        max_users=_whole(options.max_users, "--max-users", 1),
        record=record,
        yours=tuple(host.strip() for host in yours if host.strip()),
    )


def _seconds(options: Namespace, name: str) -> float:
    given = getattr(options, name)
    try:
        seconds = float(given)
    except (TypeError, ValueError):
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        flag = "--" + name.replace("_", "-")
        raise SettingsError(f"{flag} is {given!r}: it must be a number of seconds above 0")
    return seconds


def _whole(given: object, flag: str, least: int | None) -> int | None:
    if given is None or given == "":
        return None
    try:
        number = int(str(given))
    except ValueError:
        number = None
    if number is None or (least is not None and number < least):
        bound = "" if least is None else f" of {least} or more"
        raise SettingsError(f"{flag} is {given!r}: it must be a whole number{bound}")
    return number


def sockets_limit() -> int | None:
    """How many users of this process can have a connection (`ulimit -n`); None: any number."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else max(1, soft - _OTHER_FILES)
