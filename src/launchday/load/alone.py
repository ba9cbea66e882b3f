"""A test in one process: it intends, runs and accounts for everything itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import gevent

from launchday.errors import LaunchdayError
from launchday.load.engine import Engine, Test
from launchday.load.intent import Intent, check_served, check_spawned, intend
from launchday.load.plan import Account
from launchday.record import Schedule

START_DELAY_SECONDS = 1.0
# As in the verdict of a run (launchday.runs.validity): 2 % late, 0.1 % not started.
_MOST_LATE_SHARE = 0.02
_MOST_DROPPED_SHARE = 0.001
_log = logging.getLogger("launchday")


class Alone:
    """Drives the engine of a Locust without workers.

    `user_classes` gives those that serve arrivals; `refuse` ends the test with a sentence.
    """

    def __init__(
        self,
        environment: Any,
        engine: Engine,
        user_classes: Callable[[], list[Any]],
        refuse: Callable[[LaunchdayError], None],
    ) -> None:
        self._environment = environment
        self._engine = engine
        self._user_classes = user_classes
        self._refuse = refuse
        self._intent: Intent | None = None
        self._beginning: gevent.Greenlet | None = None
        self._expected = 0

    def users(self) -> int | None:
        """The size of the pool; None when the test is over, or must not begin."""
        try:
            intent = self._intent or self._intend()
            check_spawned(self._environment.runner)
        except LaunchdayError as error:
            self._refuse(error)
            return None
        if self._engine.over(intent.longest_seconds):
            return None
        return sum(self.per_worker(1).values())

    def per_worker(self, workers: int) -> dict[str, int]:
        """Users of each class."""
        return self._intent.pool(workers, self._user_classes()) if self._intent else {}

    def test_start(self) -> None:
        """Locust begins to spawn users."""
        classes = self._user_classes()
        try:
            check_served(self._intent, classes)
        except LaunchdayError as error:
            self._intent = None
            self._refuse(error)
        if self._intent:
            self._engine.prepare(self._intent.options, self._environment.parsed_options, classes, 0)

    def spawned(self) -> None:
        """All users are there. Locust may say so more than once; the first time counts."""
        if self._beginning is None and self._intent:
            self._beginning = gevent.spawn(self._begin, self._intent)

    def stopping(self) -> None:
        """The test ends; its users are still there."""
        if self._beginning:
            self._beginning.kill()
        self._engine.halt()

    def test_stop(self) -> None:
        """The users are gone."""
        totals, done = self._engine.book.totals, self._engine.pacer.done
        began = self._engine.test is not None
        self._engine.stop()
        if began:
            kept = Account(totals.started, totals.dropped, totals.lost, totals.late)
            say_what_was_kept(kept, self._engine.options.late_after_seconds)
        if began and done and totals.scheduled != self._expected:
            _log.error(
                "launchday: the ledger does not close: %d arrivals were due, %d are accounted for",
                self._expected,
                totals.scheduled,
            )
            self._environment.process_exit_code = 2
        self._intent = self._beginning = None

    def quitting(self) -> None:
        """The process ends; nobody waits for it."""

    def _intend(self) -> Intent:
        self._intent = intent = intend(self._environment, 1)
        say_seed(intent)
        return intent

    def _begin(self, intent: Intent) -> None:
        self._expected = intent.count()
        epoch_unix = time.time() + START_DELAY_SECONDS
        planned = whole_schedule(intent, epoch_unix, self._expected, workers=1)
        epoch = time.perf_counter() + epoch_unix - time.time()
        self._engine.begin(Test(planned, intent.options.mode, epoch))


def whole_schedule(intent: Intent, epoch_unix: float, expected: int, workers: int) -> Schedule:
    """The schedule of a test as a record holds it."""
    return Schedule(
        epoch_unix=epoch_unix,
        duration_seconds=intent.curve.duration_seconds,
        phases=intent.curve.phases,
        points=intent.curve.points,
        expected_arrivals=expected,
        seed=intent.seed,
        request_timeout_seconds=intent.options.request_timeout_seconds,
        late_after_seconds=intent.options.late_after_seconds,
        arrivals_of_all=expected,
        workers=workers,
    )


def say_seed(intent: Intent) -> None:
    """Name a seed that nobody chose: without it the run cannot be repeated."""
    if intent.options.seed is None:
        _log.info(
            "launchday: seed %d was chosen; --seed %d gives the same arrivals", *[intent.seed] * 2
        )


def say_what_was_kept(kept: Account, late_after_seconds: float, workers: int = 0) -> None:
    """One line about all arrivals of a test, and a warning if they were not those of the curve."""
    _log.info(
        "launchday: %d arrivals: %d started (%d of them later than %g ms), %d dropped, %d lost%s",
        kept.total,
        kept.started,
        kept.late,
        late_after_seconds * 1000,
        kept.dropped,
        kept.lost,
        f", by {workers} workers" if workers else "",
    )
    if kept.late > _MOST_LATE_SHARE * kept.total:
        _log.warning(
            "launchday: the generator fell behind: %.1f %% of the arrivals began late, so this was "
            "not the load of the curve; use --processes or more workers, or a lower rate",
            100 * kept.late / kept.total,
        )
    if kept.dropped > _MOST_DROPPED_SHARE * kept.total:
        _log.warning(
            "launchday: %d arrivals found no idle user and were dropped: raise --max-users, or set "
            "--queue-limit",
            kept.dropped,
        )
    if kept.lost:
        _log.warning(
            "launchday: %d arrivals are lost: a worker went away, and nobody can say which of "
            "them it had sent",
            kept.lost,
        )
