"""The master of a distributed test: makes the plans, notices who is gone, closes the ledger."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gevent

from launchday import __version__
from launchday.errors import LaunchdayError, PreflightError, RecordError
from launchday.load import messages
from launchday.load.alone import (
    START_DELAY_SECONDS,
    say_seed,
    say_what_was_kept,
    whole_schedule,
)
from launchday.load.arrivals import schedule
from launchday.load.intent import Intent, check_served, intend
from launchday.load.lost import accounts_in, record_lost
from launchday.load.plan import Account, Plan, Planner
from launchday.record import Schedule, schedule_to_json

_WATCH_SECONDS = 0.1
_SILENT_SECONDS = 0.7
_READY_SECONDS = 20.0
# A worker that has more to do than it can answers late, and has more to say than others.
_REPORT_SECONDS = 20.0
_BUSY_SECONDS = 4.0
_log = logging.getLogger("launchday")


@dataclass
class _Worker:
    """What the master knows of a worker. `silent_seconds` since it was last heard."""

    name: str
    number: int
    silent_seconds: float = 0.0
    users: int = 0
    runs: bool = False
    told: bool = False
    leaving: bool = False
    final: bool = False


class Master:
    """Drives the workers of one Locust master.

    `user_classes` gives those that serve arrivals; `refuse` ends the test with a sentence; `send`
    tells a worker something.
    """

    def __init__(
        self,
        environment: Any,
        user_classes: Callable[[], list[Any]],
        refuse: Callable[[LaunchdayError], None],
        send: Callable[[str, dict[str, Any], str], None],
    ) -> None:
        self._environment = environment
        self._runner = environment.runner
        self._user_classes = user_classes
        self._refuse = refuse
        self._send = send
        self._workers: dict[str, _Worker] = {}
        self._refused: set[str] = set()
        self._intent: Intent | None = None
        self._beginning: gevent.Greenlet | None = None
        self._schedule: Schedule | None = None
        self._epoch = 0.0  # its start, on our perf_counter: a test must not jump with the clock
        self._planner: Planner | None = None
        listeners: dict[str, Callable[[str, dict[str, Any]], None]] = {
            messages.TICK: self._hear_tick,
            messages.REPORT: self._hear_report,
            messages.LEAVING: self._hear_leaving,
            messages.REFUSED: self._hear_refusal,
        }
        for name, listener in listeners.items():
            self._runner.register_message(name, _with_sender(listener))
        gevent.spawn(self._watch)

    def users(self) -> int | None:
        """The size of the pool; None when the test is over, or must not begin."""
        workers = max(1, len(self._connected()))
        if self._intent is None:
            try:
                self._intent = intend(self._environment, workers)
            except LaunchdayError as error:
                self._refuse(error)
                return None
            say_seed(self._intent)
        if self._over(self._intent):
            return None
        return workers * sum(self.per_worker(workers).values())

    def per_worker(self, workers: int) -> dict[str, int]:
        """Users of each class of one of so many workers."""
        if self._intent is None:
            return {}
        try:
            return self._intent.pool(workers, self._user_classes())
        except LaunchdayError:  # fewer workers than the test began with: the most that is allowed
            return self._intent.pool(
                self._schedule.workers if self._schedule else workers, self._user_classes()
            )

    def test_start(self) -> None:
        """Locust begins to have users spawned."""
        try:
            check_served(self._intent, self._user_classes())
        except LaunchdayError as error:
            self._intent = None
            self._refuse(error)

    def spawned(self) -> None:
        """All users are there. Locust may say so more than once; the first time counts."""
        if self._beginning is None and self._intent:
            self._beginning = gevent.spawn(self._begin, self._intent)

    def stopping(self) -> None:
        """The test ends: the last reports are collected and the ledger is closed."""
        if self._beginning and not self._beginning.ready():
            self._beginning.kill()
        if self._schedule and self._planner and self._intent:
            self._conclude(self._schedule, self._planner, self._intent)
        self._schedule = self._planner = None

    def test_stop(self) -> None:
        """The workers were told to stop."""
        self._intent = self._beginning = None

    def quitting(self) -> None:
        """The process ends; Locust stops the test."""

    @property
    def _now_seconds(self) -> float:
        return time.perf_counter() - self._epoch

    def _connected(self) -> list[str]:
        clients = self._runner.clients
        every = [*clients.ready, *clients.spawning, *clients.running]
        return [client.id for client in every if client.id not in self._refused]

    def _over(self, intent: Intent) -> bool:
        if self._schedule is None or self._planner is None:
            return False
        after = self._now_seconds - self._schedule.duration_seconds
        patience = intent.longest_seconds + intent.options.request_timeout_seconds
        there = [self._workers[name] for name in self._planner.members]
        return after > 0 and (all(worker.final for worker in there) or after > patience + 1)

    def _begin(self, intent: Intent) -> None:
        expected = intent.count()
        members = self._wait_until_ready(sum(self.per_worker(len(self._connected())).values()))
        if members is None:
            return
        self._epoch = time.perf_counter() + START_DELAY_SECONDS
        epoch_unix = time.time() + START_DELAY_SECONDS
        self._schedule = whole_schedule(intent, epoch_unix, expected, workers=len(members))
        options = intent.options
        self._planner = Planner(schedule(intent.curve, seed=intent.seed, mode=options.mode))
        self._planner.begin(members)
        for name in members:
            self._tell_test(self._workers[name])

    def _wait_until_ready(self, users: int) -> list[str] | None:
        """The workers in order, once all of them have their users and our version."""
        deadline = time.perf_counter() + _READY_SECONDS
        while True:
            connected = self._connected()
            slow = [
                name
                for name in connected
                if name not in self._workers or self._workers[name].users < users
            ]
            if connected and not slow:
                for name in connected:
                    self._workers[name] = replace(self._workers[name], leaving=False, final=False)
                    self._workers[name].told = self._workers[name].runs = False
                return sorted(connected, key=lambda name: self._workers[name].number)
            if time.perf_counter() > deadline:
                words = ", ".join(slow) or "none came"
                self._refuse(
                    PreflightError(
                        f"not all workers were ready within {_READY_SECONDS:.0f} s ({words}): they "
                        f"must run launchday {__version__} and the same scenario"
                    )
                )
                return None
            gevent.sleep(_WATCH_SECONDS)

    def _tell_test(self, worker: _Worker) -> None:
        assert self._schedule is not None
        assert self._planner is not None
        assert self._intent is not None
        worker.told = True
        test = {
            "schedule": schedule_to_json(self._schedule),
            "epoch": self._epoch,
            "mode": self._intent.options.mode,
            "plans": messages.plans_to_message(self._planner.plans),
        }
        self._send(messages.TEST, test, worker.name)

    def _hear_tick(self, name: str, data: dict[str, Any]) -> None:
        if name in self._refused:
            return
        if data["version"] != __version__:
            self._refused.add(name)
            words = (
                f"worker {name} runs launchday {data['version']}, the master {__version__}: it "
                "takes no part; install the same version on both"
            )
            _log.error("launchday: %s", words)
            self._send(messages.REFUSED, {"words": words}, name)
            return
        worker = self._workers.setdefault(name, _Worker(name, data["number"]))
        worker.silent_seconds = 0.0
        worker.users, worker.runs = data["users"], data["runs"]
        self._send(messages.TOCK, {"asked": data["asked"], "now": time.perf_counter()}, name)

    def _hear_report(self, name: str, data: dict[str, Any]) -> None:
        worker = self._workers.get(name)
        if self._planner and worker:
            self._planner.report(name, messages.accounts_from_message(data["accounts"]))
            worker.final = worker.final or data["final"]

    def _hear_leaving(self, name: str, data: dict[str, Any]) -> None:
        if name in self._workers:
            self._workers[name].leaving = True
            self._follow_members()

    def _hear_refusal(self, name: str, data: dict[str, Any]) -> None:
        self._refuse(PreflightError(f"worker {name}: {data['words']}"))

    def _watch(self) -> None:
        last = time.perf_counter()
        while True:
            gevent.sleep(_WATCH_SECONDS)
            now = time.perf_counter()
            # While we stood still, nobody can have been heard: that is not their silence.
            passed = min(now - last, 2 * _WATCH_SECONDS)
            last = now
            for worker in self._workers.values():
                worker.silent_seconds += passed
            self._follow_members()

    def _follow_members(self) -> None:
        """Make a new plan if somebody came or went."""
        if self._schedule is None or self._planner is None:
            return
        now_seconds = self._now_seconds
        self._planner.settle(now_seconds)
        members = tuple(
            worker.name
            for worker in sorted(self._workers.values(), key=lambda each: each.number)
            if self._takes_part(worker, self._planner.members)
        )
        before = self._planner.members
        if members != before:
            plan = self._planner.change(members, now_seconds)
            self._say_who_changed(before, plan)
            for worker in self._workers.values():
                if worker.told:
                    self._send(messages.PLAN, messages.plan_to_message(plan), worker.name)

    def _takes_part(self, worker: _Worker, members: tuple[str, ...]) -> bool:
        if worker.silent_seconds > _SILENT_SECONDS or worker.leaving:
            return False
        if not worker.told and worker.users and worker.name in self._connected():
            self._tell_test(worker)
        # A member may not have heard yet that the test begins.
        return worker.told and (worker.runs or worker.name in members)

    def _say_who_changed(self, before: tuple[str, ...], plan: Plan) -> None:
        for name in sorted(set(before) ^ set(plan.members)):
            worker = self._workers[name]
            gone = "leaves" if worker.leaving else "is silent: counted as gone"
            what = gone if name in before else "takes part"
            words = "launchday: worker %d %s from arrival %d on"
            _log.info(words, worker.number, what, plan.first_index)

    def _conclude(self, planned: Schedule, planner: Planner, intent: Intent) -> None:
        self._collect()
        now_seconds = self._now_seconds
        complete = now_seconds >= planned.duration_seconds
        planner.settle(math.inf if complete else now_seconds)
        took_part = {name for plan in planner.plans.plans for name in plan.members}
        final = {name for name in took_part if self._workers[name].final}
        try:
            lost = self._lost(planned, planner, intent.options.record, took_part - final)
        except RecordError as error:
            self._fail(str(error))
            return
        # Of a test that was stopped each worker has its own last moment.
        apart = planner.missing(final) if complete else {}
        apart |= {second: count for second, count in lost.items() if count < 0}
        if apart:
            words = "the ledger does not close: reports are not what the plans say in the seconds"
            self._fail(f"{words} {', '.join(map(str, sorted(apart)))}")
        kept = planner.reported().plus(Account(lost=sum(lost.values())))
        say_what_was_kept(kept, intent.options.late_after_seconds, len(took_part))

    def _lost(
        self, planned: Schedule, planner: Planner, record: Path | None, gone: set[str]
    ) -> dict[int, int]:
        """What nobody can account for, by second; it is recorded."""
        for name in gone:
            # Its last report may be older than what it wrote, if it wrote here.
            accounts = accounts_in(record, self._workers[name].number, planned)
            if accounts is not None:
                planner.replace(name, accounts)
        lost = planner.missing([None, *gone])
        record_lost(record, planned, lost)
        return lost

    def _fail(self, words: str) -> None:
        _log.error("launchday: %s", words)
        self._environment.process_exit_code = 2

    def _collect(self) -> None:
        """Have everybody stop, and wait for their last reports."""
        open_ = [w for w in self._workers.values() if w.told and not w.final]
        for worker in open_:
            self._send(messages.HALT, {}, worker.name)
        deadline = time.perf_counter() + _REPORT_SECONDS
        while time.perf_counter() < deadline and any(
            not worker.final and worker.silent_seconds <= _BUSY_SECONDS for worker in open_
        ):
            gevent.sleep(0.02)


def _with_sender(listener: Callable[[str, dict[str, Any]], None]) -> Callable[..., None]:
    def heard(environment: Any, msg: Any) -> None:
        listener(msg.node_id, msg.data)

    return heard
