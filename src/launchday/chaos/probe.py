"""Does a fault have an effect? One HTTP GET through the link, before and during the fault."""

from __future__ import annotations

import math
import socket
import time
from urllib.parse import urlsplit

from launchday.chaos.experiment import Fault

PROBE_TIMEOUT_SECONDS = 2.0
MOST_PROBE_SECONDS = 10.0
LEAST_TRIES = 3
MOST_TRIES = 20


def probe_link_seconds(listen: str, path: str, *, timeout_seconds: float) -> float:
    """Send one GET for `path` to `listen` (`host:port`) on a fresh connection.

    Returns the seconds from connecting to the first byte of the answer, `timeout_seconds` when
    none came in that time, and infinity when the connection was refused, reset or closed empty.
    """
    host, port = _split(listen)
    request = f"GET {path} HTTP/1.1\r\nHost: {listen}\r\nConnection: close\r\n\r\n".encode("ascii")
    start = time.perf_counter()
    try:
        with socket.create_connection((host, port), timeout=timeout_seconds) as connection:
            connection.sendall(request)
            connection.settimeout(max(0.001, start + timeout_seconds - time.perf_counter()))
            if not connection.recv(1):
                return math.inf
    except TimeoutError:
        return timeout_seconds
    except OSError:
        return math.inf
    return min(timeout_seconds, time.perf_counter() - start)


def has_effect(
    fault: Fault,
    before_seconds: float,
    during_seconds: float,
    *,
    timeout_seconds: float = PROBE_TIMEOUT_SECONDS,
) -> bool:
    """Judge two probes that waited at most `timeout_seconds`; False when the first one failed.

    A latency must show at least half of what it adds at the least (latency - jitter), and never
    less than a quarter of the latency. A timeout or a link that is down must give no answer.
    """
    if before_seconds >= timeout_seconds:
        return False
    if fault.toxic != "latency":
        return during_seconds >= timeout_seconds
    latency_seconds = fault.attributes["latency"] / 1000
    least_added_seconds = max(latency_seconds - fault.jitter_ms / 1000, latency_seconds / 2) / 2
    added_seconds = during_seconds - before_seconds
    if not math.isfinite(during_seconds) or latency_seconds == 0:
        return False
    return during_seconds >= timeout_seconds or added_seconds >= least_added_seconds


class EffectProbe:
    """Probes one link of an experiment before and during its fault."""

    def __init__(self, fault: Fault, address: str, path: str) -> None:
        self._fault = fault
        self._address = address
        self._path = path
        extra = (fault.attributes.get("latency", 0) + fault.jitter_ms) / 1000
        self.timeout_seconds = min(MOST_PROBE_SECONDS, PROBE_TIMEOUT_SECONDS + extra)
        self.before_seconds = math.inf
        self.during_seconds = math.inf

    def before(self) -> None:
        """Measure without the fault: the best of a few, so that one hiccup hides no effect."""
        self.before_seconds = math.inf
        for _ in range(LEAST_TRIES):
            self.before_seconds = min(self.before_seconds, self._once())
            if self.before_seconds >= self.timeout_seconds:
                return

    def during(self) -> bool:
        """Measure with the fault, on fresh connections until one shows it; say whether one did."""
        tries = tries_needed(self._fault.toxicity)
        self.during_seconds = 0.0
        for _ in range(tries):
            self.during_seconds = max(self.during_seconds, self._once())
            if self._effective():
                return True
        return False

    def _once(self) -> float:
        return probe_link_seconds(self._address, self._path, timeout_seconds=self.timeout_seconds)

    def _effective(self) -> bool:
        return has_effect(
            self._fault,
            self.before_seconds,
            self.during_seconds,
            timeout_seconds=self.timeout_seconds,
        )


def tries_needed(toxicity: float) -> int:
    """How many connections until a fault with this toxicity was hit with 99 % probability.

    n = ceil(ln 0.01 / ln(1 - toxicity)), at least 3 and at most 20.
    """
    if toxicity >= 1:
        return LEAST_TRIES
    if toxicity <= 0:
        return MOST_TRIES
    wanted = min(MOST_TRIES, math.log(0.01) / math.log1p(-toxicity))
    return max(LEAST_TRIES, math.ceil(wanted))


def probe_address(toxiproxy_url: str, listen: str) -> str:
    """Where we reach a proxy: the host of the API, since `listen` may be 0.0.0.0 over there."""
    host = urlsplit(toxiproxy_url).hostname or "127.0.0.1"
    port = listen.rpartition(":")[2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _split(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)
