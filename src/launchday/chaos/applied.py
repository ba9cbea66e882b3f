"""One fault of a running injection: what was done with it, what was seen, is it still there."""

from __future__ import annotations

import math
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from launchday.chaos.faults import Fault
from launchday.chaos.lease import Undo
from launchday.chaos.probe import EffectProbe
from launchday.chaos.timetable import Action, Step
from launchday.chaos.toxiproxy import ProxyState

TAKEN_AWAY = "somebody took it away or changed it during the run"


@dataclass
class AppliedFault:
    """One fault of a running injection.

    `toxic` is the name of the toxic, None for a link that is down. `before_seconds` and
    `during_seconds` are what the effect probe saw; None means that there was no answer at all.
    `affected_share` is the measured share of connections; `effect` is None until the probe has
    answered, and for good when another fault hides this one (`hidden_by`); `reason` says why it is
    not True. `since` and `until` are when it last came and went, on the monotonic clock.
    """

    fault: Fault
    toxic: str | None
    steps: deque[Step] = field(default_factory=deque)
    before_seconds: float | None = None
    during_seconds: float | None = None
    affected_share: float | None = None
    effect: bool | None = None
    reason: str = ""
    now: Step | None = None
    since: float = math.inf
    until: float = -math.inf
    probe: EffectProbe | None = None
    hidden_by: str = ""
    looking: Future[None] | Future[bool] | None = None

    @property
    def active(self) -> bool:
        """Whether it is in right now."""
        return self.now is not None

    @property
    def hides_others(self) -> bool:
        """Whether no probe can see anything else on this link, and this fault was seen."""
        whole = self.fault.toxic == "timeout" and self.fault.toxicity >= 1
        return self.active and whole and bool(self.effect)

    @property
    def undo(self) -> Undo:
        """How to take this fault back."""
        return Undo(self.fault.link, self.toxic, self.fault.words)

    @property
    def next_undo_seconds(self) -> float:
        """When it goes next, in seconds of the window; infinite when it does not."""
        return next((s.at_seconds for s in self.steps if s.action is Action.UNDO), math.inf)

    def skip(self) -> None:
        """Leave out the steps up to and with the next undo."""
        while self.steps.popleft().action is not Action.UNDO:
            pass

    def is_in(self, proxy: ProxyState | None) -> bool:
        """Whether the server says that this fault is there, as it was put there."""
        if proxy is None or self.now is None:
            return False
        if self.toxic is None:
            return not proxy.enabled
        wanted = (self.fault.toxic, self.fault.stream, dict(self.now.attributes))
        return any(
            (toxic.type, toxic.stream, dict(toxic.attributes)) == wanted
            and math.isclose(toxic.toxicity, self.now.toxicity, abs_tol=1e-6)
            for toxic in proxy.toxics
            if toxic.name == self.toxic
        )


def why_not_alone(
    proxy: ProxyState, then: ProxyState, ours: list[AppliedFault], asked: float
) -> str:
    """Why `proxy` differs from `then` by more than our faults `ours` on it; empty: it does not.

    `asked` is when the server was asked, on the monotonic clock.
    """
    names = {applied.toxic for applied in ours}
    foreign = [toxic.name for toxic in proxy.toxics if toxic.name not in names]
    if foreign:
        return f"somebody else added {', '.join(foreign)} to the link during the run"
    if proxy.upstream != then.upstream:
        return f"somebody moved the link to {proxy.upstream} during the run, was {then.upstream}"
    down = [applied for applied in ours if applied.toxic is None]
    if not proxy.enabled and not any(one.active or one.until >= asked for one in down):
        return "somebody disabled the link during the run"
    return ""


def seen(applied: AppliedFault) -> dict[str, object]:
    """What the event `verified` says of a fault."""
    return {
        "effect": applied.effect,
        "before_seconds": applied.before_seconds,
        "during_seconds": applied.during_seconds,
        "affected_share": applied.affected_share,
        "toxicity": applied.fault.toxicity,
        "reason": applied.reason,
    }
