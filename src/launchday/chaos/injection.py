"""The faults of an experiment while it runs: moves them in time and watches that they matter."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TypeVar

from launchday.chaos.applied import TAKEN_AWAY, AppliedFault, seen, why_not_alone
from launchday.chaos.experiment import Experiment
from launchday.chaos.lease import Lease, LeaseLostError
from launchday.chaos.lease_file import OUR_PREFIX
from launchday.chaos.probe import EffectProbe, probe_address
from launchday.chaos.timetable import Action, Step, timetable
from launchday.chaos.toxiproxy import ProxyState, Snapshot, Toxiproxy
from launchday.chaos.usage import Counters, LinkUsage, read_counters
from launchday.errors import ToxiproxyError

__all__ = ["AHEAD_SECONDS", "AppliedFault", "Injection", "Record", "in_background"]

AHEAD_SECONDS = 10.0
"""So long before a fault its link is probed without it, and the use of the link is watched."""
GRACE_SECONDS = 2.0
"""So long at most a fault outlives its time for a probe that is under way."""
READ_BACK_SECONDS = 2.0
_FAILED_READS = 2

T = TypeVar("T")
Record = Callable[[dict[str, object]], None]


def in_background(call: Callable[[], T]) -> Future[T]:
    """Run `call` in a thread that does not keep the process alive."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # whoever asks for the result gets it
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


class Injection:
    """What runs inside the `with injected(...)`; made there only."""

    def __init__(
        self,
        toxiproxy: Toxiproxy,
        experiment: Experiment,
        record: Record,
        run_id: str,
        snapshot: Snapshot,
    ) -> None:
        self.experiment = experiment
        self.run_id = run_id
        self.faults = [
            AppliedFault(fault, None if fault.toxic == "down" else f"{OUR_PREFIX}{run_id}-{number}")
            for number, fault in enumerate(experiment.faults, start=1)
        ]
        for step in timetable(experiment):
            self.faults[step.number].steps.append(step)
        self.lease: Lease
        self.aborted = ""
        self._toxiproxy = toxiproxy
        self._record = record
        self._snapshot = snapshot
        self._reading: tuple[float, Future[tuple[Snapshot, Counters | None]]] | None = None
        self._next_read = 0.0
        self._failed_reads = 0
        self._usage = {link: LinkUsage(link) for link in experiment.links}
        self._probed_at = dict.fromkeys(experiment.links, -math.inf)
        self._counts: bool | None = None

    @property
    def effective(self) -> bool:
        """Whether the probe saw every fault that was due so far, and none has vanished."""
        return all(applied.effect is not False for applied in self.faults)

    @property
    def active_words(self) -> str:
        """The faults that are in right now, for people; empty when there is none."""
        return ", ".join(
            f"{applied.fault.words} on {applied.fault.link}"
            for applied in self.faults
            if applied.active
        )

    def advance(self, now_seconds: float) -> None:
        """Do what is due at `now_seconds` of the experiment's window; call it at least each second.

        Returns at once: probes run in the background. A fault is applied when its link has been
        probed without it, which is begun 10 s ahead where the link is as it will be (`now_seconds`
        may be negative for that). The end of one waits until it was seen, at most 2 s; one whose
        time is over before it was applied is left out. Every 2 s all faults are read back: one
        that somebody took away, or whose link somebody changed, has no effect from then on.

        Raises ToxiproxyError (a step was refused) and LeaseLostError (the janitor has ended).
        """
        self.harvest()
        if self._counts is None:
            counters = read_counters(self._toxiproxy)
            self._counts = counters is not None
            self._count(counters, time.monotonic())
        for applied in self.faults:
            while applied.steps and applied.steps[0].at_seconds <= now_seconds:
                if not self._move(applied, now_seconds):
                    break
            self._probe_ahead(applied, now_seconds)
        self._read_back()

    def harvest(self) -> None:
        """Note what probes have found, and change nothing. Raises LeaseLostError."""
        try:
            self.lease.beat()
        except LeaseLostError as error:
            for applied in self.faults:
                if applied.active:
                    self._vanished(applied, str(error))
            raise
        for applied in self.faults:
            self._harvest(applied)

    def is_settled(self, now_seconds: float) -> bool:
        """Whether nothing that was due at `now_seconds` still waits for a probe."""
        return not self.is_looking and not any(
            applied.steps and applied.steps[0].at_seconds <= now_seconds for applied in self.faults
        )

    @property
    def is_looking(self) -> bool:
        """Whether a probe is under way."""
        return any(applied.looking for applied in self.faults)

    def abort(self, reason: str) -> None:
        """End the experiment early: the caller leaves the `with`, which then waits for nothing."""
        self.aborted = reason
        for applied in self.faults:
            self._record(self.event("aborted", applied, reason=reason))

    def note_use(self) -> None:
        """Record for each link whether anybody but the probes used it: the event `used`."""
        for link, usage in self._usage.items():
            probes = [one.probe for one in self.faults if one.fault.link == link and one.probe]
            said = usage.seen(sum(probe.sent_bytes for probe in probes))
            more = {"experiment": self.experiment.title, "link": link, "unix": time.time()}
            self._record({"event": "used", **more, "run_id": self.run_id, **said})

    def _move(self, applied: AppliedFault, now_seconds: float) -> bool:
        """Do the next step of a fault; False when it must wait."""
        step = applied.steps[0]
        if step.action is Action.APPLY and applied.next_undo_seconds <= now_seconds:
            applied.skip()
            return True
        if self._must_wait(applied, step, now_seconds):
            return False
        applied.steps.popleft()
        match step.action:
            case Action.APPLY:
                self._apply(applied, step)
            case Action.UPDATE:
                self._update(applied, step)
            case Action.UNDO:
                self._undo(applied)
        if step.whole and applied.effect is None:
            self._look(applied, now_seconds)
        return True

    def _must_wait(self, applied: AppliedFault, step: Step, now_seconds: float) -> bool:
        if step.action is Action.APPLY:
            return not self._is_probed(applied)
        if step.action is Action.UPDATE or applied.looking is None:
            return False
        if now_seconds < step.at_seconds + GRACE_SECONDS:
            return True
        self._without_effect(applied, "its effect was not seen in time")
        return False

    def _look(self, applied: AppliedFault, now_seconds: float) -> None:
        """Have the effect probed, once; behind a black-hole of ours nothing can be seen."""
        if applied.hidden_by and not applied.reason:
            applied.reason = f"hidden by {applied.hidden_by}: only read back"
            self._record(self.event("verified", applied, **seen(applied)))
        elif applied.probe is not None:
            probe, within = applied.probe, applied.next_undo_seconds + GRACE_SECONDS - now_seconds
            applied.looking = in_background(lambda: probe.during(within))
            self._probed_at[applied.fault.link] = time.monotonic()

    def _probe_ahead(self, applied: AppliedFault, now_seconds: float) -> None:
        """Probe the link before the fault is due, if nothing of ours changes it until then."""
        if not applied.steps or applied.probe or applied.hidden_by:
            return
        step = applied.steps[0]
        if step.action is not Action.APPLY or step.at_seconds > now_seconds + AHEAD_SECONDS:
            return
        others = (o for o in self.faults if o is not applied and o.fault.link == applied.fault.link)
        if not any(other.steps and other.steps[0].order < step.order for other in others):
            self._is_probed(applied)

    def _is_probed(self, applied: AppliedFault) -> bool:
        """Whether the link was probed without this fault; starts that when it is free for it."""
        if applied.probe is not None:
            return applied.looking is None
        link = applied.fault.link
        others = [other for other in self.faults if other.fault.link == link and other.active]
        if any(other.looking for other in self.faults if other.fault.link == link):
            return False
        applied.hidden_by = next((o.fault.words for o in others if o.hides_others), "")
        if applied.hidden_by:
            return True
        address = probe_address(self._toxiproxy.url, self._snapshot[link].listen)
        experiment = self.experiment
        applied.probe = EffectProbe(
            applied.fault,
            address,
            experiment.probe_path,
            experiment.probe_of(link),
            self._snapshot[link].upstream,
        )
        applied.looking = in_background(applied.probe.before)
        self._probed_at[link] = time.monotonic()
        return False

    def _apply(self, applied: AppliedFault, step: Step) -> None:
        fault = applied.fault
        with self.lease.asking():
            self._ask(applied, step)
        applied.now, applied.since = step, time.monotonic()
        self._record(self.event("applied", applied))
        if not applied.is_in(self._toxiproxy.proxies().get(fault.link)):
            raise ToxiproxyError(
                f"Toxiproxy took the fault {fault.words} on {fault.link}, has it not"
            )

    def _ask(self, applied: AppliedFault, step: Step) -> None:
        fault = applied.fault
        if applied.toxic is None:
            self._toxiproxy.set_enabled(fault.link, False)
        else:
            self._toxiproxy.add_toxic(
                fault.link,
                applied.toxic,
                fault.toxic,
                fault.stream,
                step.toxicity,
                step.attributes,
            )

    def _update(self, applied: AppliedFault, step: Step) -> None:
        assert applied.toxic is not None  # a link that is down has no ramp
        if not applied.active:
            return
        try:
            self._toxiproxy.update_toxic(
                applied.fault.link, applied.toxic, step.attributes, step.toxicity
            )
        except ToxiproxyError as error:
            if error.status != 404:
                raise
            self._vanished(applied, "somebody took it away during the run")
            return
        applied.now, applied.since = step, time.monotonic()
        size: dict[str, object] = {
            "attributes": dict(step.attributes),
            "toxicity": step.toxicity,
        }
        self._record(self.event("updated", applied, **size))

    def _undo(self, applied: AppliedFault) -> None:
        if not applied.active:
            return
        applied.undo(self._toxiproxy)
        applied.now, applied.since, applied.until = None, math.inf, time.monotonic()
        self._record(self.event("undone", applied))

    def _harvest(self, applied: AppliedFault) -> None:
        if applied.looking is None or not applied.looking.done():
            return
        effect, applied.looking = applied.looking.result(), None
        self._probed_at[applied.fault.link] = time.monotonic()
        probe = applied.probe
        if effect is None or probe is None or not applied.active:
            return
        applied.effect, applied.reason = effect, probe.reason
        applied.before_seconds = _finite(probe.before_seconds)
        applied.during_seconds = _finite(probe.during_seconds)
        applied.affected_share = probe.affected_share
        self._record(self.event("verified", applied, **seen(applied)))

    def _read_back(self) -> None:
        if self._reading is None:
            if time.monotonic() >= self._next_read:
                self._reading = time.monotonic(), in_background(self._read)
            return
        asked, reading = self._reading
        if not reading.done():
            return
        self._reading, self._next_read = None, time.monotonic() + READ_BACK_SECONDS
        error = reading.exception()
        self._failed_reads = self._failed_reads + 1 if error else 0
        if self._failed_reads >= _FAILED_READS:
            self._lost(asked, {}, f"nobody can say whether it is still there: {error}")
        elif not error:
            proxies, counters = reading.result()
            self._count(counters, asked)
            self._lost(asked, proxies, TAKEN_AWAY)

    def _read(self) -> tuple[Snapshot, Counters | None]:
        return self._toxiproxy.proxies(), read_counters(self._toxiproxy) if self._counts else None

    def _count(self, counters: Counters | None, asked: float) -> None:
        if counters is None:
            return
        for link, usage in self._usage.items():
            looking = any(one.looking for one in self.faults if one.fault.link == link)
            usage.add(counters, asked, math.inf if looking else self._probed_at[link])

    def _lost(self, asked: float, proxies: Mapping[str, ProxyState], reason: str) -> None:
        for applied in self.faults:
            if applied.since >= asked:
                continue
            proxy = proxies.get(applied.fault.link)
            if proxy is None or not applied.is_in(proxy):
                self._vanished(applied, reason)
                continue
            ours = [one for one in self.faults if one.fault.link == proxy.name]
            why = why_not_alone(proxy, self._snapshot[proxy.name], ours, asked)
            if why:
                self._vanished(applied, why)

    def _vanished(self, applied: AppliedFault, reason: str) -> None:
        # Once is enough: the run goes on, and its verdict is that the fault had no effect.
        applied.since = math.inf
        self._without_effect(applied, reason)

    def _without_effect(self, applied: AppliedFault, reason: str) -> None:
        applied.looking = None
        applied.effect, applied.reason = False, reason
        self._record(self.event("verified", applied, **seen(applied)))

    def event(self, event: str, applied: AppliedFault, **more: object) -> dict[str, object]:
        """One line of faults.jsonl about a fault."""
        return {
            "event": event,
            "experiment": self.experiment.title,
            "link": applied.fault.link,
            "fault": applied.fault.words,
            "unix": time.time(),
            "run_id": self.run_id,
            "toxic": applied.toxic,
            **more,
        }


def _finite(seconds: float) -> float | None:
    # Infinity is not JSON.
    return seconds if math.isfinite(seconds) else None
