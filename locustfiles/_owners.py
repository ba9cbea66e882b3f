"""The owners that a scenario plays: signed in before the first arrival, which is no load.

The fleet's accounts follow from its seed, so nobody hands out passwords: owner n of a region signs
in as `owner<n>@<region>.example` and has car number n. With workers the master signs in, and each
worker gets owners of its own: Locust gives a worker one second to be ready.
"""

from __future__ import annotations

import hashlib
import logging
import random
import time
from argparse import Namespace, _ArgumentGroup
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import gevent
import httpx
from gevent.pool import Pool
from locust import events
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

REGIONS = {"us": "LAUNCHDAY", "eu": "LAUNCHDEU", "cn": "LAUNCHDCN"}  # and how a VIN begins there
AT_A_TIME = 8
PATIENCE_SECONDS = 20.0
_MESSAGE = "owners"
_log = logging.getLogger("launchday")


@dataclass(frozen=True)
class Account:
    """An owner's car, and the headers that say who is asking (none without a session)."""

    vin: str
    headers: dict[str, str] = field(default_factory=dict)


class _Refused(Exception):
    """Waiting would not help: there must be no test."""


class _NoSessions(Exception):
    """The target knows no sessions; perhaps it is another service."""


def add_options(group: _ArgumentGroup, owners: int) -> None:
    """Which fleet the target has, and how many of its owners sign in (in each region)."""
    more = f"owners who sign in before the first arrival (default {owners})"
    group.add_argument("--owners", type=int, default=owners, help=more)
    group.add_argument("--fleet-size", type=int, default=1000, help="owners of the target")
    group.add_argument("--fleet-seed", type=int, default=1, help="seed of the target's fleet")


class Owners:
    """The owners of this process by region. `urls` says where each region answers."""

    def __init__(self, urls: Callable[[Environment], Mapping[str, str]]) -> None:
        self._urls = urls
        self._accounts: dict[str, list[Account]] = {}
        events.init.add_listener(self._listen)
        events.test_start.add_listener(self._prepare)

    def any(self, region: str, random: random.Random) -> Account:
        """The owner who arrives."""
        return random.choice(self._accounts[region])

    def _listen(self, environment: Environment, **_: Any) -> None:
        if isinstance(environment.runner, WorkerRunner):
            environment.runner.register_message(_MESSAGE, self._receive)

    def _receive(self, msg: Any, **_: Any) -> None:
        accounts = cast(dict[str, list[dict[str, Any]]], msg.data)
        self._accounts = {r: [Account(**each) for each in some] for r, some in accounts.items()}

    def _prepare(self, environment: Environment, **_: Any) -> None:
        if isinstance(environment.runner, WorkerRunner):
            return
        options = cast(Namespace, environment.parsed_options)
        try:
            urls = self._urls(environment)
            self._accounts = {r: _sign_in_all(r, url, options) for r, url in urls.items()}
        except (_Refused, ValueError) as error:
            _log.error("launchday: %s", error)
            _end_test(environment)
        if isinstance(environment.runner, MasterRunner):
            self._hand_out(environment.runner)

    def _hand_out(self, master: MasterRunner) -> None:
        workers = [client.id for client in master.clients.ready]
        for index, worker in enumerate(workers):
            share = {
                region: [asdict(account) for account in accounts[index :: len(workers)]]
                for region, accounts in self._accounts.items()
            }
            master.send_message(_MESSAGE, share, worker)


def _end_test(environment: Environment) -> None:
    runner = cast(Any, environment.runner)
    options = cast(Namespace, environment.parsed_options)
    environment.process_exit_code = 2
    runner.shape_greenlet = None  # else the web UI would take this test for a running one
    gevent.spawn(runner.quit if options.headless else runner.stop)
    raise gevent.GreenletExit  # from the event, and so from Locust's start of the test


def _sign_in_all(region: str, url: str, options: Namespace) -> list[Account]:
    """Sign in the first owners of one region. Raises _Refused."""
    numbers = range(min(options.owners, options.fleet_size))
    if not numbers:
        raise _Refused("--owners and --fleet-size must be at least 1")
    deadline = time.monotonic() + PATIENCE_SECONDS
    # The defaults of the environment (proxies) are not for a target under test.
    with httpx.Client(base_url=url, trust_env=False, timeout=5.0) as client:
        signing_in = _SignIn(client, region, options.fleet_seed, deadline)
        accounts = list(Pool(AT_A_TIME).imap(signing_in.account, numbers))
    if isinstance(signing_in.ended, _NoSessions):
        _log.warning("launchday: %s: the owners go on without sessions", signing_in.ended)
        return [Account(_vin(region, number)) for number in numbers]
    if signing_in.ended:
        raise signing_in.ended
    signed_in = [account for account in accounts if account is not None]
    if not signed_in:
        raise _Refused(
            f"no owner of region {region} could sign in at {url} within {PATIENCE_SECONDS:.0f} s: "
            f"{signing_in.last_words}"
        )
    if len(signed_in) < len(accounts):
        words = "%d of %d owners of region %s signed in within %d s"
        _log.warning(f"launchday: {words}", len(signed_in), len(accounts), region, PATIENCE_SECONDS)
    return signed_in


def _vin(region: str, number: int) -> str:
    return f"{REGIONS[region]}{number:08d}"


@dataclass
class _SignIn:
    client: httpx.Client
    region: str
    fleet_seed: int
    deadline: float
    last_words: str = ""
    ended: _Refused | _NoSessions | None = None

    def account(self, number: int) -> Account | None:
        """Sign one owner in; None if the time was too short, or nobody can (`ended` says why)."""
        try:
            return None if self.ended else self._sign_in(number)
        except (_Refused, _NoSessions) as reason:  # gevent would print a traceback of it
            self.ended = reason
            return None

    def _sign_in(self, number: int) -> Account | None:
        email = f"owner{number}@{self.region}.example"
        secret = f"launchday:{self.fleet_seed}:{email}"
        password = hashlib.sha256(secret.encode()).hexdigest()[:32]
        while True:
            try:
                answer = self.client.post(
                    "/v1/sessions", json={"email": email, "password": password}
                )
            except httpx.TransportError as error:
                self.last_words, wait_seconds = str(error) or type(error).__name__, 1.0
            else:
                if token := self._token(answer):
                    headers = {"Authorization": f"Bearer {token}"}
                    return Account(_vin(self.region, number), headers)
                self.last_words = f"it answers {answer.status_code}"
                wait_seconds = _retry_after_seconds(answer)
            if time.monotonic() + wait_seconds > self.deadline:
                return None
            # Spread, so that those who were refused together do not come back together.
            gevent.sleep(wait_seconds * random.uniform(1.0, 1.3))

    def _token(self, answer: httpx.Response) -> str | None:
        status = answer.status_code
        if status == 429 or status >= 500:
            return None
        if status in (404, 405) or answer.is_success:
            token = _access_token(answer)
            if token is None:
                raise _NoSessions(f"POST {answer.url} gives no session ({status})")
            return token
        raise _Refused(
            f"{answer.url} refuses the owners ({status}): the target must have a fleet of region "
            f"{self.region} with seed {self.fleet_seed} (TARGET_REGION and TARGET_FLEET_SEED there,"
            " --region and --fleet-seed here)"
        )


def _access_token(answer: httpx.Response) -> str | None:
    try:
        token = answer.json()["access_token"]
    except (ValueError, KeyError, TypeError):
        return None
    return token if isinstance(token, str) else None


def _retry_after_seconds(answer: httpx.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdigit() else 1.0
