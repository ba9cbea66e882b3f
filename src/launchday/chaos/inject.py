"""The only way to add a fault: a `with` that undoes it, and verifies that it is undone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from launchday.chaos.experiment import Experiment
from launchday.chaos.faults import checked_name
from launchday.chaos.injection import AppliedFault, Injection, Record
from launchday.chaos.lease import LEASE_SECONDS, held, undo_all
from launchday.chaos.lease_file import DOUBT_SECONDS, OUR_PREFIX, found
from launchday.chaos.toxiproxy import ProxyState, Snapshot, Toxiproxy
from launchday.errors import PreflightError, ToxiproxyError

__all__ = ["AppliedFault", "Injection", "ResidualFaultError", "injected", "preflight"]

UNDO_SECONDS = 10.0
RETRY_SECONDS = 0.25
_PUMP_SECONDS = 0.02


class ResidualFaultError(ToxiproxyError):
    """A fault could not be undone, or nobody can say whether it was."""

    exit_code = 5


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
    command = f"launchday chaos clear --toxiproxy {url} --link {proxy.name}"
    for toxic in proxy.toxics:
        # What does not bear our name is cleared only for somebody who says so.
        whole = command if toxic.name.startswith(OUR_PREFIX) else f"{command} --all"
        raise PreflightError(
            f"link {proxy.name!r} still has the toxic {toxic.name!r}; if no other run uses it, "
            f"remove it with: {whole}"
        )
    if not proxy.enabled:
        ours = any(lease.disables(proxy.name) for lease in found(url))
        raise PreflightError(
            f"link {proxy.name!r} is disabled; if no other run uses it, enable it with: "
            f"{command}{'' if ours else ' --all'}"
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
    lease_seconds: float = LEASE_SECONDS,
    wait: Callable[[float], None] = time.sleep,
    settle: bool = True,
) -> Iterator[Injection]:
    """Apply the faults of `experiment` that are due at 0, and undo all of them on leaving.

    Yields when these were seen to matter, or not to; `advance` of what it yields does the rest of
    the timetable and must be called until the window is over. Each fault is probed without it,
    applied, read back and probed with it before the next one on the same link starts, so that
    none vouches for another.

    `record` gets one dict per event: `applied`, `updated` (a ramp), `verified` (read back, and
    probed: `effect`, `before_seconds`, `during_seconds`, `affected_share`, `reason`) and `undone`
    (verified against the state before) or `residual` (with `reasons`). Toxics are named
    `launchday-<run_id>-<n>`. A janitor process undoes everything when this process is killed, or
    does not call `advance` for `lease_seconds` (default 10), and notes it in the file `log`; also
    when the Toxiproxy gave no answer to the request for a fault, which may arrive later.
    `owned` (default False): the Toxiproxy is a child of this process and ends with it, and so do
    the faults; the janitor then has nothing to undo. `wait` sleeps while a probe is under way.
    With `settle=False` it yields at once, having applied nothing: `advance` does all of it, and
    may begin with negative seconds, so that links are probed ahead.

    Raises PreflightError (see `preflight`; nothing was injected), ToxiproxyError (a fault could
    not be applied; the others are undone), ResidualFaultError (something was left behind),
    ValueError (a wrong `run_id` or `lease_seconds`).
    """
    checked_name("run_id", run_id)
    snapshot = preflight(toxiproxy, experiment)
    injection = Injection(toxiproxy, experiment, record, run_id, snapshot)
    undos = [applied.undo for applied in injection.faults]
    with held(
        toxiproxy.url,
        undos,
        log=log,
        owned=owned,
        experiment=experiment.title,
        lease_seconds=lease_seconds,
    ) as lease:
        injection.lease = lease
        try:
            if settle:
                _begin(injection, wait)
            yield injection
            _finish(injection, wait)
        finally:
            _undo(toxiproxy, injection, snapshot, record)


def _begin(injection: Injection, wait: Callable[[float], None]) -> None:
    injection.advance(0.0)
    while not injection.is_settled(0.0):
        wait(_PUMP_SECONDS)
        injection.advance(0.0)


def _finish(injection: Injection, wait: Callable[[float], None]) -> None:
    """Wait for the probes that are under way: what they see is the proof that a fault mattered.

    Raises LeaseLostError also when nothing is waited for: a run that stood still until the end of
    its window had no faults in it.
    """
    injection.harvest()
    while injection.is_looking and not injection.aborted:
        wait(_PUMP_SECONDS)
        injection.harvest()


def _undo(toxiproxy: Toxiproxy, injection: Injection, snapshot: Snapshot, record: Record) -> None:
    reasons = _undo_and_compare(toxiproxy, injection, snapshot)
    if injection.lease.unanswered:
        reasons.append(
            f"the Toxiproxy at {toxiproxy.url} did not answer the request for a fault, which may "
            f"still arrive: the janitor undoes it for {DOUBT_SECONDS:g} s more"
        )
    if not reasons:
        injection.lease.release()
    more: dict[str, object] = {"reasons": reasons} if reasons else {}
    events = [
        injection.event("residual" if reasons else "undone", applied, **more)
        for applied in injection.faults
        if reasons or applied.active
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
