"""The state of one process that runs arrivals: pacer, books, and the once-a-second work."""

from __future__ import annotations

import gc
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gevent

from launchday.errors import RecordError
from launchday.load.arrivals import Arrival, Lots, Mode, schedule
from launchday.load.breath import Breath
from launchday.load.health import Health
from launchday.load.ledger_book import LedgerBook
from launchday.load.options import Options
from launchday.load.pacer import Pacer
from launchday.load.plan import Account
from launchday.load.recorder import Recorder
from launchday.load.samples import Follower, SampleBook
from launchday.load.timer import Timer, best_timer
from launchday.record import Schedule

_log = logging.getLogger("launchday")
_CLASSES, _JOURNEYS = 1, 2  # what lots are for
_SETTLE_SECONDS = 0.5


@dataclass(frozen=True)
class Test:
    """A test that begins: its schedule, and `epoch`, its start on this time.perf_counter()."""

    schedule: Schedule
    mode: Mode
    epoch: float

    def arrivals(self) -> Iterator[Arrival]:
        """The whole schedule."""
        return schedule(self.schedule.curve, seed=self.schedule.seed, mode=self.mode)


class Engine:
    """Runs arrivals in one process; one test after the other, as the web UI starts them.

    `failed` is called when the record cannot be written: nothing may go on then.
    """

    def __init__(self, failed: Callable[[RecordError], None], recorder: Recorder) -> None:
        self._failed = failed
        self._recorder = recorder
        self._greenlets: list[gevent.Greenlet] = []
        self._timer: Timer | None = None
        self._journeys: dict[tuple[int, int], Lots] = {}
        self.options: Any = None
        self.test: Test | None = None
        self.reported: Callable[[dict[int, Account]], None] | None = None
        self.follower: Follower | None = None
        self.book = SampleBook()
        self.ledger = LedgerBook()
        self.health = Health()
        self.pacer = Pacer(self.book, 1.0)
        self.kinds: list[str] = []
        self.key_prefix = ""

    def prepare(
        self, options: Options, namespace: Any, user_classes: Sequence[Any], worker: int
    ) -> None:
        """Start anew: users may park from now on.

        `namespace` is the whole command line, for scenarios; `user_classes` are those that serve
        arrivals, `worker` is the number of this process in the names of its files.
        """
        self.book.close()
        self.ledger.close()
        path = options.record and options.record / f"samples-{worker}.jsonl"
        if path and path.exists():
            _log.warning("launchday: %s holds a test already; this one is not recorded", path)
            path = None
        self.options = namespace
        self.book = SampleBook(path, Breath())
        if self.follower:
            self.book.follow(self.follower)
        self.ledger = LedgerBook(path and path.with_name(f"ledger-{worker}.jsonl"))
        self._recorder.keep(
            self.book.cells,
            options.objective_seconds,
            self.ledger,
            unanswered=self.health.failed,
        )
        self.key_prefix = secrets.token_hex(8)
        classes = sorted(user_classes, key=lambda each: str(each.__name__))
        self.kinds = [each.__name__ for each in classes]
        self._weights = [float(each.weight) for each in classes]
        self._journeys.clear()
        self.test = None
        self.pacer = Pacer(
            self.book,
            options.late_after_seconds,
            queue_limit=options.queue_limit,
            kinds=len(classes),
        )

    def begin(
        self,
        test: Test,
        *,
        is_mine: Callable[[int], bool] | None = None,
        arrivals: Iterator[Arrival] | None = None,
    ) -> None:
        """Write the schedule and hand out arrivals from its epoch on.

        `is_mine`: see Pacer.run; `arrivals`: what is left of the schedule, for one that joins.
        """
        self.test = test
        try:
            self.ledger.begin()
            self.book.begin(test.schedule)
        except RecordError as error:
            self._failed(error)
            return
        self._timer = best_timer()
        if self._timer.kind != "timerfd":
            _log.warning("launchday: no timerfd here: arrivals start 1 ms and more too late")
        # Thousands of parked users live as long as the test: a full collection that looks at them
        # again and again stops the pacer for 100 ms and more.
        gc.collect()
        gc.freeze()
        self.health.start()
        lots = Lots(self._weights, seed=test.schedule.seed, purpose=_CLASSES)
        self._greenlets = [
            gevent.spawn(
                self.pacer.run,
                arrivals or test.arrivals(),
                test.epoch,
                self._timer,
                kind_of=lots.of,
                is_mine=is_mine,
            ),
            gevent.spawn(self._flush_every_second),
        ]

    def journey(self, kind: int, journeys: int, index: int) -> int:
        """Which of its class's journeys (a task of weight 3 is three) arrival `index` runs."""
        if journeys == 1:
            return 0
        lots = self._journeys.get((kind, journeys))
        if lots is None:
            assert self.test is not None
            seed = self.test.schedule.seed
            lots = Lots([1.0] * journeys, seed=seed, purpose=_JOURNEYS + kind)
            self._journeys[kind, journeys] = lots
        return lots.of(index)

    @property
    def seed(self) -> int:
        """Of the test that runs; 0 before it has begun."""
        return self.test.schedule.seed if self.test else 0

    @property
    def now_seconds(self) -> float:
        """Since the start of the schedule; 0 before it has begun."""
        return time.perf_counter() - self.test.epoch if self.test else 0.0

    def over(self, longest_seconds: float) -> bool:
        """Whether the schedule is over and every journey ended, or had time enough to."""
        if self.test is None:
            return False
        after = self.now_seconds - self.test.schedule.duration_seconds
        ended = self.pacer.done and self.pacer.quiet
        patience = longest_seconds + self.test.schedule.request_timeout_seconds
        return after > 0 and (ended or after > patience)

    def halt(self) -> None:
        """Hand out nothing more; what was on its way to a user arrives, and is reported."""
        if self.test is None or self.pacer.stopped:
            return
        gevent.killall(self._greenlets)
        self.pacer.stop()
        deadline = time.perf_counter() + _SETTLE_SECONDS
        while self.pacer.waking and time.perf_counter() < deadline:
            gevent.sleep(0.001)
        self._flush()

    def stop(self) -> None:
        """End the test, once its users are gone: what was counted is written."""
        if self.test is None:
            return
        self.halt()
        self.health.stop()
        gc.unfreeze()
        if self._timer:
            self._timer.close()
            self._timer = None
        self._flush()
        try:
            self.book.end()
            self.ledger.end()
        except RecordError as error:
            self._failed(error)
        self.test = None

    def _flush_every_second(self) -> None:
        while True:
            gevent.sleep(1.0)
            if not self._flush(sampled=True):
                return

    def _flush(self, *, sampled: bool = False) -> bool:
        try:
            self._recorder.fold()
            # Together with what the book writes first: what a process that is killed has said
            # should be what is in its record.
            accounts = self.pacer.take_accounts()
            if self.reported:
                self.reported(accounts)
            arrivals = self.book.flush()
            self.ledger.flush()
            if sampled:
                self.book.health(self.health.sample(self.now_seconds, arrivals))
        except RecordError as error:
            self._failed(error)
            return False
        return True
