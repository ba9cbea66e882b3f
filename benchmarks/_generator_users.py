"""Locust users of the generator benchmark; loaded by Locust alone, `_generator_peers` names them.

All ask `/` again and again. The two plain ones are what Locust ships; the others have the client
of launchday.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import perf_counter, time
from typing import Any

import gevent

# The one place of the benchmarks where Locust is loaded, in a process of its own.
from locust import FastHttpUser, HttpUser, User, events, task  # noqa: TID251  (a user class for Locust)
from locust.env import Environment  # noqa: TID251  (as above)

from launchday.load.http import HttpClient, Response
from launchday.load.recorder import CONTEXT_KEY, Recorder
from launchday.load.samples import SampleBook
from launchday.record import Schedule

_TIMEOUT_SECONDS = 10.0
_BEGAN = perf_counter()
_CLASSES: Mapping[str, str] = {}
_SCHEDULE = Schedule(
    epoch_unix=time(),
    duration_seconds=1.0,
    phases=(),
    points=((0.0, 1.0), (1.0, 1.0)),
    expected_arrivals=1,
    seed=1,
    request_timeout_seconds=_TIMEOUT_SECONDS,
    late_after_seconds=0.01,
)


class PlainHttp(HttpUser):
    """Locust's HttpUser."""

    @task
    def ask(self) -> None:
        """One request a task, as everybody writes it."""
        self.client.get("/")


class PlainFast(FastHttpUser):
    """Locust's FastHttpUser."""

    @task
    def ask(self) -> None:
        """One request a task, as everybody writes it."""
        self.client.get("/")


class _Nobody:
    """A recorder that records nothing."""

    def finished(
        self, response: Response, context: Mapping[str, Any], exception: BaseException | None
    ) -> None:
        """Forget it."""


class _Ours(User):
    """A Locust user with launchday's client, and each request on record as an arrival's is."""

    abstract = True
    listens = False
    recorded = True

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        recorder = Recorder.of(environment) if self.recorded else _Nobody()
        host = environment.host or ""
        self.client = HttpClient(host, recorder, self, timeout_seconds=_TIMEOUT_SECONDS)

    def context(self) -> dict[str, Any]:
        """Every request is an arrival that is due now."""
        return {CONTEXT_KEY: (perf_counter() - _BEGAN, 0.0, _CLASSES)}


class TaskPerRequest(_Ours):
    """One request a task: Locust chooses the task anew for each."""

    @task
    def ask(self) -> None:
        """One request."""
        self.client.get("/")


class FastPath(_Ours):
    """One task that asks for ever: what the client costs, with everything recorded."""

    @task
    def ask(self) -> None:
        """Requests until the user is stopped."""
        get = self.client.get
        while True:
            get("/")


class EveryEvent(FastPath):
    """The same while somebody listens to Locust's request event, so each one is fired."""

    listens = True


class Unrecorded(FastPath):
    """The same with nothing recorded: the difference is what recording costs."""

    recorded = False


@events.init.add_listener  # type: ignore[untyped-decorator]  # Locust's events have no types
def keep_record(environment: Environment, **_: Any) -> None:
    """Write samples once a second, as a run does; be the other listener that a class asks for."""
    ours = [user for user in environment.user_classes if issubclass(user, _Ours)]
    if any(user.recorded for user in ours):
        book = SampleBook(Path("samples.jsonl"))
        book.begin(_SCHEDULE)
        Recorder.of(environment).keep(book.cells, objective_seconds=0.5)
        gevent.spawn(_flush, book)
    if any(user.listens for user in ours):
        hook: Any = environment.events.request  # untyped, see above
        hook.add_listener(lambda **_: None)


def _flush(book: SampleBook) -> None:
    while True:
        gevent.sleep(1.0)
        book.flush()
