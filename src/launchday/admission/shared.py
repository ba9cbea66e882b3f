"""One limit for all workers of a machine: several processes, one bottleneck."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from launchday.admission.limits import (
    FixedLimit,
    Limit,
    LimitChange,
    Outcome,
    require_integer,
)
from launchday.admission.shared_rows import (
    INFLIGHT,
    LIMIT_WORD,
    MOST_ROWS,
    NEXT_WORD,
    ROW_BYTES,
    Rows,
    prepare,
)

FIRST_WAIT_SECONDS = 0.02
RETRY_SECONDS = 1.0

_log = logging.getLogger("launchday")
_all: WeakSet[SharedLimit] = WeakSet()


class SharedLimit:
    """A limit that all workers of a machine keep together, through one small mapped file.

    With L the limit of all and i_k what worker k has in flight, worker w may have::

        max(1, L - sum(i_k for k != w) - (1 if another worker is next, else 0))

    So a lone busy worker uses all of L. Each worker keeps one slot so that it always gets on, and
    two that decide within the same microsecond do not see each other: the sum may pass L by one
    for each other worker (by one request: by its cost). A worker that hits the limit for longer
    than a tick while it has less than L / workers says that it is next, and gets the next slot.
    Without that, who has slots keeps them, because its own queue is the first to know that one is
    free. Simulated with 85 % of three times the capacity at one of four workers, L of 8 to 100
    and queues of 0.1 s: the others get 95 % of theirs admitted (without: 17 to 90 %, by chance)
    at 97 % utilisation or more (95 % without queues).

    One worker, the leader, teaches `limit` with the sum in flight; the others use what it found.
    After its death the lowest worker leads and goes on from the number that was in force.

    A worker has a row of 64 bytes in the file: process, start of the process, heartbeat, in
    flight. `kill -9` leaves it behind; the others look for a process that has been silent for
    0.5 s and free the row when it is gone. A worker whose loop is merely blocked keeps its slots.
    A fork gets a row of its own. A worker that finds all rows taken, or the file unusable, goes
    on alone with L / (workers + 1), says so once in the log and tries again each second.

    `path`: a file of mode 0600 that this user alone uses, best below /run or /dev/shm. Made when
    missing; made anew when left by another version or number of `workers` that nobody uses any
    more; the workers must share a process table (one machine, or one container). `workers`: rows,
    1 to 1024, the same for all. Row and lead are taken at the first use, not at construction.
    Raises ValueError that names the argument, the value and what is allowed (a symlink, a file
    of another user or mode, or not one of ours, is refused), TimeoutError when another process
    keeps the lock of the file. Nothing is raised later.

    Source: per-process slots of `prometheus_client` multiprocess mode and nginx `limit_conn`
    zones for the idea of shared counts; liveness by number and start of the process as in
    psutil `Process.is_running`.
    """

    def __init__(
        self,
        limit: Limit,
        *,
        path: str | os.PathLike[str],
        workers: int = 32,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(limit, Limit):
            raise ValueError(f"limit must have algorithm, limit and on_sample, not {limit!r}")
        self.inner = limit
        self._path = _require_path(path)
        self._workers = require_integer("workers", workers, at_least=1, at_most=MOST_ROWS)
        self._clock = clock
        self._inner_limit = max(1, limit.limit)
        self._inflight = 0
        self._part = self._part_alone()
        self._closed = self._warned = self._unused = False
        self._stand_alone()
        prepare(self._path, self._workers)
        _all.add(self)

    @property
    def algorithm(self) -> str:
        """That of the limit that is shared."""
        return self.inner.algorithm

    @property
    def limit(self) -> int:
        """What this worker may have in flight now; at least 1."""
        if self._rows is None:
            if self._unused:
                self._join(self._clock(), FIRST_WAIT_SECONDS)
            if self._rows is None:
                return max(1, self._part)
        header = self._header
        next_up = header[NEXT_WORD]
        free = header[LIMIT_WORD] - sum(self._counts) + self._own[INFLIGHT]
        if next_up and next_up != self._number:
            free -= 1
        if free <= self._inflight:
            self._want_more(next_up)
        return max(1, free)

    @property
    def total_inflight(self) -> int:
        """Requests in flight in all workers."""
        return self._inflight if self._rows is None else sum(self._rows.inflight)

    @property
    def live_workers(self) -> int:
        """Workers that have a row, this one included; 1 when it stands alone."""
        return 1 if self._rows is None else self._rows.living

    def publish(self, inflight: int) -> None:
        """Tell the others what this worker has in flight; after every change, before the next."""
        if self._next_up and inflight > self._inflight:
            self._let_go()
        self._inflight = inflight
        self._own[INFLIGHT] = inflight

    def tick(self, now: float) -> None:
        """Heartbeat, rows of the dead, and the lead: every 0.1 s or so."""
        if self._closed:
            return
        if self._rows is not None and not self._rows.is_ours():
            self._stand_alone()
        if self._rows is None:
            if now >= self._join_at:
                self._join(now, 0.0)
            return
        self._rows.beat(now)
        self._rows.reclaim(now)
        self._keep_up(self._rows, now)

    def on_sample(
        self, seconds: float, inflight: int, outcome: Outcome, now: float
    ) -> LimitChange | None:
        """In the leader: teach the limit with what all have in flight, and publish the result."""
        rows = self._rows
        if rows is None or not self._leads:
            return None
        others = sum(rows.inflight) - self._own[INFLIGHT]
        change = self.inner.on_sample(seconds, inflight + others, outcome, now)
        if change is None:
            return None
        published, wanted = self._spread()
        return None if published == wanted else LimitChange(published, wanted, change.reason)

    def close(self) -> None:
        """Free the row, for good; what is in flight is no longer counted."""
        if self._rows is not None:
            self._rows.give_back()
        self._closed = True
        self._stand_alone()

    def _stand_alone(self) -> None:
        self._rows: Rows | None = None
        # What `publish` writes to while there is no row: no branch on the request path.
        self._own = self._counts = self._header = memoryview(bytearray(ROW_BYTES)).cast("q")
        self._leads = self._next_up = self._wanted = self._wanted_before = False
        self._number = 0
        self._join_at = -math.inf
        self._unused = not self._closed

    def _want_more(self, next_up: int) -> None:
        if self._wanted_before and not next_up and 0 < self._inflight < self._part:
            # Two may do so at once: the later store wins, and it is a courtesy, not a permit.
            self._header[NEXT_WORD] = self._number
            self._next_up = True
        self._wanted = True

    def _let_go(self) -> None:
        self._next_up = False
        if self._header[NEXT_WORD] == self._number:
            self._header[NEXT_WORD] = 0

    def _part_alone(self) -> int:
        return max(1, self._inner_limit // (self._workers + 1))

    def _join(self, now: float, wait_seconds: float) -> None:
        self._unused = False
        self._join_at = now + RETRY_SECONDS
        try:
            rows = Rows.claim(
                self._path,
                self._workers,
                limit=self._inner_limit,
                now=now,
                wait_seconds=wait_seconds,
            )
        except BlockingIOError:
            self._join_at = now
        except (OSError, ValueError) as error:
            self._warn(error)
        else:
            self._settle(rows)

    def _settle(self, rows: Rows | None) -> None:
        if rows is None:
            self._part = self._part_alone()
            self._warn(f"all {self._workers} rows are taken by live workers")
            return
        self._rows = rows
        self._number = rows.index + 1
        self._own, self._counts, self._header = rows.own, rows.inflight, rows.header
        self._part = self._header[LIMIT_WORD] // max(1, rows.living)
        self.publish(self._inflight)

    def _keep_up(self, rows: Rows, now: float) -> None:
        self._part = self._header[LIMIT_WORD] // max(1, rows.living)
        if self._next_up and not self._wanted:
            self._let_go()
        self._wanted_before, self._wanted = self._wanted, False
        self._leads = rows.leads(now)
        if self._leads:
            self._spread()

    def _spread(self) -> tuple[int, int]:
        published, old = self._header[LIMIT_WORD], self._inner_limit
        new = self._inner_limit = max(1, self.inner.limit)
        learns = not isinstance(self.inner, FixedLimit)
        self._header[LIMIT_WORD] = follow(published, old, new) if learns else new
        return published, self._header[LIMIT_WORD]

    def _warn(self, reason: object) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "this worker sheds alone, with a limit of %d, and keeps trying to share the one "
                "in %r: %s",
                self._part,
                self._path,
                reason,
            )

    def _forget(self) -> None:
        self._stand_alone()
        self._inflight = 0


def follow(published: int, old: int, new: int) -> int:
    """Return what to publish when the limit of the leader went from `old` to `new` requests.

    A leader that has just taken over knows less than what is `published`: until it has grown
    that far its growth changes nothing, and it shrinks the published number by the same factor.
    """
    published = max(published, old)
    return max(published, new) if new >= old else max(1, published * new // old)


def _require_path(path: Any) -> str:
    if isinstance(path, str | os.PathLike):
        name = os.fspath(path)
        if isinstance(name, str) and name and "\0" not in name:
            return os.path.abspath(name)
    raise ValueError(f"path must be the name of a file, not {path!r}")


def _after_fork() -> None:
    for limit in _all:
        limit._forget()


os.register_at_fork(after_in_child=_after_fork)
