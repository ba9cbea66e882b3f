"""What an administrator may ask for: JSON in, JSON out, and errors that say what is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from launchday.admission.limits import (
    AIMDLimit,
    ElasticLimit,
    FixedLimit,
    Gradient2Limit,
    Limit,
    VegasLimit,
    require_integer,
)
from launchday.admission.maintenance import Maintenance, MaintenanceWindow, iso_8601
from launchday.admission.middleware import LoadSheddingMiddleware
from launchday.admission.modes import parse_mode
from launchday.admission.shared import SharedLimit
from launchday.admission.snapshot import snapshot

# More is a slip of the finger: no process has that many requests in flight.
LARGEST_LIMIT = 100_000
LEAST_FLOOR = 4
LEAST_CEILING = 1000

Document = dict[str, Any]
Wanted = Mapping[str, Any]

_LEARNING = {kind.algorithm: kind for kind in (AIMDLimit, VegasLimit, Gradient2Limit, ElasticLimit)}
ALGORITHMS = (FixedLimit.algorithm, *_LEARNING)


class Conflict(ValueError):
    """Nothing is wrong with what was asked for, but it does not fit how things are now."""


def describe_shedder(shedder: LoadSheddingMiddleware) -> Document:
    """Return the state of the shedder in this process, and which process that is."""
    return {"pid": os.getpid(), **snapshot(shedder)}


def change_shedder(shedder: LoadSheddingMiddleware, wanted: Wanted) -> None:
    """Set `mode`, `algorithm` or `limit`. All or nothing.

    `limit` is requests in flight, 1 to 100 000; without `algorithm` the limit is fixed at it.
    Another `algorithm` starts from `limit`, by default the present one. A limit that learns keeps
    floor and ceiling of the one before, if that learnt too; its other settings are defaults.
    Raises Conflict when the limit is shared with other processes, ValueError for all else.
    """
    _require_members(wanted, optional=("mode", "algorithm", "limit"))
    if not wanted:
        raise ValueError("nothing to change: give mode, algorithm or limit")
    mode = parse_mode(wanted.get("mode", shedder.mode))
    present = shedder.limiter.limit
    if wanted.keys() == {"mode"}:
        shedder.configure(mode=mode)
        return
    if isinstance(present, SharedLimit):
        raise Conflict("the limit is shared with other processes: change it where it is made")
    algorithm = _algorithm(wanted)
    if "limit" not in wanted and algorithm == present.algorithm:
        # What it has learnt is worth more than a new beginning.
        shedder.configure(mode=mode)
        return
    shedder.configure(
        mode=mode, limit=lambda now: _limit(algorithm, wanted.get("limit", now), present)
    )


def describe_maintenance(maintenance: Maintenance) -> Document:
    """Return what is planned, where it is now, and what is still in flight in this process."""
    now = maintenance.snapshot()
    return {
        "pid": os.getpid(),
        "phase": now.phase,
        "window": None if now.window is None else _described(now.window),
        "later": [_described(window) for window in now.later],
        "seconds_left": now.seconds_left,
        "in_flight": now.in_flight,
        "draining": now.draining,
    }


def schedule_maintenance(maintenance: Maintenance, wanted: Wanted) -> None:
    """Announce a window: the fields of `MaintenanceWindow`, its times in ISO 8601 with a zone.

    Raises Conflict when it is over already or overlaps another, ValueError when it is no window.
    """
    _require_members(
        wanted,
        required=("starts_at", "ends_at", "sentence"),
        optional=("open_classes", "ends_by_itself"),
    )
    window = MaintenanceWindow(
        _unix_seconds("starts_at", wanted["starts_at"]),
        _unix_seconds("ends_at", wanted["ends_at"]),
        wanted["sentence"],
        _open_classes(wanted.get("open_classes", [])),
        wanted.get("ends_by_itself", True),
    )
    _or_conflict(maintenance.schedule, window)


def extend_maintenance(maintenance: Maintenance, wanted: Wanted) -> None:
    """Move the end of the window that closes the doors now to a later `ends_at`.

    Raises Conflict when that cannot be, ValueError when it is no time.
    """
    _require_members(wanted, required=("ends_at",))
    _or_conflict(maintenance.extend, _unix_seconds("ends_at", wanted["ends_at"]))


def end_maintenance(maintenance: Maintenance, wanted: Wanted) -> None:
    """Open the doors now; with `starts_at` withdraw the window that is to begin then instead.

    `starts_at` as `describe_maintenance` shows it. Raises Conflict when there is no such window,
    ValueError for any other member.
    """
    _require_members(wanted, optional=("starts_at",))
    if not wanted:
        _or_conflict(maintenance.end)
        return
    starts_at = wanted["starts_at"]
    for window in maintenance.windows:
        if iso_8601(window.starts_at_unix) == starts_at:
            _or_conflict(maintenance.cancel, window)
            return
    raise Conflict(f"no window is planned to start at {starts_at!r}")


def _algorithm(wanted: Wanted) -> str:
    algorithm = wanted.get("algorithm", FixedLimit.algorithm)
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm must be one of {', '.join(ALGORITHMS)}, not {algorithm!r}")
    return algorithm


def _limit(algorithm: str, number: Any, present: Limit) -> Limit:
    number = require_integer("limit", number, at_least=1, at_most=LARGEST_LIMIT)
    if algorithm == FixedLimit.algorithm:
        return FixedLimit(number)
    return _LEARNING[algorithm](
        initial=number,
        floor=min(number, getattr(present, "floor", LEAST_FLOOR)),
        ceiling=max(number, getattr(present, "ceiling", LEAST_CEILING)),
    )


def _described(window: MaintenanceWindow) -> Document:
    return {
        "starts_at": iso_8601(window.starts_at_unix),
        "ends_at": iso_8601(window.ends_at_unix),
        "sentence": window.sentence,
        "open_classes": sorted(window.open_classes),
        "ends_by_itself": window.ends_by_itself,
    }


def _require_members(
    wanted: Wanted, *, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()
) -> None:
    missing = [name for name in required if name not in wanted]
    unknown = [name for name in wanted if name not in required + optional]
    if missing or unknown:
        allowed = ", ".join(required + optional)
        wrong = f"{unknown[0]!r} is not known" if unknown else f"{missing[0]} is missing"
        raise ValueError(f"{wrong}: the members are {allowed}")


def _unix_seconds(name: str, value: Any) -> float:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(
            f"{name} must be a time with its zone, e.g. '2026-12-01T03:00:00Z', not {value!r}"
        )
    return moment.timestamp()


def _open_classes(value: Any) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"open_classes must be a list of criticalities, not {value!r}")
    return frozenset(value)


def _or_conflict(change: Any, *arguments: Any) -> None:
    try:
        change(*arguments)
    except ValueError as error:
        raise Conflict(str(error)) from None
