"""The only way to add a fault: a `with` that undoes it, and verifies that it is undone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from launchday.chaos.experiment import Experiment, Fault, checked_name
from launchday.chaos.lease import Lease, Undo, held, undo_all
from launchday.chaos.probe import EffectProbe, probe_address
from launchday.chaos.toxiproxy import ProxyState, Snapshot, Toxiproxy
from launchday.errors import PreflightError, ToxiproxyError

UNDO_SECONDS = 10.0
RETRY_SECONDS = 0.25

Record = Callable[[dict[str, object]], None]


class ResidualFaultError(ToxiproxyError):
    """A fault could not be undone, or nobody can say whether it was."""

    exit_code = 5


@dataclass
class AppliedFault:
    """One fault of a running injection.

    `toxic` is the name of the toxic, None for a link that is down. `before_seconds` and
    `during_seconds` are what the effect probe saw; None means that there was no answer at all.
    """

    fault: Fault
    toxic: str | None
    before_seconds: float | None = None
    during_seconds: float | None = None
    effect: bool = False

    @property
    def undo(self) -> Undo:
        """How to take this fault back."""
        return Undo(self.fault.link, self.toxic, self.fault.words)


@dataclass
class Injection:
    """What runs inside the `with`; `effective` is False when some fault showed no effect."""

    experiment: Experiment
    run_id: str
    faults: list[AppliedFault] = field(default_factory=list)

    @property
    def effective(self) -> bool:
        """Whether the probe saw every fault."""
        return all(applied.effect for applied in self.faults)


def preflight(toxiproxy: Toxiproxy, experiment: Experiment) -> Snapshot:
    """Refuse to start on a wrong or dirty Toxiproxy; return the clean state of the links.

    Raises PreflightError: a link that is not a proxy (lists the known ones), a leftover toxic or
    a disabled proxy (with the command that clears it). Raises ToxiproxyError: no answer.
    """
    proxies = toxiproxy.proxies()
    for link in experiment.links:
        if link not in proxies:
            known = ", ".join(sorted(proxies)) or "none"
            raise PreflightError(
                f"no link {link!r} in Toxiproxy at {toxiproxy.url}; it has {known}"
            )
        _refuse_leftovers(toxiproxy.url, proxies[link])
    return {link: proxies[link] for link in experiment.links}


def _refuse_leftovers(url: str, proxy: ProxyState) -> None:
    for toxic in proxy.toxics:
        raise PreflightError(
            f"link {proxy.name!r} still has the toxic {toxic.name!r}; remove it with: "
            f"curl -X DELETE {url}/proxies/{proxy.name}/toxics/{toxic.name}"
        )
    if not proxy.enabled:
        raise PreflightError(
            f"link {proxy.name!r} is disabled; enable it with: "
            f"curl -X POST -d '{{\"enabled\":true}}' {url}/proxies/{proxy.name}"
        )


@contextmanager
def injected(
    toxiproxy: Toxiproxy,
    experiment: Experiment,
    record: Record,
    *,
    run_id: str,
    log: Path | None = None,
    owned: bool = False,
) -> Iterator[Injection]:
    """Apply the faults of `experiment`, one after the other, and undo them on leaving.

    Each fault is probed without it, applied, read back and probed with it before the next one
    starts, so that none vouches for another on the same link.

    `record` gets one dict per event: `applied` and `verified` (read back, and probed: `effect`,
    `before_seconds`, `during_seconds`) for each fault, then `undone` (verified against the state
    before) or `residual` (with `reasons`). Toxics are named `launchday-<run_id>-<n>`. A janitor
    process undoes everything when this process is killed, and notes it in the file `log`.
    `owned` (default False): the Toxiproxy is a child of this process and ends with it, and so do
    the faults; the janitor then has nothing to undo.

    Raises PreflightError (see `preflight`; nothing was injected), ToxiproxyError (a fault could
    not be applied; the others are undone), ResidualFaultError (something was left behind).
    """
    checked_name("run_id", run_id)
    snapshot = preflight(toxiproxy, experiment)
    injection = Injection(experiment, run_id, _named(experiment, run_id))
    undos = [applied.undo for applied in injection.faults]
    with held(toxiproxy.url, undos, log=log, owned=owned) as lease:
        try:
            for applied in injection.faults:
                probe = _probe(toxiproxy, injection, applied, snapshot)
                _apply(toxiproxy, applied)
                record(_event("applied", injection, applied))
                _verify(toxiproxy, applied, probe)
                record(_event("verified", injection, applied, **_seen(applied)))
            yield injection
        finally:
            _undo(toxiproxy, injection, snapshot, lease, record)


def _named(experiment: Experiment, run_id: str) -> list[AppliedFault]:
    return [
        AppliedFault(fault, None if fault.toxic == "down" else f"launchday-{run_id}-{number}")
        for number, fault in enumerate(experiment.faults, start=1)
    ]


def _probe(
    toxiproxy: Toxiproxy, injection: Injection, applied: AppliedFault, snapshot: Snapshot
) -> EffectProbe:
    address = probe_address(toxiproxy.url, snapshot[applied.fault.link].listen)
    probe = EffectProbe(applied.fault, address, injection.experiment.probe_path)
    probe.before()
    return probe


def _apply(toxiproxy: Toxiproxy, applied: AppliedFault) -> None:
    fault = applied.fault
    if applied.toxic is None:
        toxiproxy.set_enabled(fault.link, False)
    else:
        toxiproxy.add_toxic(
            fault.link, applied.toxic, fault.toxic, fault.stream, fault.toxicity, fault.attributes
        )


def _verify(toxiproxy: Toxiproxy, applied: AppliedFault, probe: EffectProbe) -> None:
    fault = applied.fault
    proxy = toxiproxy.proxies().get(fault.link)
    if proxy is None or not _is_there(proxy, applied):
        raise ToxiproxyError(f"Toxiproxy took the fault {fault.words} on {fault.link}, has it not")
    applied.effect = probe.during()
    applied.before_seconds = _finite(probe.before_seconds)
    applied.during_seconds = _finite(probe.during_seconds)


def _is_there(proxy: ProxyState, applied: AppliedFault) -> bool:
    if applied.toxic is None:
        return not proxy.enabled
    fault = applied.fault
    wanted = (fault.toxic, fault.stream, fault.toxicity, dict(fault.attributes))
    return any(
        (toxic.type, toxic.stream, toxic.toxicity, toxic.attributes) == wanted
        for toxic in proxy.toxics
        if toxic.name == applied.toxic
    )


def _finite(seconds: float) -> float | None:
    # Infinity is not JSON.
    return seconds if math.isfinite(seconds) else None


def _seen(applied: AppliedFault) -> dict[str, object]:
    return {
        "effect": applied.effect,
        "before_seconds": applied.before_seconds,
        "during_seconds": applied.during_seconds,
    }


def _event(
    event: str, injection: Injection, applied: AppliedFault, **more: object
) -> dict[str, object]:
    return {
        "event": event,
        "experiment": injection.experiment.title,
        "link": applied.fault.link,
        "fault": applied.fault.words,
        "unix": time.time(),
        "run_id": injection.run_id,
        "toxic": applied.toxic,
        **more,
    }


def _undo(
    toxiproxy: Toxiproxy, injection: Injection, snapshot: Snapshot, lease: Lease, record: Record
) -> None:
    reasons = _undo_and_compare(toxiproxy, injection, snapshot)
    if not reasons:
        lease.release()
    event: dict[str, object] = {"reasons": reasons} if reasons else {}
    events = [
        _event("residual" if reasons else "undone", injection, applied, **event)
        for applied in injection.faults
    ]
    try:
        for written in events:
            record(written)
    finally:
        if reasons:
            raise ResidualFaultError(f"faults left behind: {'; '.join(reasons)}")


def _undo_and_compare(toxiproxy: Toxiproxy, injection: Injection, snapshot: Snapshot) -> list[str]:
    deadline = time.monotonic() + UNDO_SECONDS
    undos = [applied.undo for applied in reversed(injection.faults)]
    while True:
        reasons = undo_all(toxiproxy, undos, deadline_seconds=deadline - time.monotonic())
        if not reasons:
            try:
                reasons = toxiproxy.residual(snapshot)
            except ToxiproxyError as error:
                reasons = [str(error)]
        if not reasons or time.monotonic() >= deadline:
            return reasons
        time.sleep(RETRY_SECONDS)
