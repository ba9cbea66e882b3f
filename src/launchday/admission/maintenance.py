"""Planned maintenance: when the doors close, for whom, and when clients may come back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from random import Random
from typing import Any

from launchday.admission.limits import require_integer
from launchday.metric_names import CRITICALITIES

# What clients are told while a window overruns: nobody knows the end, and asking is cheap.
OVERRUN_GUESS_SECONDS = 30
LONGEST_SPREAD_SECONDS = 3600
LONGEST_SENTENCE = 300
END_OF_YEAR_9999_UNIX = 253402300799


class Phase(StrEnum):
    """Where maintenance is: nothing planned, planned, doors closed, closed beyond the plan."""

    NONE = "none"
    ANNOUNCED = "announced"
    CLOSED = "closed"
    OVERRUN = "overrun"


@dataclass(frozen=True, slots=True)
class MaintenanceWindow:
    """One planned closure, in seconds since 1970 (UTC); closed from the start to before the end.

    - `sentence`: what people read, 1 to 300 characters.
    - `open_classes`: criticalities that are served all the same; default none.
    - `ends_by_itself`: False keeps the doors closed beyond the end until somebody ends it.

    Raises ValueError that names the field, the value and what is allowed.
    """

    starts_at_unix: float
    ends_at_unix: float
    sentence: str
    open_classes: frozenset[str] = frozenset()
    ends_by_itself: bool = True

    def __post_init__(self) -> None:
        _require_time("starts_at_unix", self.starts_at_unix)
        _require_time("ends_at_unix", self.ends_at_unix)
        if self.ends_at_unix <= self.starts_at_unix:
            raise ValueError(
                f"ends_at_unix must be after starts_at_unix ({iso_8601(self.starts_at_unix)}), "
                f"not {iso_8601(self.ends_at_unix)}"
            )
        _require_sentence(self.sentence)
        _require_classes(self.open_classes)
        if not isinstance(self.ends_by_itself, bool):
            raise ValueError(f"ends_by_itself must be True or False, not {self.ends_by_itself!r}")

    def covers(self, now: float) -> bool:
        """Return whether the doors are closed at `now` (seconds since 1970)."""
        return self.starts_at_unix <= now and (now < self.ends_at_unix or not self.ends_by_itself)


@dataclass(frozen=True, slots=True)
class MaintenanceSnapshot:
    """What to show at one moment.

    `window` closes the doors, or is the next that will; `later` are those after it.
    `seconds_left` to its end (closed) or start (announced); None when nobody knows.
    `in_flight`: requests let in while the doors were open and not finished; `draining` while
    the doors are closed and some are left.
    """

    phase: Phase
    window: MaintenanceWindow | None
    later: tuple[MaintenanceWindow, ...]
    seconds_left: float | None
    in_flight: int
    draining: bool


class Maintenance:
    """The windows of one service; give it to `MaintenanceMiddleware`.

    - `clock`: seconds since 1970; it may jump, everything follows from its latest reading.
    - `spread_seconds`: how much later than the end the last client is told to come back, 1 to
      3600 whole seconds; default 10 % of the window, at least 1, at most 60. Everybody in the
      same second would be a surge of the service's own making.
    - `random`: where the spread comes from.

    `windows` are those not ended, in order of start: replaced as a whole, never changed.
    `in_flight` is counted by the middleware. Belongs to one event loop.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        spread_seconds: int | None = None,
        random: Random | None = None,
    ) -> None:
        self.clock = clock
        self.windows: tuple[MaintenanceWindow, ...] = ()
        self.in_flight = 0
        self._random = random or Random()
        if spread_seconds is not None:
            require_integer(
                "spread_seconds", spread_seconds, at_least=1, at_most=LONGEST_SPREAD_SECONDS
            )
        self._spread_seconds = spread_seconds

    def closed_by(self, now: float) -> MaintenanceWindow | None:
        """Return the window that closes the doors at `now`, or None.

        Of two (one overruns into the next) the later one: its end is known.
        """
        for window in reversed(self.windows):
            if window.covers(now):
                return window
        return None

    def retry_after_seconds(self, window: MaintenanceWindow, now: float) -> int:
        """Draw what one refused client is told: never before the end, and not all at once."""
        left_seconds = window.ends_at_unix - now
        # Not `left <= 0`: a clock that says NaN gets the guess too.
        least = math.ceil(left_seconds) if left_seconds > 0 else OVERRUN_GUESS_SECONDS
        return least + int(self._random.random() * (self._spread_of(window) + 1))

    @property
    def phase(self) -> Phase:
        """Where maintenance is now."""
        return self.snapshot().phase

    @property
    def draining(self) -> bool:
        """Whether the doors are closed and work from before is still in flight."""
        return self.in_flight > 0 and self.closed_by(self.clock()) is not None

    def snapshot(self) -> MaintenanceSnapshot:
        """Return everything about this moment, unchangeable."""
        now = self.clock()
        ahead = tuple(window for window in self.windows if now < window.starts_at_unix)
        window = self.closed_by(now)
        if window is None:
            if not ahead:
                return self._snapshot(Phase.NONE, None, (), None)
            left_seconds = ahead[0].starts_at_unix - now
            return self._snapshot(Phase.ANNOUNCED, ahead[0], ahead[1:], left_seconds)
        if now < window.ends_at_unix:
            return self._snapshot(Phase.CLOSED, window, ahead, window.ends_at_unix - now)
        return self._snapshot(Phase.OVERRUN, window, ahead, None)

    def schedule(self, window: MaintenanceWindow) -> None:
        """Announce a window; one whose start has passed closes the doors at once.

        Raises ValueError when it is over already or overlaps another.
        """
        now = self.clock()
        if not now < window.ends_at_unix:
            raise ValueError(f"the window was over at {iso_8601(window.ends_at_unix)}")
        self.replace_windows([*self.windows, window])

    def replace_windows(self, windows: Iterable[MaintenanceWindow]) -> None:
        """Take over windows kept elsewhere, e.g. in a database that several replicas read.

        All or nothing: raises ValueError when two overlap, and then keeps what was there.
        Those that ended by themselves are left out.
        """
        now = self.clock()
        kept = [window for window in windows if window.covers(now) or now < window.ends_at_unix]
        ordered = _require_apart(kept)
        if ordered != self.windows:
            self.windows = ordered

    def extend(self, ends_at_unix: float) -> MaintenanceWindow:
        """Move the end of the window that closes the doors now; return the new window.

        Raises ValueError when the doors are open, when the new end is not later than now and
        the old one, or when it runs into another window.
        """
        now = self.clock()
        window = self._require_closed(now)
        later = replace(window, ends_at_unix=ends_at_unix)
        at_least = max(now, window.ends_at_unix)
        if ends_at_unix <= at_least:
            raise ValueError(
                f"the new end must be after {iso_8601(at_least)}, not {iso_8601(ends_at_unix)}"
            )
        self.windows = _require_apart(
            [later if other is window else other for other in self.windows]
        )
        return later

    def end(self) -> MaintenanceWindow:
        """Open the doors now, early or at last; return the window that closed them.

        A window that overran into it ends too. Raises ValueError when the doors are open.
        """
        now = self.clock()
        window = self._require_closed(now)
        self.windows = tuple(other for other in self.windows if not other.covers(now))
        return window

    def cancel(self, window: MaintenanceWindow) -> None:
        """Withdraw a window that has not begun. Raises ValueError for any other."""
        if window not in self.windows:
            raise ValueError("that window is not planned")
        if window.covers(self.clock()):
            raise ValueError("that window has begun: end it")
        self.windows = tuple(other for other in self.windows if other != window)

    def _spread_of(self, window: MaintenanceWindow) -> int:
        if self._spread_seconds is not None:
            return self._spread_seconds
        length_seconds = window.ends_at_unix - window.starts_at_unix
        return int(min(max(length_seconds / 10, 1), 60))

    def _snapshot(
        self,
        phase: Phase,
        window: MaintenanceWindow | None,
        later: tuple[MaintenanceWindow, ...],
        seconds_left: float | None,
    ) -> MaintenanceSnapshot:
        draining = self.in_flight > 0 and phase in (Phase.CLOSED, Phase.OVERRUN)
        return MaintenanceSnapshot(phase, window, later, seconds_left, self.in_flight, draining)

    def _require_closed(self, now: float) -> MaintenanceWindow:
        window = self.closed_by(now)
        if window is None:
            raise ValueError("no window closes the doors now")
        return window


def iso_8601(unix_seconds: float) -> str:
    """Return the UTC time in whole seconds, rounded up so that nobody comes too early."""
    moment = datetime.fromtimestamp(math.ceil(unix_seconds), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _require_apart(windows: list[MaintenanceWindow]) -> tuple[MaintenanceWindow, ...]:
    ordered = sorted(windows, key=lambda window: window.starts_at_unix)
    for earlier, later in pairwise(ordered):
        if later.starts_at_unix < earlier.ends_at_unix:
            raise ValueError(
                f"maintenance windows must not overlap: {_span(later)} begins before "
                f"{_span(earlier)} ends"
            )
    return tuple(ordered)


def _span(window: MaintenanceWindow) -> str:
    return f"{iso_8601(window.starts_at_unix)} to {iso_8601(window.ends_at_unix)}"


def _require_time(name: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and 0 <= value <= END_OF_YEAR_9999_UNIX):
        raise ValueError(
            f"{name} must be seconds (not milliseconds) since 1970, from 0 to "
            f"{END_OF_YEAR_9999_UNIX}, not {value!r}"
        )


def _require_sentence(value: Any) -> None:
    if not (isinstance(value, str) and value.strip() and len(value) <= LONGEST_SENTENCE):
        shown = repr(value) if len(repr(value)) <= 40 else f"{repr(value)[:40]}…"
        raise ValueError(
            f"sentence must be a text for people of 1 to {LONGEST_SENTENCE} characters, not {shown}"
        )


def _require_classes(value: Any) -> None:
    if not isinstance(value, frozenset) or not value <= frozenset(CRITICALITIES):
        allowed = ", ".join(CRITICALITIES)
        raise ValueError(f"open_classes must be a frozenset of {allowed}, not {value!r}")
