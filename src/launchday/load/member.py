"""A worker of a distributed test: lives, tells the master so, and runs what the plans give it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gevent

from launchday import __version__
from launchday.errors import LaunchdayError
from launchday.load import messages
from launchday.load.arrivals import Arrival
from launchday.load.clock import CommonClock
from launchday.load.engine import Engine, Test
from launchday.load.intent import check_spawned, check_targets
from launchday.load.options import checked
from launchday.load.plan import Account, Plans
from launchday.record import schedule_from_json

_TICK_SECONDS = 0.25
_AT_ONCE = 5_000
_HANDOVER_SECONDS = 3.0
_log = logging.getLogger("launchday")


class Member:
    """Drives the engine of a Locust worker.

    `user_classes` gives those that serve arrivals; `refuse` ends this process with a sentence;
    `send` tells the master something.
    """

    def __init__(
        self,
        environment: Any,
        engine: Engine,
        user_classes: Callable[[], list[Any]],
        refuse: Callable[[LaunchdayError], None],
        send: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._environment = environment
        self._engine = engine
        self._user_classes = user_classes
        self._refuse = refuse
        self._send = send
        self._runner = environment.runner
        self._clock = CommonClock()
        self._plans = Plans()
        self._joining: gevent.Greenlet | None = None
        self._running = self._leaving = False
        self._final = True  # nothing to report before a test
        engine.reported = self._report
        listeners = {
            messages.TOCK: self._hear_time,
            messages.TEST: self._hear_test,
            messages.PLAN: self._hear_plan,
            messages.HALT: self._hear_halt,
            messages.REFUSED: self._hear_refusal,
        }
        for name, listener in listeners.items():
            self._runner.register_message(name, _with_data(listener))
        gevent.spawn(self._tick)

    def users(self) -> int | None:
        """The master sizes the pool."""
        return None

    def per_worker(self, workers: int) -> dict[str, int]:
        """The master sizes the pool."""
        return {}

    def test_start(self) -> None:
        """The master has users for us."""
        self._running = self._final = False
        namespace = self._environment.parsed_options
        try:
            options = checked(namespace)
            check_targets(self._environment, options)
        except LaunchdayError as error:
            self._say_no(error)
            return
        number = self._runner.worker_index
        self._engine.prepare(options, namespace, self._user_classes(), number)

    def spawned(self) -> None:
        """The master begins, not we."""

    def stopping(self) -> None:
        """The test ends; its users are still there."""
        self._end()

    def test_stop(self) -> None:
        """The users are gone."""
        self._end()
        self._engine.stop()
        self._running = False

    def quitting(self) -> None:
        """The process was asked to end: serve until the others have taken over.

        Not when the test ends anyway, and not longer than that takes, if the master is silent.
        """
        if not self._running or self._final:
            return
        self._leaving = True
        self._send(messages.LEAVING, {})
        deadline = time.perf_counter() + _HANDOVER_SECONDS
        while not self._final and time.perf_counter() < deadline and not self._handed_over():
            gevent.sleep(0.02)
        schedule = self._engine.test and self._engine.test.schedule
        deadline = time.perf_counter() + (schedule.request_timeout_seconds if schedule else 0.0)
        while not self._engine.pacer.quiet and time.perf_counter() < deadline:
            gevent.sleep(0.02)
        self._end()

    def _handed_over(self) -> bool:
        end = self._plans.end_of(self._runner.client_id)
        return end is not None and (self._engine.pacer.done or self._engine.pacer.next_index >= end)

    def _tick(self) -> None:
        while True:
            tick = {
                "version": __version__,
                "asked": time.perf_counter(),
                "users": self._runner.user_count,
                "runs": self._running,
                "number": self._runner.worker_index,
            }
            self._send(messages.TICK, tick)
            if self._running and not self._leaving and self._is_over():
                self._end()
            try:
                check_spawned(self._runner)
            except LaunchdayError as error:
                self._say_no(error)
                return
            gevent.sleep(_TICK_SECONDS)

    def _say_no(self, error: LaunchdayError) -> None:
        self._send(messages.REFUSED, {"words": str(error)})
        self._refuse(error)

    def _is_over(self) -> bool:
        return self._engine.pacer.done and self._engine.pacer.quiet

    def _hear_time(self, data: dict[str, Any]) -> None:
        self._clock.heard(data["asked"], time.perf_counter(), data["now"])

    def _hear_test(self, data: dict[str, Any]) -> None:
        if self._running or self._joining:
            return
        schedule = schedule_from_json(data["schedule"])
        self._plans = messages.plans_from_message(data["plans"])
        me = self._runner.client_id
        share = _share(self._plans, me, schedule.arrivals_of_all or 0)
        test = Test(
            replace(schedule, expected_arrivals=share),
            data["mode"],
            self._clock.here(data["epoch"]),
        )
        self._joining = gevent.spawn(self._begin, test)

    def _begin(self, test: Test) -> None:
        arrivals = test.arrivals()
        me = self._runner.client_id
        if not any(me in plan.members for plan in self._plans.plans):
            # Who joins owns nothing before its plan; who is there from the first arrival on must
            # not forget one, however late it hears of it.
            arrivals = _continued(self._pass_over(arrivals, test.epoch), arrivals)
        self._engine.begin(
            test,
            is_mine=lambda index: self._plans.owner(index) == me,
            arrivals=arrivals,
        )
        self._running = True
        self._joining = None

    def _pass_over(self, arrivals: Iterator[Arrival], epoch: float) -> Arrival | None:
        """The first arrival that is still to come; lets others run while it looks for it."""
        for number, arrival in enumerate(arrivals):
            if arrival.due_seconds >= time.perf_counter() - epoch:
                return arrival
            if number % _AT_ONCE == 0:
                gevent.sleep(0)
        return None

    def _hear_plan(self, data: dict[str, Any]) -> None:
        plan = messages.plan_from_message(data)
        if plan.first_index < self._engine.pacer.next_index:
            _log.error(
                "launchday: a plan came too late: it begins with arrival %d, %d is running",
                plan.first_index,
                self._engine.pacer.next_index,
            )
        self._plans = self._plans.followed_by(plan)

    def _hear_halt(self, data: dict[str, Any]) -> None:
        gevent.spawn(self._halt)

    def _halt(self) -> None:
        """Let what was begun end first: the master prints its statistics after our last report."""
        if self._joining:
            self._joining.kill()
        self._engine.halt()
        test = self._engine.test
        deadline = time.perf_counter() + (test.schedule.request_timeout_seconds if test else 0.0)
        while not self._engine.pacer.quiet and time.perf_counter() < deadline:
            gevent.sleep(0.02)
        self._end()

    def _hear_refusal(self, data: dict[str, Any]) -> None:
        self._refuse(LaunchdayError(data["words"]))

    def _end(self) -> None:
        if self._joining:
            self._joining.kill()
            self._joining = None
        if not self._final:
            self._final = True
            self._engine.halt()
            # Else Locust's own come when the master may have printed what it knows.
            self._runner._send_stats()
            self._send(messages.REPORT, {"accounts": [], "final": True})

    def _report(self, accounts: dict[int, Account]) -> None:
        if accounts:
            rows = messages.accounts_to_message(accounts)
            self._send(messages.REPORT, {"accounts": rows, "final": False})


def _share(plans: Plans, member: str, arrivals: int) -> int:
    """How many arrivals the first plan gives a member; 0 for one that joins later."""
    members = plans.plans[0].members if plans.plans else ()
    if member not in members:
        return 0
    return len(range(members.index(member), arrivals, len(members)))


def _continued(first: Arrival | None, rest: Iterator[Arrival]) -> Iterator[Arrival]:
    if first is not None:
        yield first
        yield from rest


def _with_data(listener: Callable[[dict[str, Any]], None]) -> Callable[..., None]:
    def heard(environment: Any, msg: Any) -> None:
        listener(msg.data)

    return heard
