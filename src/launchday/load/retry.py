"""When a client that was refused asks again: policies, Retry-After, and a budget; all of it pure.

A policy takes its randomness as an argument and a budget its clock, so that a run repeats.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from random import Random
from types import MappingProxyType
from typing import Literal

NO_ANSWER = 0
"""The status of a request that got no answer: a timeout, or a broken connection."""

_REFUSED = frozenset({429, 503})
_TRANSIENT = frozenset({NO_ANSWER, 500, 502, 504})
_MOST_DOUBLINGS = 64  # further ones change nothing: the cap is far below


@dataclass(frozen=True)
class RetryPolicy:
    """How often a client asks again, and how long it waits before.

    Retry n, counted from 0, waits b = 0 (`immediate`), min(cap, base · 2^n) (`exponential`) or a
    draw from U(0, min(cap, base · 2^n)) (`full_jitter`). With `honours_retry_after` it waits
    min(cap, what the answer asked for) + b: RFC 9110, 10.2.3 names the earliest time, and the
    jitter keeps apart those who were told the same. Full jitter: Marc Brooker, "Exponential
    Backoff And Jitter", AWS Architecture Blog, 2015: sleep = random(0, min(cap, base · 2^attempt)).

    `retries`: the most retries of one request; 3 attempts in all is what the SRE book gives a
    request ("Handling Overload"). `base_seconds`, `cap_seconds`: defaults 1 and 30.

    Raises:
        ValueError: `retries` or a time is negative, or the cap is below the base.
    """

    backoff: Literal["immediate", "exponential", "full_jitter"]
    retries: int = 2
    base_seconds: float = 1.0
    cap_seconds: float = 30.0
    honours_retry_after: bool = False

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise ValueError(f"retries must be at least 0, got {self.retries!r}")
        if not 0 <= self.base_seconds <= self.cap_seconds < float("inf"):
            raise ValueError(
                "base_seconds and cap_seconds must be finite with 0 <= base_seconds <= "
                f"cap_seconds, got {self.base_seconds!r} and {self.cap_seconds!r}"
            )

    def wait_seconds(
        self, retry: int, random: Random, asked_seconds: float | None = None
    ) -> float | None:
        """How long to wait before retry number `retry`, from 0; None: there is no such retry.

        `asked_seconds` is what the answer's Retry-After says, None without one.
        """
        if retry >= self.retries:
            return None
        asked = asked_seconds if self.honours_retry_after and asked_seconds is not None else 0.0
        return min(self.cap_seconds, max(0.0, asked)) + self._backoff_seconds(retry, random)

    def _backoff_seconds(self, retry: int, random: Random) -> float:
        if self.backoff == "immediate":
            return 0.0
        doubled = self.base_seconds * 2.0 ** min(retry, _MOST_DOUBLINGS)
        longest = min(self.cap_seconds, doubled)
        return longest if self.backoff == "exponential" else random.uniform(0.0, longest)


POLICIES: Mapping[str, RetryPolicy] = MappingProxyType(
    {
        "none": RetryPolicy("immediate", retries=0),
        "immediate": RetryPolicy("immediate"),
        "exponential": RetryPolicy("exponential"),
        "full_jitter": RetryPolicy("full_jitter"),
        "retry_after": RetryPolicy("full_jitter", honours_retry_after=True),
    }
)
"""The policies by name; `retry_after` is full jitter on top of what the server asks for."""


class GaveUp(StrEnum):
    """Why a request that may be sent again is not."""

    ATTEMPTS = "attempts"
    PATIENCE = "patience"
    BUDGET = "budget"


def may_retry(status: int, *, repeatable: bool) -> bool:
    """Whether a request that was answered `status` (NO_ANSWER for none) may be sent again.

    429 and 503 turn a request away and name a time to come back. After what may have failed
    half-way (no answer, 500, 502, 504) only what is `repeatable` is sent again: an idempotent
    method (RFC 9110, 9.2.2), or a request with an Idempotency-Key.
    """
    return status in _REFUSED or (repeatable and status in _TRANSIENT)


def retry_after_seconds(value: str | None, now_unix: float) -> float | None:
    """What a Retry-After header asks for, in seconds from `now_unix`; None if it asks nothing.

    RFC 9110, 10.2.3: a number of seconds or an HTTP date. A date that is over asks for 0 s, and
    what is neither is passed over, as the RFC has clients do with what they cannot read.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
        # An HTTP date is in GMT, also where it does not say so (RFC 9110, 5.6.7).
        at_unix = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, at_unix - now_unix)


class RetryBudget:
    """Retries only while they are a small share of all requests of the last seconds.

    SRE book, "Handling Overload", per-client retry budget: a request is only retried as long as
    retries / requests stays below 10 %; then a dependency that is down gets 1.1 times the load
    instead of 3 times. Requests here are all that are sent, retries among them. The book leaves
    open over which time; ten seconds is what Twitter's Finagle takes (RetryBudget, ttl).

    `share`: the allowed share, 0 to 1, default 0.1. `clock` returns seconds that never go back.

    Raises:
        ValueError: `share` or `window_seconds` is not allowed.
    """

    def __init__(
        self, clock: Callable[[], float], *, share: float = 0.1, window_seconds: int = 10
    ) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share must be between 0 and 1, got {share!r}")
        if window_seconds < 1:
            raise ValueError(f"window_seconds must be at least 1, got {window_seconds!r}")
        self._clock = clock
        self._share = share
        self._window_seconds = window_seconds
        self._seconds: deque[list[int]] = deque()  # [second, requests, retries], the oldest first
        self._requests = 0
        self._retries = 0

    def sent(self) -> None:
        """Count a first attempt."""
        self._now()[1] += 1
        self._requests += 1

    def take(self) -> bool:
        """Whether one more retry stays within the budget; then it is counted as sent."""
        second = self._now()
        if self._retries + 1 > self._share * (self._requests + 1):
            return False
        second[1] += 1
        second[2] += 1
        self._requests += 1
        self._retries += 1
        return True

    def _now(self) -> list[int]:
        now = int(self._clock())
        while self._seconds and self._seconds[0][0] <= now - self._window_seconds:
            _, requests, retries = self._seconds.popleft()
            self._requests -= requests
            self._retries -= retries
        if not self._seconds or self._seconds[-1][0] != now:
            self._seconds.append([now, 0, 0])
        return self._seconds[-1]


def gives_up(
    wait_seconds: float | None, left_seconds: float, budget: RetryBudget | None
) -> GaveUp | None:
    """Why a client does not come again; None: it does, and the budget is charged with it.

    `wait_seconds` is what its policy says, `left_seconds` how long it still has the patience.
    """
    if wait_seconds is None:
        return GaveUp.ATTEMPTS
    if wait_seconds > left_seconds:
        return GaveUp.PATIENCE
    return GaveUp.BUDGET if budget and not budget.take() else None
