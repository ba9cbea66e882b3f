"""Locust with open arrivals: the user, the shape and the wiring; the one module importing locust.

A scenario is a Locust file with one `SurgeShape` (whose `curve` says who comes when) and one or
more `ArrivalUser` classes (whose tasks are the journeys). Everything else of Locust stays: tasks
and weights, `self.client`, events, the web UI, `--headless`, `--master` and `--worker`.
"""

from __future__ import annotations

import gc
import logging
import math
import secrets
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, cast
from weakref import WeakKeyDictionary

import gevent
from locust import LoadTestShape, User, events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from launchday.errors import RecordError
from launchday.load.answers import json_object, outcome_of_answer
from launchday.load.arrivals import random_for, schedule
from launchday.load.curves import RateCurve
from launchday.load.http import HttpClient, Response
from launchday.load.ledger_book import LedgerBook
from launchday.load.pacer import Pacer, Started
from launchday.load.samples import SampleBook
from launchday.outcomes import Outcome
from launchday.record import Schedule

__all__ = ["ArrivalUser", "SurgeShape"]

_log = logging.getLogger("launchday")
_BEGIN = "launchday_begin"
_START_DELAY_SECONDS = 1.0


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

    def tick(self) -> tuple[int, float] | None:
        """What Locust asks every second: how many users, or None at the end."""
        runner = cast(Any, self).runner
        engine = _engines[runner.environment]
        if engine.finished():
            return None
        users = engine.pool_size(self.requests_per_journey)
        return users, max(1.0, users / 2)


class Engine:
    """The state of one generator process: schedule, pacer and counts."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.book = SampleBook()
        self.ledger = LedgerBook()
        self.epoch: float | None = None
        self.greenlets: list[gevent.Greenlet] = []
        self.reset()
        if self.refused:
            environment.process_exit_code = 2

    def reset(self) -> None:
        """Start a test anew: the web UI can start many, each with other parameters."""
        self.options = cast(Namespace, self.environment.parsed_options)
        self.refused = False
        try:
            self.curve = cast(SurgeShape, self.environment.shape_class).curve(self.options)
        except ValueError as error:
            # From the web UI: this test must not run, least of all with the curve before it.
            _log.error("launchday: %s", error)
            self.refused = True
        worker = getattr(self.environment.runner, "worker_index", 0)
        directory = self.options.launchday_record
        master = isinstance(self.environment.runner, MasterRunner)
        path = Path(directory) / f"samples-{worker}.jsonl" if directory and not master else None
        if path and path.exists():
            _log.warning("launchday: %s holds a test already; this one is not recorded", path)
            path = None
        self.epoch = None
        self.book.close()
        self.ledger.close()
        self.book = SampleBook(path)
        self.ledger = LedgerBook(path and path.with_name(f"ledger-{worker}.jsonl"))
        self.key_prefix = secrets.token_hex(8)
        self.pacer = Pacer(self.book, self.options.late_after_seconds)

    def pool_size(self, requests_per_journey: int) -> int:
        """Users that suffice by Little's law: peak rate · longest journey, and a tenth more."""
        longest = self.options.request_timeout_seconds * requests_per_journey
        return math.ceil(1.1 * self.curve.peak_rps * float(longest)) + 20

    def begin(self, epoch_unix: float, shard: int, shards: int) -> None:
        """Write the schedule and start handing out this process's share of it.

        Locust may say more than once that all users are there; the first time counts.
        """
        if self.epoch is not None or self.refused:
            return
        options = self.options
        self.epoch = time.perf_counter() + epoch_unix - time.time()
        arrivals = list(
            schedule(
                self.curve, seed=options.seed, mode=options.arrivals, shard=shard, shards=shards
            )
        )
        self.ledger.begin()
        self.book.begin(
            Schedule(
                epoch_unix=epoch_unix,
                duration_seconds=self.curve.duration_seconds,
                phases=self.curve.phases,
                points=self.curve.points,
                expected_arrivals=len(arrivals),
                seed=options.seed,
                request_timeout_seconds=options.request_timeout_seconds,
                late_after_seconds=options.late_after_seconds,
            )
        )
        # Thousands of parked users live as long as the test: a full collection that looks at them
        # again and again stops the pacer for 100 ms and more.
        gc.collect()
        gc.freeze()
        self.greenlets = [
            gevent.spawn(self.pacer.run, iter(arrivals), self.epoch),
            gevent.spawn(self._flush_every_second),
        ]

    def _flush_every_second(self) -> None:
        while True:
            gevent.sleep(1.0)
            try:
                self.book.flush()
                self.ledger.flush()
            except RecordError as error:
                _log.error("launchday: %s", error)
                self.environment.process_exit_code = 2
                cast(Any, self.environment.runner).quit()
                return

    def finished(self) -> bool:
        """Whether the schedule is over and every journey ended, or had time enough to."""
        if self.refused:
            return True
        if self.epoch is None:
            return False
        after = time.perf_counter() - self.epoch - self.curve.duration_seconds
        patience = float(self.options.request_timeout_seconds)
        if isinstance(self.environment.runner, MasterRunner):
            return after > 2 * patience + 1
        journeys_over = self.pacer.done and self.pacer.busy == 0
        longest = cast(SurgeShape, self.environment.shape_class).requests_per_journey * patience
        return after > 0 and (journeys_over or after > longest + patience)

    def stop(self) -> None:
        """End the test: nothing more is handed out, what was counted is written."""
        began = self.epoch is not None
        gevent.killall(self.greenlets)
        gc.unfreeze()
        self.epoch = None  # the shape is asked before the next test starts
        try:
            if began:
                self.book.end()
                self.ledger.end()
        except RecordError as error:
            _log.error("launchday: %s", error)
            self.environment.process_exit_code = 2

    def meant_seconds(self, started: Started | None) -> float:
        """Seconds from the start of the schedule: of the arrival, or now for a later request."""
        if started and not started.requested:
            return started.arrival.due_seconds
        return time.perf_counter() - (self.epoch or time.perf_counter())


_engines: WeakKeyDictionary[Environment, Engine] = WeakKeyDictionary()


class ArrivalUser(User):
    """A user that runs one journey for each arrival that it is handed.

    Tasks are journeys; which one an arrival runs is a seeded function of its index. `criticality`
    maps the name of an endpoint (the `name` of a request) to one of the four classes.
    """

    abstract = True
    criticality: ClassVar[Mapping[str, str]] = {}

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.engine = _engines[environment]
        self.client = HttpClient(
            self.host or environment.host or "",
            environment.events.request,
            self,
            timeout_seconds=self.engine.options.request_timeout_seconds,
        )
        self.started: Started | None = None
        self.journeys = list(self.tasks)
        # Locust would draw the journey from the global random state; ours belongs to the arrival.
        self.tasks = [ArrivalUser._run_journey]

    def on_start(self) -> None:
        """Wait for the first arrival before the first journey."""
        self.wait()

    def wait_time(self) -> float:
        """Block until an arrival is due, then start at once."""
        if self.started:
            self.started = None
            self.engine.pacer.finished_journey()
        self.started = self.engine.pacer.next()
        return 0.0

    def _run_journey(self) -> None:
        started = cast(Started, self.started)
        self.random = random_for(self.engine.options.seed, started.arrival)
        journey = self.random.choice(self.journeys)
        cast(Any, self)._taskset_instance.execute_task(journey)

    def idempotency_key(self) -> str:
        """A fresh Idempotency-Key for one intention; its retries carry the same one.

        Another one in every run: a target that outlives the run would answer a key that it knows
        from the run before, with the same seed, without doing anything.
        """
        return f"{self.engine.key_prefix}{self.random.getrandbits(64):016x}"

    def abandoned(self, endpoint: str, key: str) -> None:
        """Called for a request that was stopped before its answer: what became of it is open."""
        self.engine.ledger.note(key, endpoint, Outcome.TIMEOUT)

    def context(self) -> dict[str, Any]:
        """Handed to every request event: how late the request starts, and when it was meant to."""
        started = self.started
        meant = self.engine.meant_seconds(started)
        lateness = 0.0
        if started and not started.requested:
            lateness = max(0.0, time.perf_counter() - started.due)
            started.requested = True
        return {"launchday": (meant, lateness, self.criticality)}


def _request_finished(
    environment: Environment,
    name: str,
    response_time: float,
    response_length: int,
    response: Response,
    exception: BaseException | None,
    context: Mapping[str, Any],
) -> None:
    if "launchday" not in context:
        return
    engine = _engines[environment]
    meant_seconds, lateness_seconds, criticality = context["launchday"]
    service_seconds = response_time / 1000
    corrected_seconds = service_seconds + lateness_seconds
    objective_seconds = engine.options.objective_seconds
    outcome = outcome_of_answer(response, exception, corrected_seconds, objective_seconds)
    engine.book.request(
        meant_seconds,
        name,
        criticality.get(name, "unclassified"),
        outcome,
        corrected_seconds=corrected_seconds,
        service_seconds=service_seconds,
        answered_503=response.status_code == 503,
        retry_after="Retry-After" in response.headers,
        response_bytes=response_length or 0,
    )
    if response.idempotency_key is not None and engine.ledger.kept:
        status = response.status_code
        answer = json_object(response) if 200 <= status < 300 else None
        engine.ledger.note(response.idempotency_key, name, outcome, status, answer)


@events.init_command_line_parser.add_listener
def _add_options(parser: LocustArgumentParser) -> None:
    group = parser.add_argument_group("launchday")
    group.add_argument("--seed", type=int, default=1, help="same seed, same arrivals (default 1)")
    group.add_argument("--arrivals", choices=("poisson", "even"), default="poisson")
    group.add_argument("--objective-seconds", type=float, default=0.5, help="2xx later is slow")
    group.add_argument(
        "--request-timeout-seconds", type=float, default=1.0, help="patience of a client"
    )
    group.add_argument(
        "--late-after-seconds", type=float, default=0.01, help="a later start counts as late"
    )
    group.add_argument("--launchday-record", default="", help="directory for the samples")


@events.init.add_listener
def _init(environment: Environment, **_: Any) -> None:
    if not isinstance(environment.shape_class, SurgeShape):
        return
    engine = _engines[environment] = Engine(environment)
    runner = cast(Any, environment.runner)

    def request(**kwargs: Any) -> None:
        wanted = ("name", "response_time", "response_length", "response", "exception", "context")
        _request_finished(environment, *(kwargs[key] for key in wanted))

    def user_error(exception: BaseException, **_: Any) -> None:
        engine.book.crash(f"{type(exception).__name__}: {exception}")

    environment.events.request.add_listener(request)
    environment.events.user_error.add_listener(user_error)
    environment.events.test_start.add_listener(lambda **_: engine.reset())
    environment.events.test_stop.add_listener(lambda **_: engine.stop())
    environment.events.quitting.add_listener(lambda **_: _say_what_was_kept(engine))
    if isinstance(runner, WorkerRunner):
        runner.register_message(_BEGIN, lambda msg, **_: engine.begin(**msg.data))
    elif isinstance(runner, MasterRunner):
        environment.events.spawning_complete.add_listener(lambda **_: _begin_workers(engine))
    else:
        environment.events.spawning_complete.add_listener(
            lambda **_: engine.begin(time.time() + _START_DELAY_SECONDS, 0, 1)
        )


def _begin_workers(engine: Engine) -> None:
    # Once a test: Locust says it again when workers come or go, and a second plan would start over.
    if engine.refused or engine.epoch is not None:
        return
    runner = cast(MasterRunner, engine.environment.runner)
    workers = sorted(client.id for client in runner.clients.running)
    epoch_unix = time.time() + _START_DELAY_SECONDS
    engine.epoch = time.perf_counter() + _START_DELAY_SECONDS
    for shard, worker in enumerate(workers):
        plan = {"epoch_unix": epoch_unix, "shard": shard, "shards": len(workers)}
        runner.send_message(_BEGIN, plan, worker)


def _say_what_was_kept(engine: Engine) -> None:
    # Locust would exit with 1 on a single 503; whether a refusal is a failure is for the verdict.
    engine.environment.process_exit_code = engine.environment.process_exit_code or 0
    totals = engine.book.totals
    if totals.scheduled:
        _log.info(
            "launchday: %d arrivals: %d started (%d of them later than %g ms), %d dropped",
            totals.scheduled,
            totals.started,
            totals.late,
            engine.options.late_after_seconds * 1000,
            totals.dropped,
        )
