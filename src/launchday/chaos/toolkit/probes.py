"""Probes for Chaos Toolkit: does a fault show, what do clients get, what do the metrics say?"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import requests

from launchday.chaos.faults import ATTRIBUTES, Fault
from launchday.chaos.probe import EffectProbe, probe_address
from launchday.chaos.toolkit.holding import Configuration, holding
from launchday.chaos.toolkit.metrics import scraped
from launchday.chaos.toxiproxy import ProxyState
from launchday.errors import ToxiproxyError
from launchday.outcomes import ERRORS, REFUSED, Outcome, outcome_of

__all__ = ["fault_is_effective", "metric_per_second", "metric_value", "probe_before", "requested"]

DOWN = "down"
_log = logging.getLogger("chaostoolkit")


def probe_before(
    for_proxy: str,
    toxic_name: str,
    toxic_type: str,
    stream: str = "downstream",
    toxicity: float = 1.0,
    attributes: Mapping[str, int] | None = None,
    path: str = "/healthz",
    protocol: str = "http",
    configuration: Configuration = None,
) -> float | None:
    """Measure a link without the fault that comes next, for `fault_is_effective`.

    The arguments describe the whole fault as `create_toxic` gets it; a link that will be disabled
    has the `toxic_type` "down" and any name. `protocol` is `http` (asks for `path`), `tls`,
    `postgres` or `tcp`. Returns seconds, None when there was no answer.
    """
    here = holding(configuration)
    proxy = here.toxiproxy.proxy(for_proxy)
    zeros = dict.fromkeys(ATTRIBUTES.get(toxic_type, ()), 0)
    fault = Fault(for_proxy, toxic_type, {**zeros, **(attributes or {})}, stream, toxicity)
    address = probe_address(here.toxiproxy.url, proxy.listen)
    probe = EffectProbe(fault, address, path, protocol, proxy.upstream)
    probe.before()
    here.probes[for_proxy, toxic_name] = fault, probe
    return probe.before_seconds if math.isfinite(probe.before_seconds) else None


def fault_is_effective(
    for_proxy: str, toxic_name: str, configuration: Configuration = None
) -> bool:
    """Whether a fault is there and shows on connections made now; the tolerance is `true`.

    Needs `probe_before` for the same link and name before the fault. Logs why it does not.
    """
    here = holding(configuration)
    measured = here.probes.get((for_proxy, toxic_name))
    if measured is None:
        raise ToxiproxyError(
            f"nothing was measured without {toxic_name!r} on {for_proxy!r}: put the probe "
            "probe_before in front of the action that makes the fault"
        )
    fault, probe = measured
    if not _is_there(fault, toxic_name, here.toxiproxy.proxy(for_proxy)):
        _log.warning("fault_is_effective: %s is not on %s", toxic_name, for_proxy)
        return False
    effective = probe.during()
    if not effective:
        _log.warning("fault_is_effective: %s on %s: %s", toxic_name, for_proxy, probe.reason)
    return effective


def _is_there(fault: Fault, toxic_name: str, proxy: ProxyState) -> bool:
    """Whether the server has the fault itself: a link that somebody disabled shows any fault."""
    if fault.toxic == DOWN:
        return not proxy.enabled
    toxic = proxy.toxic(toxic_name)
    return proxy.enabled and toxic is not None and toxic.type == fault.toxic


@dataclass(frozen=True)
class _Reply:
    outcome: Outcome
    status: int
    seconds: float


def requested(
    measure: str,
    url: str,
    paths: Sequence[str] = ("/healthz",),
    count: int = 10,
    patience_seconds: float = 1.0,
    objective_seconds: float = 0.5,
    headers: Mapping[str, str] | None = None,
) -> float:
    """Send `count` GET requests, one after the other, over `paths` in turn, and measure them.

    `measure` is one of `launchday.chaos.hypothesis.Measure` that is about requests, but not
    retry_share. A share is 0 to 1, a time is in seconds; one that was not answered within
    `patience_seconds` counts with these, and failed_p95_seconds is 0 when none failed. Raises
    ValueError for another measure, ToxiproxyError when no request is left to measure a time of.
    """
    measured = MEASURES.get(measure)
    if measured is None:
        raise ValueError(f"measure must be one of {', '.join(MEASURES)}, got {measure!r}")
    if count < 1 or not paths:
        raise ValueError(f"count must be 1 or more and paths not empty, got {count!r}, {paths!r}")
    with requests.Session() as session:
        session.trust_env = False
        session.headers.update(headers or {})
        replies = [
            _reply(
                session,
                url.rstrip("/") + paths[n % len(paths)],
                patience_seconds,
                objective_seconds,
            )
            for n in range(count)
        ]
    return measured(replies)


def metric_value(metric: str, url: str) -> float:
    """What a metric of the target is now, all its series with these labels added up.

    `metric` is `name` or `name{label="value"}`, `url` that of the Prometheus text. Raises
    ToxiproxyError when there is no answer or no such series.
    """
    return scraped(metric, url)


def metric_per_second(metric: str, url: str, seconds: float = 1.0) -> float:
    """How fast a counter of the target grows, measured over `seconds`; arguments as above."""
    before, began = scraped(metric, url), time.monotonic()
    time.sleep(seconds)
    return (scraped(metric, url) - before) / (time.monotonic() - began)


def _reply(session: requests.Session, url: str, patience: float, objective: float) -> _Reply:
    began = time.perf_counter()
    try:
        answer = session.get(url, timeout=patience, allow_redirects=False)
    except requests.Timeout:
        return _Reply(Outcome.TIMEOUT, 0, patience)
    except requests.RequestException:
        return _Reply(Outcome.CONNECTION, 0, time.perf_counter() - began)
    seconds = time.perf_counter() - began
    if seconds > patience:
        return _Reply(Outcome.TIMEOUT, 0, patience)
    outcome = outcome_of(
        answer.status_code,
        latency_seconds=seconds,
        objective_seconds=objective,
        reason=_reason(answer),
        retry_after="Retry-After" in answer.headers,
    )
    return _Reply(outcome, answer.status_code, seconds)


def _reason(answer: requests.Response) -> str | None:
    if "json" not in answer.headers.get("Content-Type", ""):
        return None
    try:
        reason = answer.json().get("reason")
    except (ValueError, AttributeError):
        return None
    return reason if isinstance(reason, str) else None


Measured = Callable[[Sequence[_Reply]], float]


def _share(*outcomes: Outcome) -> Measured:
    return lambda replies: sum(reply.outcome in outcomes for reply in replies) / len(replies)


def _quantile(share: float, replies: Sequence[_Reply]) -> float:
    """Nearest rank: the smallest value that `share` of all do not exceed."""
    if not replies:
        raise ToxiproxyError("no request is left to measure a time of: all were refused, or none")
    times = sorted(reply.seconds for reply in replies)
    return times[math.ceil(share * len(times)) - 1]


def _admitted(share: float) -> Measured:
    return lambda replies: _quantile(share, [r for r in replies if r.outcome not in REFUSED])


def _of_failed(replies: Sequence[_Reply]) -> float:
    failed = [reply for reply in replies if reply.outcome in ERRORS]
    return _quantile(0.95, failed) if failed else 0.0


MEASURES: Mapping[str, Measured] = {
    "success_share": _share(Outcome.OK, Outcome.SLOW),
    "good_share": _share(Outcome.OK),
    "failed_share": _share(*ERRORS),
    "server_error_share": _share(Outcome.SERVER_ERROR),
    "client_error_share": _share(Outcome.CLIENT_ERROR),
    "timeout_share": _share(Outcome.TIMEOUT),
    "answers_503_share": lambda replies: sum(r.status == 503 for r in replies) / len(replies),
    "p50_seconds": _admitted(0.5),
    "p95_seconds": _admitted(0.95),
    "p99_seconds": _admitted(0.99),
    "slowest_seconds": lambda replies: _quantile(1.0, replies),
    "failed_p95_seconds": _of_failed,
}
