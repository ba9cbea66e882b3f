"""Who is asking: signed bearer tokens, and how often somebody may guess a password."""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from itsdangerous import BadSignature, SignatureExpired, TimestampSigner
from prometheus_client import Counter

from target_service.database import Database
from target_service.problems import Problem

REMEMBERED = 20_000
# While the database fails nobody can ask whether a session was ended: short, and then again.
TRUST_WITHOUT_DATABASE_SECONDS = 600.0


@dataclass(frozen=True)
class Bearer:
    """Who an access token or refresh token speaks for."""

    owner_id: int
    session_id: str


def not_signed_in(title: str = "Sign in first") -> Problem:
    """Return the 401. Only a token that is wrong, expired or ended gets it; an outage never."""
    return Problem(401, "not_signed_in", title, headers={"www-authenticate": "Bearer"})


class Tokens:
    """Signs and checks tokens: `owner.session.time.signature`, HMAC-SHA-256 by itsdangerous.

    They need no database to be checked, and survive restarts as long as the key does. `region`
    goes into the signature: a token of one region is worth nothing in another.
    """

    def __init__(
        self, key: str, *, region: str, session_seconds: float, refresh_seconds: float
    ) -> None:
        self._access = _signer(key, f"access:{region}")
        self._refresh = _signer(key, f"refresh:{region}")
        self.session_seconds = session_seconds
        self.refresh_seconds = refresh_seconds
        self._known: OrderedDict[str, tuple[Bearer, float]] = OrderedDict()
        self._ended: OrderedDict[str, None] = OrderedDict()

    def issue(self, bearer: Bearer, refresh_after: float | None = None) -> dict[str, str | float]:
        """Return both tokens, and after how many seconds to refresh them."""
        text = f"{bearer.owner_id}.{bearer.session_id}"
        return {
            "access_token": self._access.sign(text).decode(),
            "refresh_token": self._refresh.sign(text).decode(),
            "token_type": "Bearer",
            "expires_in": min(refresh_after or math.inf, self.session_seconds),
        }

    def bearer(self, authorization: str | None) -> Bearer:
        """Return whom the value of the header Authorization speaks for. Raises the 401."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise not_signed_in()
        known = self._known.get(token)
        if known is None or known[1] <= time.time():
            known = _unsign(self._access, token, self.session_seconds)
            _remember(self._known, token, known)
        if known[0].session_id in self._ended:
            raise not_signed_in("This session has ended; sign in again")
        return known[0]

    def refresher(self, token: str) -> Bearer:
        """Return whom a refresh token speaks for. Raises the 401."""
        return _unsign(self._refresh, token, self.refresh_seconds)[0]

    def refresh_until_unix(self) -> float:
        """Return when a refresh token issued now is no longer good."""
        return time.time() + self.refresh_seconds

    def end(self, session_id: str) -> None:
        """Let no access token of this session pass here any more.

        Other replicas hear of it when the token is refreshed, after `session_seconds` at most.
        """
        _remember(self._ended, session_id, None)


def _signer(key: str, salt: str) -> TimestampSigner:
    return TimestampSigner(key, salt=salt, key_derivation="hmac", digest_method=hashlib.sha256)


def _unsign(signer: TimestampSigner, token: str, good_seconds: float) -> tuple[Bearer, float]:
    try:
        text, signed_at = signer.unsign(token, max_age=int(good_seconds), return_timestamp=True)
    except SignatureExpired:
        raise not_signed_in("The session has expired; refresh it") from None
    except BadSignature:
        raise not_signed_in("This is no token of ours; sign in again") from None
    owner_id, _, session_id = text.decode().partition(".")
    return Bearer(int(owner_id), session_id), signed_at.timestamp() + good_seconds


T = TypeVar("T")


def _remember(kept: OrderedDict[str, T], key: str, value: T) -> None:
    kept[key] = value
    if len(kept) > REMEMBERED:
        kept.popitem(last=False)


async def session_key(database: Database, given: str | None) -> str:
    """Return the signing key: the given one, or one that the database keeps for all replicas."""
    if given is not None:
        return given
    insert = "INSERT INTO secrets (name, value) VALUES ('session_key', $1) ON CONFLICT DO NOTHING"
    await database.write((insert, secrets.token_urlsafe(32)))
    row = await database.one("SELECT value FROM secrets WHERE name = 'session_key'")
    assert row is not None
    return str(row["value"])


@dataclass
class _Guesses:
    count: float
    at: float


class GuessLimit:
    """Bounds wrong passwords: `burst` at once, then one each `seconds_each` (token bucket).

    For each key (an address of mail, an address of the network). A right password costs nothing:
    owners who come back all at once must not be held up. `clock` returns seconds.
    """

    def __init__(self, clock: Callable[[], float], *, burst: int, seconds_each: float) -> None:
        self._clock = clock
        self._burst = burst
        self._seconds_each = seconds_each
        self._by_key: OrderedDict[str, _Guesses] = OrderedDict()

    def seconds_to_wait(self, key: str) -> float:
        """Return how long this key must wait before it may guess; 0 for not at all."""
        guesses = self._by_key.get(key)
        if guesses is None:
            return 0.0
        self._leak(guesses)
        return max(0.0, (guesses.count + 1 - self._burst) * self._seconds_each)

    def guessed(self, key: str) -> None:
        """Count one guess, before it is looked at: those at the same time count too."""
        guesses = self._by_key.setdefault(key, _Guesses(0.0, self._clock()))
        self._leak(guesses)
        guesses.count += 1
        self._by_key.move_to_end(key)
        if len(self._by_key) > REMEMBERED:
            self._by_key.popitem(last=False)

    def take_back(self, key: str) -> None:
        """Count one guess less: it was right, or nobody could look at it."""
        guesses = self._by_key.get(key)
        if guesses is not None:
            guesses.count = max(0.0, guesses.count - 1)

    def _leak(self, guesses: _Guesses) -> None:
        now = self._clock()
        guesses.count = max(0.0, guesses.count - (now - guesses.at) / self._seconds_each)
        guesses.at = now


@dataclass
class Attempt:
    """One attempt to sign in; whoever checks the password sets `was_right`."""

    was_right: bool = False


class SignInGuard:
    """Bounds how fast passwords can be guessed: for one owner, and from one network address.

    In this process: N replicas allow N times as much.
    """

    def __init__(self, clock: Callable[[], float], counts: Counter) -> None:
        self._counts = counts
        self._limits = {
            "owner": GuessLimit(clock, burst=5, seconds_each=12.0),
            "client": GuessLimit(clock, burst=100, seconds_each=0.6),
        }

    @contextmanager
    def attempt(self, email: str, client: str) -> Iterator[Attempt]:
        """Hold one attempt. Raises the 429 when there were too many wrong ones."""
        keys = {"owner": email.lower(), "client": client}
        wait_seconds = max(self._limits[who].seconds_to_wait(key) for who, key in keys.items())
        if wait_seconds > 0:
            self._counts.labels("throttled").inc()
            title = "Too many wrong passwords; wait before the next one"
            after = math.ceil(wait_seconds)
            raise Problem(429, "too_many_attempts", title, retry_after_seconds=after)
        # Of one owner those at the same time count too. Many owners behind one address must not
        # be held up by each other, however slow the database is: there only wrong ones count.
        self._limits["owner"].guessed(keys["owner"])
        attempt = Attempt()
        checked = False
        try:
            yield attempt
            checked = True
        finally:
            # An outage is no wrong guess.
            if attempt.was_right or not checked:
                self._limits["owner"].take_back(keys["owner"])
            else:
                self._limits["client"].guessed(keys["client"])
            if checked:
                self._counts.labels("accepted" if attempt.was_right else "refused").inc()
