"""The owners that a scenario plays: signed in before the first arrival, which is no load.

Owner n of a region is whoever the Backend says. With workers the master signs in, and each worker
gets owners of its own; those who have no session yet sign in as part of their journey.
"""

from __future__ import annotations

import logging
import random
import time
from argparse import Namespace, _ArgumentGroup
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import gevent
import httpx
from _backend import Account, Backend, Request, Session
from gevent.pool import Pool
from locust import events
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from launchday.load.retry import may_retry, retry_after_seconds

AT_A_TIME = 8
PATIENCE_SECONDS = 20.0
_MESSAGE, _REQUEST = "owners", "owners_wanted"
_log = logging.getLogger("launchday")
logging.getLogger("httpx").setLevel(logging.WARNING)  # else it tells of every sign-in


class _Refused(Exception):
    """Waiting would not help: there must be no test."""


class _NoSessions(Exception):
    """The target knows no sessions; perhaps it is another service."""


def add_owner_options(group: _ArgumentGroup, owners: int) -> None:
    """Which fleet the target has, and how many of its owners sign in (in each region)."""
    more = f"owners who sign in before the first arrival (default {owners})"
    group.add_argument("--owners", type=int, default=owners, help=more)
    group.add_argument("--fleet-size", type=int, default=1000, help="owners of the target")
    group.add_argument("--fleet-seed", type=int, default=1, help="seed of the target's fleet")


class Owners:
    """The owners of this process by region.

    `urls` says where each region answers, `backend` how to sign in there. `have_sessions` is
    False once the target was found to know none.
    """

    def __init__(
        self,
        urls: Callable[[Environment], Mapping[str, str]],
        backend: Callable[[Namespace], Backend],
    ) -> None:
        self.have_sessions = True
        self._urls = urls
        self._backend = backend
        self._accounts: dict[str, list[Account]] = {}
        self._met: dict[tuple[str, int], Account] = {}
        events.init.add_listener(self._listen)
        events.test_start.add_listener(self._prepare)

    def any(self, region: str, fleet_size: int, random: random.Random) -> Account:
        """An owner with a session; anybody if this process was given none, as it came late."""
        accounts = self._accounts.get(region)
        return random.choice(accounts) if accounts else self.anybody(region, fleet_size, random)

    def anybody(self, region: str, fleet_size: int, random: random.Random) -> Account:
        """An owner of the whole fleet; the same one again is still as the last journey left it."""
        number = random.randrange(fleet_size)
        return self._met.setdefault((region, number), Account(region, number))

    def _listen(self, environment: Environment, **_: Any) -> None:
        runner = environment.runner
        if isinstance(runner, WorkerRunner):
            runner.register_message(_MESSAGE, self._receive)
            # Asked for: what a master sends when a worker connects comes before it can listen.
            runner.send_message(_REQUEST)
        elif isinstance(runner, MasterRunner):
            runner.register_message(
                _REQUEST, lambda msg, **_: self._hand_out(runner, to=msg.node_id)
            )

    def _receive(self, msg: Any, **_: Any) -> None:
        message = cast(dict[str, Any], msg.data)
        self.have_sessions = message["have_sessions"]
        self._know([_account(each) for each in message["accounts"]])

    def _know(self, accounts: list[Account]) -> None:
        self._accounts = {}
        for account in accounts:
            self._accounts.setdefault(account.region, []).append(account)
        self._met = {(account.region, account.number): account for account in accounts}

    def _prepare(self, environment: Environment, **_: Any) -> None:
        if isinstance(environment.runner, WorkerRunner):
            return
        options = cast(Namespace, environment.parsed_options)
        try:
            backend = self._backend(options)
        except ValueError:
            return  # the curve needs the same options, and what is wrong is said there
        try:
            self._sign_in(backend, self._urls(environment), options)
        except (_Refused, ValueError) as error:
            _log.error("launchday: %s", error)
            end_test(environment)
        if isinstance(environment.runner, MasterRunner):
            self._hand_out(environment.runner)

    def _sign_in(self, backend: Backend, urls: Mapping[str, str], options: Namespace) -> None:
        self.have_sessions = True
        if options.owners < 1 or options.fleet_size < 1:
            raise _Refused("--owners and --fleet-size must be at least 1")
        numbers = range(min(options.owners, options.fleet_size))
        accounts = []
        for region, url in urls.items():
            of_region = [Account(region, number) for number in numbers]
            try:
                of_region = _sign_in_all(backend, of_region, url)
            except _NoSessions as words:
                _log.warning("launchday: %s: the owners go on without sessions", words)
                self.have_sessions = False
            accounts += of_region
        self._know(accounts)

    def _hand_out(self, master: MasterRunner, to: str | None = None) -> None:
        """Give each worker its share, or one that comes in the middle a share like theirs."""
        workers = [client.id for client in master.clients.all]
        for index, worker in enumerate(workers):
            if to in (None, worker):
                share = [
                    asdict(account)
                    for accounts in self._accounts.values()
                    for account in accounts[index :: len(workers)]
                ]
                message = {"have_sessions": self.have_sessions, "accounts": share}
                master.send_message(_MESSAGE, message, worker)


def _account(fields: Mapping[str, Any]) -> Account:
    session = fields["session"] and Session(**fields["session"])
    return Account(fields["region"], fields["number"], session)


def end_test(environment: Environment) -> None:
    """Let there be no test, from a listener of `test_start`; the process ends with 2."""
    runner = cast(Any, environment.runner)
    options = cast(Namespace, environment.parsed_options)
    environment.process_exit_code = 2
    runner.shape_greenlet = None  # else the web UI would take this test for a running one
    gevent.spawn(runner.quit if options.headless else runner.stop)
    raise gevent.GreenletExit  # from the event, and so from Locust's start of the test


def _sign_in_all(backend: Backend, accounts: list[Account], url: str) -> list[Account]:
    """Sign in owners of one region; those who could. Raises _Refused, _NoSessions."""
    if backend.sign_in(accounts[0]) is None:
        return accounts
    region = accounts[0].region
    deadline = time.monotonic() + PATIENCE_SECONDS
    # The defaults of the environment (proxies) are not for a target under test.
    with httpx.Client(base_url=url, trust_env=False, timeout=5.0) as client:
        signing_in = _SignIn(client, backend, deadline)
        signed_in = [each for each in Pool(AT_A_TIME).imap(signing_in.account, accounts) if each]
    if signing_in.ended:
        raise signing_in.ended
    if not signed_in:
        raise _Refused(
            f"no owner of region {region} could sign in at {url} within {PATIENCE_SECONDS:.0f} s: "
            f"{signing_in.last_words}"
        )
    if len(signed_in) < len(accounts):
        words = "%d of %d owners of region %s signed in within %d s"
        _log.warning(f"launchday: {words}", len(signed_in), len(accounts), region, PATIENCE_SECONDS)
    return signed_in


@dataclass
class _SignIn:
    client: httpx.Client
    backend: Backend
    deadline: float
    last_words: str = ""
    ended: _Refused | _NoSessions | None = None

    def account(self, account: Account) -> Account | None:
        """Sign one owner in; None if the time was too short, or nobody can (`ended` says why)."""
        request = self.backend.sign_in(account)
        try:
            return account if request and self._signed_in(account, request) else None
        except (_Refused, _NoSessions) as reason:  # gevent would print a traceback of it
            self.ended = reason
            return None

    def _signed_in(self, account: Account, request: Request) -> bool:
        while self.ended is None:
            try:
                answer = self.client.request(request.method, request.path, json=request.json)
            except httpx.TransportError as error:
                self.last_words, wait_seconds = str(error) or type(error).__name__, 1.0
            else:
                if session := self._session(account, answer):
                    account.session = session
                    return True
                self.last_words = f"it answers {answer.status_code}"
                asked = answer.headers.get("retry-after")
                wait_seconds = retry_after_seconds(asked, time.time()) or 1.0
            if time.monotonic() + wait_seconds > self.deadline:
                return False
            # Spread, so that those who were refused together do not come back together.
            gevent.sleep(wait_seconds * random.uniform(1.0, 1.3))
        return False

    def _session(self, account: Account, answer: httpx.Response) -> Session | None:
        status = answer.status_code
        if may_retry(status, repeatable=True) or status >= 500:
            return None
        if status in (404, 405) or answer.is_success:
            session = self.backend.session(_json(answer))
            if session is None:
                raise _NoSessions(f"{answer.request.method} {answer.url} gives none ({status})")
            return session
        raise _Refused(
            f"{answer.url} refuses the owners ({status}): the target must have a fleet of region "
            f"{account.region} with seed {self.backend.options.fleet_seed} (TARGET_REGION and "
            "TARGET_FLEET_SEED there, --region and --fleet-seed here)"
        )


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None
