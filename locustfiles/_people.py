"""Everybody who arrives: plays a journey, asks again as people do, and counts how it ended."""

from __future__ import annotations

import itertools
import logging
import time
from typing import Any, ClassVar

import gevent
from _backend import Account, Backend, Request
from _journeys import JOURNEYS, Ending, Journey
from _population import Population
from _scenario import Plan
from locust import events, task
from locust.env import Environment
from locust.runners import WorkerRunner

from launchday.load.http import Response
from launchday.load.locust_user import ArrivalUser
from launchday.load.retry import (
    POLICIES,
    RetryPolicy,
    gives_up,
    may_retry,
    retry_after_seconds,
)

JOURNEY = "journey"
"""The `method` of the rows that Locust's statistics have for journeys, beside the requests."""

_NONE, _IMMEDIATE = POLICIES["none"], POLICIES["immediate"]
_EVENTS: Any = events  # Locust's have no types
_log = logging.getLogger("launchday")


class Everybody(ArrivalUser):
    """An owner with the app, a car or a third party's program: whoever the arrival is."""

    abstract = True
    population: ClassVar[Population]
    retrying = False
    """Whether what is sent now was sent before."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.plan: Plan = self.population.plan(self.engine.options)
        self.backend: Backend = self.plan.backend
        type(self).criticality = self.backend.criticality
        self.account = Account("", 0)
        self._policy: RetryPolicy = _NONE
        self._keys: dict[tuple[str, str], str] = {}
        self._again = False
        self._gives_up_at = 0.0

    @task
    def arrive(self) -> None:
        """Play the journey of this arrival."""
        began = time.perf_counter()
        journey = JOURNEYS[self.plan.mix.journey(self.arrival.due_seconds, self.random)]
        self.arrived(journey)
        self._keys, self._again = {}, False
        self._gives_up_at = began + self.plan.patience_seconds
        self.account = self._whose(journey)
        restarts = self._choose_policy(journey)
        ending = journey.run(self)
        if restarts and ending is not Ending.DONE and time.perf_counter() < self._gives_up_at:
            ending = self._restart_app(journey)
        row = self.environment.stats.get(f"{journey.name}: {ending}", JOURNEY)
        # The clock of a journey runs from when it was meant to start.
        since = self.started.due if self.started else began
        row.log(round(1000 * (time.perf_counter() - since)), 0)

    def arrived(self, journey: Journey) -> None:
        """For scenarios: called for each arrival, before its journey begins."""

    def ask(self, request: Request | None) -> bool:
        """Send it, again if the retry policy says so; True for a 2xx, or if there is no request.

        A session that has run out is renewed first.
        """
        if request is None:
            return True
        response = self.send(request)
        if response.status_code == 401 and self.account.session and self.refresh():
            response = self.send(request)
        return _good(response)

    def sign_in(self) -> bool:
        """Begin a new session; False if that failed."""
        return self._begin_session(self.backend.sign_in(self.account))

    def refresh(self) -> bool:
        """Renew the session, or begin one if it cannot be renewed; False if that failed."""
        request = self.backend.refresh(self.account)
        if request is None:
            return self.sign_in()
        response = self.send(request)
        if response.status_code == 401:
            return self.sign_in()
        return self._take_session(response)

    def signed_in(self) -> bool:
        """Have a session, also if the target fails: a 5xx signs nobody out."""
        if self.account.session or not self.population.owners.have_sessions:
            return True
        return self.sign_in()

    def send(self, request: Request) -> Response:
        """Send one request as often as the policy, the budget and people's patience allow.

        All attempts carry the same Idempotency-Key: it belongs to what is wanted, also after a
        restart of the app.
        """
        headers = self.backend.headers(self.account)
        if request.once:
            what = (request.name, request.path)
            headers["Idempotency-Key"] = self._keys.setdefault(what, self.idempotency_key())
        if self.plan.budget:
            self.plan.budget.sent()
        self.retrying = self._again
        for retry in itertools.count():
            response = self.client.request(
                request.method,
                request.path,
                json=request.json,
                headers=headers,
                name=request.name,
            )
            wait_seconds = self._wait_seconds(request, response, retry)
            if wait_seconds is None:
                break
            self.retrying = True
            gevent.sleep(wait_seconds)
        self.retrying = False
        return response

    def _wait_seconds(self, request: Request, response: Response, retry: int) -> float | None:
        if not may_retry(response.status_code, repeatable=request.repeatable):
            return None
        asked = retry_after_seconds(response.headers.get("Retry-After"), time.time())
        wait_seconds = self._policy.wait_seconds(retry, self.random, asked)
        left_seconds = self._gives_up_at - time.perf_counter()
        if why := gives_up(wait_seconds, left_seconds, self.plan.budget):
            self.gave_up(why)
            return None
        return wait_seconds

    def _whose(self, journey: Journey) -> Account:
        options = self.engine.options
        owners = self.population.owners
        if journey.signs_in:
            return owners.anybody(options.region, options.fleet_size, self.random)
        return owners.any(options.region, options.fleet_size, self.random)

    def _choose_policy(self, journey: Journey) -> bool:
        """Choose what whoever arrives does when refused; True: restarts the app after that."""
        plan, drawn = self.plan, self.random.random()
        self._policy = plan.policy
        if journey.who == "poller":
            self._policy = _NONE
        elif journey.who == "owner" and drawn < plan.pull_share:
            self._policy = _IMMEDIATE
        return journey.who == "owner" and 0 <= drawn - plan.pull_share < plan.restart_share

    def _restart_app(self, journey: Journey) -> Ending:
        """The app comes up without connection and session: who wants it signs in again."""
        self.client.close()
        if not self.sign_in():
            return Ending.DEGRADED if journey.name == "unlock" else Ending.GAVE_UP
        self._again = True
        return journey.run(self)

    def _begin_session(self, request: Request | None) -> bool:
        if request is None or not self.population.owners.have_sessions:
            return True
        return self._take_session(self.send(request))

    def _take_session(self, response: Response) -> bool:
        if not _good(response):
            return False
        session = self.backend.session(_json(response))
        self.account.session = session or self.account.session
        return session is not None


def _good(response: Response) -> bool:
    return 200 <= response.status_code < 300


def _json(response: Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _say_how_journeys_ended(environment: Environment, **_: Any) -> None:
    if isinstance(environment.runner, WorkerRunner):
        return  # the master has the rows of all
    endings = {
        name: row.num_requests
        for (name, method), row in environment.stats.entries.items()
        if method == JOURNEY and row.num_requests
    }
    if endings:
        words = ", ".join(f"{name} {count}" for name, count in sorted(endings.items()))
        _log.info("launchday: journeys: %s", words)


_EVENTS.quitting.add_listener(_say_how_journeys_ended)
