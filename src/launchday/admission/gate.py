"""The gate: who gets a slot now, who waits, who is refused. Pure: told the time, does no I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol, cast

from launchday.admission.class_queue import ClassQueue, Waiter
from launchday.admission.codel import TARGET_SECONDS
from launchday.admission.limits import Limit, LimitChange, Outcome
from launchday.admission.queue_rules import RESERVES, QueueRules, require_reserves, require_rules
from launchday.admission.refusal import Refusal
from launchday.admission.threshold import (
    CLASSES,
    LOOP_SHARE,
    QUEUE_SHARE,
    PriorityThreshold,
)

# Unset, the queue follows the limit: three times as many may wait.
QUEUE_PER_LIMIT = 3
# What needs more of the limit than this waits without keeping others back.
BLOCKING_SHARE = 0.25
# A reserve keeps at most this part of the limit empty; a class not seen for a while has none.
LARGEST_IDLE_SHARE = 0.1
RESERVED_FOR_SECONDS = 10.0
RATE_SECONDS = 2.0
SERVICE_WEIGHT = 0.05


class Rates(NamedTuple):
    """What was measured over the last seconds, in requests (by cost) per second."""

    offered_rps: float
    drain_rps: float


class TellsOthers(Protocol):
    """A limit that is shared: it has to know what is in flight here, and the time."""

    def publish(self, inflight: int) -> None: ...
    def tick(self, now: float) -> None: ...


class Gate:
    """Never more in flight than the limit; the more critical first, when slots are short.

    A request of class c that takes `cost` slots gets them when ``inflight + cost <= L - held``.
    `held` are the unused parts of the reserves of more critical classes that were seen in the
    last 10 s, together at most a tenth of L (one slot at least): a class may borrow what others
    leave, and gives it back as its requests end. A cost above L counts as L. When nothing is in
    flight, whoever is next gets in.

    Everything else waits (`ClassQueue`), one queue for each class, the most critical first. Who
    needs more than a quarter of L lets those behind go first that fit, so it is served only when
    there is little else: keeping so many slots free for it would cost more than it. When all are
    full, the oldest of the lowest class makes room. What would only wait in vain is
    refused at once (`PriorityThreshold`).

    `reserves`: for each criticality the part of the limit that is its own, 0 to 1, together at
    most 1. Raises ValueError that names the argument, the value and what is allowed.
    """

    def __init__(
        self, limit: Limit, *, rules: QueueRules, reserves: Sequence[float] = RESERVES
    ) -> None:
        rules = require_rules(rules)
        self.reserves = require_reserves(reserves)
        self.threshold = PriorityThreshold()
        self.queues = tuple(
            ClassQueue(rules.timeout_seconds, rules.overload) for _ in range(CLASSES)
        )
        self.rules = rules
        self.inflight_by_class = [0] * CLASSES
        self.queued = 0
        self.controller_errors = 0
        self.contended = False
        self.rates = Rates(0.0, 0.0)
        self.service_seconds = 0.0
        self._seen_at = [-math.inf] * CLASSES
        self._last_limit = 1
        self.inflight = 0
        self.limit = limit
        self._reason = Refusal.PRIORITY
        self._let_in = [0] * CLASSES
        self._expected = [0] * CLASSES
        self._turned_away = False
        self._ticked_at = math.nan
        self._drained = 0

    @property
    def rules(self) -> QueueRules:
        """How many may wait, and for how long; may be set to others at any time."""
        return self._rules

    @rules.setter
    def rules(self, rules: QueueRules) -> None:
        self._rules = require_rules(rules)
        for queue in self.queues:
            queue.by_delay = rules.overload == "minimum_delay"
        self._set_patience()

    @property
    def limit(self) -> Limit:
        """What bounds the requests in flight; may be set to another at any time."""
        return self._limit

    @limit.setter
    def limit(self, limit: Limit) -> None:
        self._limit = limit
        # By its type: asking the limit itself would take its place among the workers at once.
        shared = hasattr(type(limit), "publish")
        self._shared = cast(TellsOthers, limit) if shared else None
        if self._shared is None:
            self._make_room()
        else:
            self._room = 0
            if self.inflight:
                self._tell_others(self._shared)

    @property
    def current_limit(self) -> int:
        """The limit, an integer of at least 1 whatever a controller says or raises."""
        try:
            limit = self._limit.limit
            if limit.__class__ is not int or limit < 1:
                limit = max(1, int(limit))
        except Exception:
            self.controller_errors += 1
            return self._last_limit
        self._last_limit = limit
        return limit

    def offer(self, criticality: int, cost: int) -> Refusal | None:
        """Count a request; return why it is refused at once, or None: try `admit`."""
        if self._let_in[criticality]:
            self._let_in[criticality] -= 1
            return None
        return self.judge(criticality, cost)

    def judge(self, criticality: int, cost: int) -> Refusal | None:
        """Do as `offer`, for a request that nobody has let in before."""
        return self._reason if self.threshold.refuses(criticality, cost) else None

    def expect(self, criticality: int) -> None:
        """Hear that a request was judged and let in: `offer` will meet it, and is to let it in."""
        self._let_in[criticality] += 1
        self._expected[criticality] += 1

    def turned_away(self, criticality: int, cost: int) -> None:
        """Count a request that was refused for a reason that is not known here."""
        if self.offer(criticality, cost) is None:
            self.threshold.dropped(cost)
        self._turned_away = True

    def admit(self, criticality: int, cost: int, now: float) -> bool:
        """Take the slots if they are free and nobody waits who goes first."""
        if not self.queued and self.inflight + cost <= self._room:
            self.inflight += cost
            self.inflight_by_class[criticality] += cost
            return True
        if self.queued:
            # A limit that learns may have grown since the last release: whoever waits goes first.
            self.grant(now)
            if any(self.queues[: criticality + 1]):
                return False
        if not self._fits(criticality, cost, now):
            return False
        self._hold(criticality, cost)
        return True

    def join(self, waiter: Waiter, now: float) -> Refusal | None:
        """Let a request wait; return why it may not, or None."""
        refusal = self._room_for(waiter, now)
        if refusal is not None:
            self.threshold.dropped(waiter.cost)
            return refusal
        self.queues[waiter.criticality].join(waiter, now)
        self.queued += 1
        return None

    def leave(self, waiter: Waiter) -> bool:
        """Take out one that waits no longer (its client left); False when it did not wait."""
        waited = self.queues[waiter.criticality].leave(waiter)
        self.queued -= waited
        return waited

    def release(
        self, criticality: int, cost: int, seconds: float, outcome: Outcome, now: float
    ) -> LimitChange | None:
        """Give slots back that were held for `seconds`; return what it taught the limit."""
        inflight = self.inflight
        self.inflight = inflight - cost
        self.inflight_by_class[criticality] -= cost
        self._drained += cost
        if self._shared is not None:
            self._tell_others(self._shared)
        if outcome is Outcome.SUCCESS:
            self.service_seconds += SERVICE_WEIGHT * (seconds - self.service_seconds)
        try:
            change = self._limit.on_sample(seconds, inflight, outcome, now)
        except Exception:
            self.controller_errors += 1
            return None
        finally:
            if self.queued:
                self.grant(now)
        if change is None:
            return None
        self._make_room()
        if isinstance(change, LimitChange):
            return change
        self.controller_errors += 1
        return None

    def grant(self, now: float) -> None:
        """Give free slots to those who wait, the most critical first."""
        for criticality, queue in enumerate(self.queues):
            while (waiter := queue.first(now)) is not None:
                if waiter.gives_up_at <= now:
                    queue.leave(waiter)
                    self._refuse(waiter, Refusal.DEADLINE)
                elif self._fits(criticality, waiter.cost, now):
                    self._let_go(queue, waiter, now)
                elif waiter.cost <= BLOCKING_SHARE * self._last_limit:
                    return
                elif not self._pass_over(queue, criticality, now):
                    break

    def _let_go(self, queue: ClassQueue, waiter: Waiter, now: float) -> None:
        queue.take(waiter, now)
        self.queued -= 1
        self._hold(waiter.criticality, waiter.cost)
        try:
            waiter.settle(None)
        except Exception:
            # Nobody is there to give the slots back, e.g. because its event loop was closed.
            self.controller_errors += 1
            self._hold(waiter.criticality, -waiter.cost)

    def _pass_over(self, queue: ClassQueue, criticality: int, now: float) -> bool:
        """Serve the first of a queue that fits, behind one that needs too much to wait for."""
        for waiter in queue.in_turn(now):
            if waiter.gives_up_at > now and self._fits(criticality, waiter.cost, now):
                self._let_go(queue, waiter, now)
                return True
        return False

    def expire(self, now: float) -> None:
        """Refuse those who have waited too long."""
        if self.queued:
            for queue in self.queues:
                for waiter in queue.expired(now):
                    self._refuse(waiter, Refusal.QUEUE_TIMEOUT)

    def tick(self, now: float, pressure: float = 0.0, reason: Refusal = Refusal.PRIORITY) -> None:
        """Adjust to what happened since the last tick, a tenth of a second ago or so.

        `pressure`: the share of requests that the signals want refused, 0 to 1; `reason`: which.
        """
        self._let_the_limit_tick(now)
        self._make_room()
        self.expire(now)
        if self.queued:
            self.grant(now)
        seconds = now - self._ticked_at
        self._ticked_at = now
        if not seconds > 0:
            return
        overloaded = self._turned_away or any(queue.stands(now) for queue in self.queues)
        self.contended = overloaded or self.threshold.active
        meant_share = LOOP_SHARE if self._turned_away else QUEUE_SHARE
        self._turned_away = False
        # Who was expected long ago never came, and must not let in others.
        self._let_in = [*map(min, self._let_in, self._expected)]
        self._expected = [0] * CLASSES
        self._look_back(seconds, now)
        self.threshold.tick(
            seconds, overloaded=overloaded, pressure=pressure, meant_share=meant_share
        )
        self._reason = reason if pressure >= self.threshold.share > 0 else Refusal.PRIORITY
        self._set_patience()

    def _let_the_limit_tick(self, now: float) -> None:
        if self._shared is not None:
            try:
                self._shared.tick(now)
            except Exception:
                self.controller_errors += 1

    def _set_patience(self) -> None:
        """Decide class by class how long it is worth to wait, from the least critical upwards."""
        shed_below = False
        for queue, share in zip(
            reversed(self.queues), reversed(self.threshold.refused_shares), strict=True
        ):
            queue.patient = shed_below and not share
            if share:
                # Some are refused anyway: whoever waits for long takes a fresher one's place.
                queue.interval_seconds = 2 * TARGET_SECONDS
            else:
                # Below it is refused so that these get in, and they do when they wait a bit longer.
                queue.interval_seconds = self._rules.timeout_seconds * (1 + queue.patient)
            shed_below = shed_below or share > 0

    def held_from(self, criticality: int, now: float) -> int:
        """Return how many slots are kept free for more critical requests."""
        limit = self._last_limit
        unused = 0.0
        for higher in range(criticality):
            if now - self._seen_at[higher] < RESERVED_FOR_SECONDS:
                free = self.reserves[higher] * limit - self.inflight_by_class[higher]
                unused += max(0.0, free)
        return min(math.ceil(unused), _largest_idle(limit))

    def _make_room(self) -> None:
        """Note up to how many in flight no reserve and no other worker has to be looked at."""
        free = int(self.current_limit * (1 - LARGEST_IDLE_SHARE))
        self._room = free if self._shared is None else 0

    def _tell_others(self, shared: TellsOthers) -> None:
        try:
            shared.publish(self.inflight)
        except Exception:
            self.controller_errors += 1

    def _hold(self, criticality: int, cost: int) -> None:
        self.inflight += cost
        self.inflight_by_class[criticality] += cost
        if self._shared is not None:
            self._tell_others(self._shared)

    def _fits(self, criticality: int, cost: int, now: float) -> bool:
        limit = self.current_limit
        wanted = self.inflight + cost
        if wanted > limit:
            return False
        return self.inflight == 0 or wanted <= limit - self.held_from(criticality, now)

    def _room_for(self, waiter: Waiter, now: float) -> Refusal | None:
        length = self._rules.length
        if length is None:
            length = QUEUE_PER_LIMIT * self._last_limit
        if not length:
            return Refusal.LIMIT
        if waiter.gives_up_at <= now:
            return Refusal.DEADLINE
        self.expire(now)
        # Nobody has to go for a size: two announced large bodies would empty the queue.
        if self._bytes() + waiter.size_bytes > self._rules.size_bytes:
            return Refusal.QUEUE_FULL
        while self.queued >= length:
            lowest = max((c for c in range(CLASSES) if self.queues[c]), default=-1)
            if lowest < waiter.criticality:
                return Refusal.QUEUE_FULL
            self._refuse(self.queues[lowest].pop_oldest(), Refusal.QUEUE_FULL)
        return None

    def _bytes(self) -> int:
        return sum(queue.size_bytes for queue in self.queues)

    def _refuse(self, waiter: Waiter, refusal: Refusal) -> None:
        self.queued -= 1
        self.threshold.dropped(waiter.cost)
        try:
            waiter.settle(refusal)
        except Exception:
            self.controller_errors += 1

    def _look_back(self, seconds: float, now: float) -> None:
        offered, drained = self.threshold.offered, self._drained
        for criticality, count in enumerate(offered):
            if count:
                self._seen_at[criticality] = now
        keep = math.exp(-seconds / RATE_SECONDS)
        self.rates = Rates(
            keep * self.rates.offered_rps + (1 - keep) * sum(offered) / seconds,
            keep * self.rates.drain_rps + (1 - keep) * drained / seconds,
        )
        self._drained = 0


def _largest_idle(limit: int) -> int:
    return max(1, int(LARGEST_IDLE_SHARE * limit)) if limit > 1 else 0
