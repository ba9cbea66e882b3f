"""Announces a maintenance window at the reference backend, so that the doors really close.

The admin token is taken from LAUNCHDAY_TARGET__ADMIN_TOKEN, as launchday itself takes it. Without
one nothing is announced: then the window is a mere curve, and who closes the doors is up to you.
"""

from __future__ import annotations

import logging
import os
import time
from argparse import Namespace
from datetime import UTC, datetime
from typing import Any, cast

import gevent
import httpx
from _owners import end_test
from _population import Population
from locust import events
from locust.env import Environment
from locust.runners import WorkerRunner

TOKEN = "LAUNCHDAY_TARGET__ADMIN_TOKEN"
PATH = "/admin/maintenance"
SENTENCE = "Planned maintenance: we are back soon"
_EVENTS: Any = events  # Locust's have no types
_log = logging.getLogger("launchday")


class Window:
    """The phase of the curve with this name, as a window that the target announces.

    Whoever runs the first arrival of all announces it: then it is known when the curve began, and
    with any number of workers it is announced once. It ends with the phase, or with the test.
    """

    def __init__(self, population: Population, phase: str) -> None:
        self._population = population
        self._phase = phase
        self._announced: tuple[str, float] | None = None
        _EVENTS.init_command_line_parser.add_listener(_add_options)
        _EVENTS.test_start.add_listener(self._check)
        _EVENTS.test_stop.add_listener(self._end)

    def announce(self, environment: Environment, began_unix: float) -> None:
        """Announce it for a curve that began at this time, while the journey goes on.

        A failure makes the process end with 2.
        """
        if token := os.environ.get(TOKEN):
            gevent.spawn(self._announce, environment, began_unix, token)

    def _announce(self, environment: Environment, began_unix: float, token: str) -> None:
        options = cast(Namespace, environment.parsed_options)
        phases = self._population.plan(options).mix.curve.phases
        phase = next(each for each in phases if each.name == self._phase)
        ends_unix = began_unix + phase.end_seconds
        window = {
            "starts_at": _iso(began_unix + phase.start_seconds),
            "ends_at": _iso(ends_unix),
            "sentence": SENTENCE,
            "open_classes": [each for each in options.open_classes.split(",") if each],
        }
        try:
            answer = _ask(environment, token, "POST", json=window)
            answer.raise_for_status()
            self._announced = answer.json()["id"], ends_unix
        except (httpx.HTTPError, ValueError, KeyError) as error:
            _log.error("launchday: the maintenance window could not be announced: %s", error)
            environment.process_exit_code = 2

    def _check(self, environment: Environment, **_: Any) -> None:
        """There is no test with a token that the target does not take."""
        self._announced = None
        if isinstance(environment.runner, WorkerRunner):
            return
        token = os.environ.get(TOKEN)
        if not token:
            _log.info("launchday: no %s: the maintenance window is a mere curve", TOKEN)
            return
        try:
            answer = _ask(environment, token, "GET")
            words = "" if answer.is_success else f"it answers {answer.status_code}"
        except httpx.HTTPError as error:
            words = str(error)
        if words:
            _log.error(
                "launchday: %s is set, but %s%s cannot be asked with it (%s): set "
                "TARGET_ADMIN_TOKEN of the target to the same, or unset it for a mere curve",
                *(TOKEN, environment.host, PATH, words),
            )
            end_test(environment)

    def _end(self, environment: Environment, **_: Any) -> None:
        token = os.environ.get(TOKEN)
        if token and self._announced and time.time() < self._announced[1]:
            try:
                _ask(environment, token, "DELETE", params={"id": self._announced[0]})
            except httpx.HTTPError as error:
                _log.warning("launchday: the maintenance window is still open: %s", error)
        self._announced = None


def _add_options(parser: Any, **_: Any) -> None:
    classes = "served all the same, like critical_plus: maintenance with the doors unlocked"
    parser.add_argument("--open-classes", default="", help=f"{classes} (default none)")


def _ask(environment: Environment, token: str, method: str, **more: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    # The defaults of the environment (proxies) are not for a target under test.
    with httpx.Client(base_url=environment.host or "", trust_env=False, timeout=5.0) as client:
        return client.request(method, PATH, headers=headers, **more)


def _iso(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat()
