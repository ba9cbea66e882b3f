"""Probes a link before and during its fault, on connections of its own, to see that it matters."""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections.abc import Coroutine
from typing import Any, TypeVar
from urllib.parse import urlsplit

from launchday.chaos.effect import (
    ENDS,
    LONG,
    TIMED,
    ideal_seconds,
    is_meant,
    is_usable,
    passed_bytes,
    seconds_of,
    shows,
    why_invisible,
)
from launchday.chaos.exchange import (
    Request,
    Seen,
    exchange,
    exchanges,
    long_request,
    short_request,
)
from launchday.chaos.faults import Fault

PROBE_TIMEOUT_SECONDS = 2.0
MOST_PROBE_SECONDS = 10.0
TRIES = 3
MOST_TRIES = 9
LEAST_CONNECTIONS = 80
MOST_CONNECTIONS = 500
AT_ONCE = 20
LEAST_AT_ONCE = 4
# A target that serves one after the other must not look slowed by our own probes.
_OWN_SHARE = 0.4
# A busy machine may stand still for a part of this, and again on the next connection.
_STALL_SECONDS = 1.0
_MOST_IN_DOUBT = 4
# How long a limited exchange shall take, and how many requests that may need at most.
_WANTED_SECONDS = 0.5
_MOST_REQUESTS = 100

T = TypeVar("T")


class EffectProbe:
    """Probes one link of an experiment before and during its fault. Blocks; not thread-safe.

    `address` is `host:port`; `protocol` is `http` (default; asks for `path`), `tls` (shakes hands,
    and asks for `path` where an answer is needed), `postgres` or `tcp`. `upstream` (default
    `address`) is the `host:port` behind the link, whose host is the server name (SNI) of `tls`.
    Afterwards: `before_seconds` and `during_seconds`, the time that the fault changes
    (infinite: no answer); `affected_share` of the connections made during the fault; `sent_bytes`,
    what all its connections sent (infinite: not known); and, if it had no effect, `reason`, why.
    """

    def __init__(
        self,
        fault: Fault,
        address: str,
        path: str = "/healthz",
        protocol: str = "http",
        upstream: str = "",
    ) -> None:
        self._fault = fault
        self._address = address
        self._path = path
        self._protocol = protocol
        self._host = upstream if upstream and protocol == "tls" else address
        self._before = Seen()
        self._request = self._first_request()
        extra = sum(fault.attributes.get(name, 0) for name in ("latency", "jitter", "delay"))
        extra += fault.attributes["timeout"] if fault.toxic == "reset_peer" else 0
        in_ms = 0 if fault.toxic == "slicer" else extra
        self.timeout_seconds = min(MOST_PROBE_SECONDS, PROBE_TIMEOUT_SECONDS + in_ms / 1000)
        self.before_seconds = math.inf
        self.during_seconds = math.inf
        self.affected_share: float | None = None
        self.sent_bytes = 0.0
        self.reason = ""
        self._at_once = AT_ONCE
        self._deadline: float | None = None

    def before(self) -> None:
        """Measure without the fault: the best of a few, so that one hiccup hides no effect."""
        self._before, self.before_seconds = Seen(), math.inf
        if self._fault.toxic in LONG:
            self._lengthen(self._once())
        for _ in range(TRIES):
            seen = self._once()
            seconds = seconds_of(self._fault, seen, self.timeout_seconds)
            if seconds < self.before_seconds:
                self._before, self.before_seconds = seen, seconds
            if not is_usable(self._fault, seen):
                return
        if self._fault.toxicity < 1:
            self._load_as_during()

    def _load_as_during(self) -> None:
        """Choose how many connections are made at once, so few that they slow the target little.

        Where even a few do, the comparison is with the median of so many.
        """
        ideal = ideal_seconds(self._fault, self._before)
        if not ideal or not self.before_seconds:
            return
        fitting = int(_OWN_SHARE * ideal / self.before_seconds)
        self._at_once = min(AT_ONCE, max(LEAST_AT_ONCE, fitting))
        if fitting >= self._at_once:
            return
        found = [
            (seconds_of(self._fault, seen, self.timeout_seconds), number, seen)
            for number, seen in enumerate(self._many(TRIES * self._at_once))
            if is_usable(self._fault, seen)
        ]
        if found:
            self.before_seconds, _, self._before = statistics.median_high(found)

    def during(self, within_seconds: float = math.inf) -> bool:
        """Measure with the fault, on fresh connections; say whether it shows as it is meant to.

        A fault on every connection must show on one of three. A delay below 1 s may be a stall of
        this machine: it must show that many times more often than not as make 1 s, at most 4
        (Wald's sequential test: were each connection stalled with probability q, it would pass for
        an effect with at most (q / (1 - q))^4). Of one with a toxicity below 1, at least 80
        connections must have been hit in a share within 3 sigma; a second look at twice as many
        corrects bad luck.
        What is not seen `within_seconds` (default: no limit) is no effect.
        """
        reason = why_invisible(self._fault, self._before)
        if reason:
            usable = is_usable(self._fault, self._before)
            self.reason = reason if usable else f"{reason}; it was asked in {self._protocol!r}"
            return False
        if within_seconds < math.inf:
            self._deadline = time.monotonic() + within_seconds
        try:
            return self._shows_on_all() if self._fault.toxicity >= 1 else self._shows_on_its_share()
        except TimeoutError:
            self.sent_bytes = math.inf
            self.reason = f"its effect was not seen in time ({max(0.0, within_seconds):.1f} s)"
            return False
        finally:
            self._deadline = None

    def _shows_on_all(self) -> bool:
        shown = 0
        for tries in range(1, MOST_TRIES + 1):
            shows_it = self._count([self._once()])
            shown += shows_it
            missed = tries - shown
            self.affected_share = shown / tries
            timed = self._fault.toxic in TIMED
            if shows_it and (not timed or shown - missed >= self._times_to_see()):
                return True
            if missed - shown >= TRIES:
                break
        self.reason = "the probe saw no difference"
        if shown:
            self.reason = f"the probe saw a difference on {shown} of {tries} connections"
        return False

    def _times_to_see(self) -> int:
        """How much oftener than not a time must show, so that it is not this machine's stalls."""
        return min(_MOST_IN_DOUBT, math.ceil(_STALL_SECONDS / max(1e-9, self.during_seconds)))

    def _shows_on_its_share(self) -> bool:
        toxicity, connections, affected = self._fault.toxicity, 0, 0
        for _ in range(2):
            count = connections or connections_needed(toxicity)
            connections += count
            affected += self._count(self._many(count))
            self.affected_share = affected / connections
            if affected and is_meant(affected, connections, toxicity):
                return True
            if not toxicity:
                break
        self.reason = f"it hit {affected} of {connections} connections, meant were {toxicity:.0%}"
        return False

    def _count(self, seen: list[Seen]) -> int:
        """How many show the fault; the worst of them stays as `during_seconds`."""
        times = [seconds_of(self._fault, each, self.timeout_seconds) for each in seen]
        self.during_seconds = max(times)
        return sum(shows(self._fault, self._before, each, self.timeout_seconds) for each in seen)

    def _once(self) -> Seen:
        seen = self._run(exchange(self._address, self._request, self.timeout_seconds))
        self.sent_bytes += seen.sent_bytes
        return seen

    def _many(self, count: int) -> list[Seen]:
        asked = exchanges(
            self._address, self._request, self.timeout_seconds, count=count, at_once=self._at_once
        )
        seen = self._run(asked)
        self.sent_bytes += sum(each.sent_bytes for each in seen)
        return seen

    def _run(self, conversation: Coroutine[Any, Any, T]) -> T:
        """Raises TimeoutError at the deadline of `during`."""

        async def in_time() -> T:
            left = None if self._deadline is None else self._deadline - time.monotonic()
            async with asyncio.timeout(left):
                return await conversation

        return asyncio.run(in_time())

    def _first_request(self) -> Request:
        by_end = self._fault.toxic in ENDS and self._protocol == "tcp"
        if by_end or self._fault.toxic == "slow_close":
            return Request(enough_bytes=0, half_close=True)
        make = long_request if self._fault.toxic in LONG else short_request
        return make(self._protocol, self._path, self._host)

    def _lengthen(self, one: Seen) -> None:
        """Ask as often as it takes until the fault has something to work on."""
        passed = max(1, passed_bytes(self._fault, one))
        each = self._each_bytes(passed)
        per_byte = ideal_seconds(self._fault, one) / passed
        if self._fault.toxic == "limit_data":
            wanted_bytes = float(self._fault.attributes["bytes"] + 2 * each)
        elif self._fault.toxic == "slicer" and not self._fault.attributes["delay"]:
            wanted_bytes = 0.0  # answers in a row come in pieces by themselves
        else:
            wanted_bytes = _WANTED_SECONDS / max(1e-9, per_byte)
        repeat = 1 + math.ceil(max(0.0, wanted_bytes - passed) / each)
        repeat = min(_MOST_REQUESTS, repeat)
        self._request = self._repeated(repeat)
        expected = per_byte * (passed + (repeat - 1) * each)
        self.timeout_seconds = min(MOST_PROBE_SECONDS, PROBE_TIMEOUT_SECONDS + 2 * expected)

    def _each_bytes(self, passed: int) -> int:
        """What one more request adds; not all of `passed`, where a handshake is part of it."""
        if self._protocol != "tls":
            return passed
        self._request = self._repeated(2)
        return max(1, passed_bytes(self._fault, self._once()) - passed)

    def _repeated(self, repeat: int) -> Request:
        return long_request(self._protocol, self._path, self._host, repeat=repeat)


def connections_needed(toxicity: float) -> int:
    """How many connections until a fault with this toxicity was hit with 99.9 % probability.

    n = ceil(ln 0.001 / ln(1 - toxicity)), at least 80 (for a share that means something) and at
    most 500.
    """
    if not 0 < toxicity < 1:
        return LEAST_CONNECTIONS
    wanted = min(MOST_CONNECTIONS, math.log(0.001) / math.log1p(-toxicity))
    return max(LEAST_CONNECTIONS, math.ceil(wanted))


def probe_address(toxiproxy_url: str, listen: str) -> str:
    """Where we reach a proxy: the host of the API, since `listen` may be 0.0.0.0 over there."""
    host = urlsplit(toxiproxy_url).hostname or "127.0.0.1"
    port = listen.rpartition(":")[2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
