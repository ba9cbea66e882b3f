"""Locust with open arrivals: the user, the shape and the wiring; the one module importing locust.

A scenario is a Locust file with one `SurgeShape` (whose `curve` says who comes when) and one or
more `ArrivalUser` classes (whose tasks are the journeys). Everything else of Locust stays: tasks
and weights, `self.client`, events, the web UI, `--headless`, `--processes`, master and workers.
"""

from __future__ import annotations

import logging
import random
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache, partial
from typing import Any, ClassVar, Protocol, cast
from weakref import WeakKeyDictionary

import gevent
from locust import LoadTestShape, User, argument_parser, events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import RescheduleTask, RescheduleTaskImmediately, RPCError
from locust.runners import STATE_INIT, MasterRunner, WorkerRunner

from launchday.errors import LaunchdayError
from launchday.load.alone import Alone
from launchday.load.arrivals import Arrival, random_for
from launchday.load.curves import RateCurve
from launchday.load.engine import Engine
from launchday.load.exporter import start_exporter
from launchday.load.http import HttpClient
from launchday.load.intent import check_scenario
from launchday.load.master import Master
from launchday.load.member import Member
from launchday.load.options import add_options
from launchday.load.pacer import Started
from launchday.load.pool import PoolDispatcher
from launchday.load.recorder import CONTEXT_KEY, Recorder
from launchday.load.retry import GaveUp
from launchday.outcomes import Outcome

__all__ = ["ArrivalUser", "SurgeShape"]

_log = logging.getLogger("launchday")
# So high that Locust waits for nothing: the dispatcher of the pool has a pace of its own.
_SPAWN_RATE = 100.0


class Driver(Protocol):
    """What runs the tests of this process: alone, as a master, or as a worker."""

    def users(self) -> int | None: ...
    def per_worker(self, workers: int) -> dict[str, int]: ...
    def test_start(self) -> None: ...
    def spawned(self) -> None: ...
    def stopping(self) -> None: ...
    def test_stop(self) -> None: ...
    def quitting(self) -> None: ...


class SurgeShape(LoadTestShape):
    """Owns the arrival curve and sizes the pool of users that serve it.

    Subclass it once in a scenario and define `curve(options)`. The number of users never shapes
    the load: all of them are spawned before the first arrival, enough that none is missing even
    if every request of every journey takes the full time limit.
    """

    abstract = True
    requests_per_journey: ClassVar[int] = 1
    """Requests that the longest journey makes, for the size of the pool."""

    def curve(self, options: Namespace) -> RateCurve:
        """The arrival curve for the parsed command line."""
        raise NotImplementedError

    def targets(self, options: Namespace) -> Iterable[str]:
        """URLs that journeys load besides `--host`: refused before the test if they are not ours.

        Define it if the scenario makes clients of its own. Raises ValueError for wrong options.
        """
        return ()

    def tick(self) -> tuple[int, float] | None:
        """What Locust asks every second: how many users, or None at the end."""
        users = _drivers[cast(Any, self).runner.environment].users()
        return None if users is None else (users, _SPAWN_RATE)


_drivers: WeakKeyDictionary[Environment, Driver] = WeakKeyDictionary()
_engines: WeakKeyDictionary[Environment, Engine] = WeakKeyDictionary()


class ArrivalUser(User):
    """A user that runs one journey for each arrival that it is handed.

    Tasks are journeys. Which user class an arrival goes to (by `weight`) and which journey it runs
    are seeded functions of its index, the same on every worker. `self.arrival` is the arrival,
    `self.random` its own randomness. `criticality` maps the name of an endpoint (the `name` of a
    request) to one of the four classes. A task that is a TaskSet keeps its user until it is
    interrupted, and each task in it takes an arrival.
    """

    abstract = True
    criticality: ClassVar[Mapping[str, str]] = {}
    _taskset_instance: Any  # Locust's

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.engine = _engines[environment]
        self.client = HttpClient(
            self.host or environment.host or "",
            Recorder.of(environment),
            self,
            timeout_seconds=float(self.engine.options.request_timeout_seconds),
        )
        self.started: Started | None = None
        self.journeys = list(self.tasks)
        self._kind = self.engine.kinds.index(type(self).__name__)
        # Locust would draw the journey from the global random state; ours belongs to the arrival.
        self.tasks = [ArrivalUser._run_journeys]
        self._random: random.Random | None = None

    @property
    def arrival(self) -> Arrival:
        """The arrival that this user runs."""
        return cast(Started, self.started).arrival

    @property
    def random(self) -> random.Random:
        """The arrival's own randomness, the same on whichever worker runs it."""
        if self._random is None:
            self._random = random_for(self.engine.seed, self.arrival)
        return self._random

    def on_start(self) -> None:
        """Wait for the first arrival before the first journey."""
        self.wait()

    def wait_time(self) -> float:
        """Block until an arrival is due, then start at once."""
        self._leave_arrival()
        # Locust sleeps for what this returns: a turn of the event loop even for 0 s.
        self._taskset_instance._sleep = _do_not_sleep
        self.started = self.engine.pacer.next(self._kind)
        return 0.0

    def _run_journeys(self) -> None:
        # One task for all arrivals: to Locust's loop each task is as dear as half a request. It
        # gets its turn after an exception, and for what somebody has scheduled.
        taskset = self._taskset_instance
        if self.started is None:  # the scenario's own on_start did not wait
            self.wait()
        while True:
            self._run_journey(taskset)
            if taskset._task_queue:
                return
            taskset.wait()

    def _run_journey(self, taskset: Any) -> None:
        choices = self.journeys
        journey = choices[self.engine.journey(self._kind, len(choices), self.arrival.index)]
        try:
            taskset.execute_task(journey)
        except (RescheduleTask, RescheduleTaskImmediately):
            pass  # of a TaskSet that ends: Locust would run the next task without an arrival
        finally:
            self._leave_arrival()

    def _leave_arrival(self) -> None:
        if self.started is not None:
            self.started = self._random = None
            self.client.end_journey()
            self.engine.pacer.finished_journey()

    def idempotency_key(self) -> str:
        """A fresh Idempotency-Key for one intention; its retries carry the same one.

        Another one in every run: a target that outlives the run would answer a key that it knows
        from the run before, with the same seed, without doing anything.
        """
        return f"{self.engine.key_prefix}{self.random.getrandbits(64):016x}"

    def gave_up(self, reason: GaveUp) -> None:
        """Tell `/metrics` that a request which may be sent again will not be, and why."""
        if self.engine.follower:
            self.engine.follower.gave_up(reason)

    def abandoned(self, endpoint: str, key: str) -> None:
        """Called for a request that was stopped before its answer: what became of it is open."""
        self.engine.ledger.note(key, endpoint, Outcome.TIMEOUT)

    def context(self) -> dict[str, Any]:
        """Handed to every request event: how late the request starts, and when it was meant to."""
        started = self.started
        if started is None:  # a login in on_start, say: no load of the curve, so not on record
            return {}
        if started.requested:
            return {CONTEXT_KEY: (self.engine.now_seconds, 0.0, self.criticality)}
        started.requested = True
        # Never below 0: nobody is handed an arrival before it is due.
        lateness = time.perf_counter() - started.due
        return {CONTEXT_KEY: (started.arrival.due_seconds, lateness, self.criticality)}


def _do_not_sleep(seconds: float) -> None:
    pass


@events.init_command_line_parser.add_listener
def _add_options(parser: LocustArgumentParser) -> None:
    add_options(parser.add_argument_group("launchday"))


def _takes_arrivals(each: Any) -> bool:
    ours = (ArrivalUser, SurgeShape)
    return issubclass(each, ours) if isinstance(each, type) else isinstance(each, ours)


@events.init.add_listener
def _init(environment: Environment, **_: Any) -> None:
    shapes = list((environment.available_shape_classes or {}).values())
    user_classes = environment.user_classes
    if not any(_takes_arrivals(each) for each in [*shapes, *user_classes]):
        return
    engine = _engines[environment] = Engine(partial(_refuse, environment), Recorder.of(environment))
    try:
        environment.shape_class = check_scenario(shapes, user_classes, _takes_arrivals)
        _serve_metrics(environment, engine)
    except LaunchdayError as error:
        _log.error("launchday: %s", error)
        sys.exit(error.exit_code)
    cast(Any, environment.shape_class).runner = environment.runner
    # Locust's own rebalancing would block its listener, and takes users from the others.
    cast(Namespace, environment.parsed_options).enable_rebalancing = False
    driver = _drivers[environment] = _driver_of(environment, engine)
    dispatcher = partial(PoolDispatcher, per_worker=driver.per_worker)
    environment.dispatcher_class = cast(Any, dispatcher)
    _listen(environment, engine, driver)


def _serve_metrics(environment: Environment, engine: Engine) -> None:
    options = cast(Namespace, environment.parsed_options)
    port = options.metrics_port
    if port is None or isinstance(environment.runner, MasterRunner):
        return
    exporter = start_exporter(
        port,
        host=options.metrics_host,
        users=lambda: (engine.pacer.parked, engine.pacer.busy),
    )
    _log.info("launchday: metrics at %s", exporter.url)
    engine.follower = exporter.totals


def _driver_of(environment: Environment, engine: Engine) -> Driver:
    def user_classes() -> list[Any]:
        # Without tasks (--tags took them all) nobody could run an arrival.
        return [each for each in environment.user_classes if _takes_arrivals(each) and each.tasks]

    refuse = partial(_refuse, environment)
    runner = cast(Any, environment.runner)
    if isinstance(runner, MasterRunner):
        return Master(environment, user_classes, refuse, _sending(runner))
    if isinstance(runner, WorkerRunner):
        # For each message that spawns users Locust builds its parser anew, once for every option:
        # 0.7 s in which no arrival starts.
        argument_parser.default_args_dict = cache(argument_parser.default_args_dict)
        argument_parser.default_args_dict()
        return Member(environment, engine, user_classes, refuse, _sending(runner))
    return Alone(environment, engine, user_classes, refuse)


def _sending(runner: Any) -> Callable[..., None]:
    def send(*message: Any) -> None:
        # Locust resets a broken connection itself; a tick or a report that is lost meanwhile is
        # noticed: as silence, or because the ledger does not close.
        with suppress(RPCError):
            runner.send_message(*message)

    return send


def _listen(environment: Environment, engine: Engine, driver: Driver) -> None:
    def user_error(exception: BaseException, **_: Any) -> None:
        engine.book.crash(f"{type(exception).__name__}: {exception}")

    def quitting(**_: Any) -> None:
        driver.quitting()
        if isinstance(runner, WorkerRunner):
            # What it saw the master knows, whose exit code says it.
            environment.process_exit_code = environment.process_exit_code or 0

    runner = cast(Any, environment.runner)
    headless = cast(Namespace, environment.parsed_options).headless
    if headless and not isinstance(runner, WorkerRunner):
        # Locust listens to SIGTERM only once its shape has ended: until then it would end without
        # a word to the workers or the record.
        gevent.signal_handler(signal.SIGTERM, _asked_to_end, runner)
    hooks = environment.events
    hooks.user_error.add_listener(user_error)
    hooks.test_start.add_listener(lambda **_: driver.test_start())
    hooks.spawning_complete.add_listener(lambda **_: driver.spawned())
    hooks.test_stopping.add_listener(lambda **_: driver.stopping())
    hooks.test_stop.add_listener(lambda **_: driver.test_stop())
    hooks.quitting.add_listener(quitting)


def _asked_to_end(runner: Any) -> None:
    if runner.state == STATE_INIT:  # it waits for workers, and looks for nothing else meanwhile
        sys.exit(128 + signal.SIGTERM)
    runner.quit()


def _refuse(environment: Environment, error: LaunchdayError) -> None:
    """End the test, and without a web UI the process, with a sentence."""
    _log.error("launchday: %s", error)
    runner = cast(Any, environment.runner)
    headless = cast(Namespace, environment.parsed_options).headless
    leave = headless or isinstance(runner, WorkerRunner)
    if leave:
        environment.process_exit_code = error.exit_code
    else:  # where the web UI shows what went wrong
        runner.log_exception("launchday", str(error), str(error))
    # In a greenlet of its own: whoever notices may be one that is stopped by this.
    gevent.spawn(runner.quit if leave else runner.stop)
