"""The limiter: the gate on an event loop, with permits to give back and futures to wait on."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import cast

from launchday.admission.class_queue import Waiter
from launchday.admission.gate import Gate
from launchday.admission.limits import Limit, LimitChange, Outcome
from launchday.admission.queue_rules import RESERVES, QueueRules
from launchday.admission.refusal import Refusal
from launchday.admission.signals import Downstream, LoopLag, Signal
from launchday.admission.ticker import Ticker

# How late a request may be told that it waited in vain: the target of CoDel.
EXPIRY_SECONDS = 0.005
CRITICAL = 1


class Permit:
    """One admitted request. Give it back exactly once.

    `waited_seconds` is how long the request waited for its slot: 0.0 when it did not queue.
    """

    __slots__ = ("_limiter", "admitted_at", "cost", "criticality", "released", "waited_seconds")

    def __init__(
        self,
        limiter: Limiter,
        criticality: int,
        cost: int,
        admitted_at: float,
        waited_seconds: float = 0.0,
    ) -> None:
        self._limiter = limiter
        self.criticality = criticality
        self.cost = cost
        self.admitted_at = admitted_at
        self.released = False
        self.waited_seconds = waited_seconds

    def release(
        self, outcome: Outcome = Outcome.SUCCESS, answered_at: float | None = None
    ) -> float:
        """Give the slot back and return how many seconds it was held.

        `answered_at`: when the answer began, on the clock of the limiter; the limit learns from
        the time until then. Default: now. Raises RuntimeError when it was given back before:
        counting a slot twice would let the limiter admit more than its limit.
        """
        if self.released:
            raise RuntimeError("permit released twice")
        self.released = True
        return self._limiter._release(self, outcome, answered_at)

    def __del__(self) -> None:
        if not self.released:
            self.released = True
            self._limiter._leaked(self)


class _Waiting(Waiter):
    __slots__ = ("future", "granted")

    def __init__(self, criticality: int, cost: int, size_bytes: int, gives_up_at: float) -> None:
        super().__init__(criticality, cost, size_bytes=size_bytes, gives_up_at=gives_up_at)
        self.future: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        self.granted = False

    def settle(self, refusal: Refusal | None) -> None:
        self.granted = refusal is None
        # A grant and a cancellation can fall into one tick of the loop.
        if not self.future.done():
            self.future.set_result(refusal)


class Limiter:
    """Admits while fewer than the limit are in flight; the others wait for a short time.

    `rules`: how many may wait, and for how long. `reserves`: see `Gate`. `signals`: what else
    makes it refuse, each asked ten times a second. `loop_lag`: refuses while the event loop is
    late; None: nothing does. `on_limit_change`, `on_tick` are called with what their names say.
    `clock`: seconds, monotonic. Not thread-safe: one limiter belongs to one event loop. Raises
    ValueError for a value out of range.
    """

    def __init__(
        self,
        limit: Limit,
        *,
        rules: QueueRules | None = None,
        reserves: Sequence[float] = RESERVES,
        signals: Sequence[Signal] = (),
        loop_lag: LoopLag | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.gate = Gate(limit, rules=QueueRules() if rules is None else rules, reserves=reserves)
        self.signals = _require_signals(signals)
        self.loop_lag = loop_lag
        self.clock = clock
        self.on_limit_change: Callable[[LimitChange], None] = _ignore
        self.on_tick: Callable[[float], None] = _ignore
        self.slot_leaks = 0
        self.pressures = dict.fromkeys((signal.reason for signal in self.signals), 0.0)
        self._ticker = Ticker(self._tick, clock, on_start=self._start, on_idle=self.idle)
        self._expires_on: asyncio.AbstractEventLoop | None = None

    @property
    def limit(self) -> Limit:
        """What bounds the requests in flight; may be set to another at any time."""
        return self.gate.limit

    @limit.setter
    def limit(self, limit: Limit) -> None:
        self.gate.limit = limit
        self.gate.grant(self.clock())

    @property
    def inflight(self) -> int:
        """Slots handed out and not yet given back."""
        return self.gate.inflight

    @property
    def queued(self) -> int:
        """Requests that wait for a slot."""
        return self.gate.queued

    def decide(self, criticality: int = CRITICAL, cost: int = 1) -> Permit | Refusal | None:
        """Admit or refuse a request at once; None: it has to wait, see `wait`."""
        now = self.clock()
        if now > self._ticker.lost_after:
            self._ticker.start(now)
        gate, lag = self.gate, self.loop_lag
        if cost > 1:
            cost = min(cost, gate.current_limit)
        if lag is not None and lag.refuses(criticality, now):
            gate.turned_away(criticality, cost)
            return Refusal.LOOP_LAG
        refusal = gate.offer(criticality, cost)
        if refusal is not None:
            return refusal
        if gate.admit(criticality, cost, now):
            return Permit(self, criticality, cost, now)
        if gate.rules.length == 0:
            gate.threshold.dropped(cost)
            return Refusal.LIMIT
        return None

    def try_acquire(self, criticality: int = CRITICAL, cost: int = 1) -> Permit | None:
        """Return a permit if there is one at once; never waits."""
        decision = self.decide(criticality, cost)
        return decision if isinstance(decision, Permit) else None

    def refuse_now(self, criticality: int, cost: int) -> Refusal | None:
        """Return why a request is refused without a wait; never admits.

        One that is not refused here has to come to `decide`, and counts there as decided.
        """
        now = self.clock()
        if now > self._ticker.lost_after:
            self._ticker.start(now)
        refusal = self.gate.judge(criticality, cost)
        if refusal is not None:
            return refusal
        if self._is_shut():
            self.gate.threshold.dropped(cost)
            return Refusal.LIMIT
        self.gate.expect(criticality)
        return None

    @property
    def refusing(self) -> bool:
        """Whether `refuse_now` would refuse anybody."""
        return self.gate.threshold.active or self._is_shut()

    async def acquire(self, criticality: int = CRITICAL, cost: int = 1) -> Permit | Refusal:
        """Return a permit, at once or after a wait in the queue, or the reason for a refusal."""
        decision = self.decide(criticality, cost)
        return await self.wait(criticality, cost) if decision is None else decision

    async def wait(
        self,
        criticality: int = CRITICAL,
        cost: int = 1,
        *,
        size_bytes: int = 0,
        timeout_seconds: float = math.inf,
    ) -> Permit | Refusal:
        """Wait for slots; return a permit, or the reason for a refusal.

        `size_bytes`: the announced size of the body. `timeout_seconds`: how long the client waits
        for its answer. A caller that is cancelled leaves the queue and gives back what it was
        granted meanwhile.
        """
        cost = min(cost, self.gate.current_limit)
        now = self.clock()
        gives_up_at = now + timeout_seconds - self.gate.service_seconds
        waiter = _Waiting(criticality, cost, size_bytes, gives_up_at)
        refusal = self.join(waiter)
        if refusal is not None:
            return refusal
        try:
            refusal = await waiter.future
        except BaseException:
            self._leave(waiter)
            raise
        if refusal is not None:
            return refusal
        admitted_at = self.clock()
        return Permit(self, criticality, cost, admitted_at, admitted_at - now)

    def join(self, waiter: Waiter) -> Refusal | None:
        """Let a request wait: it hears the end by `waiter.settle`. Or return why it may not."""
        refusal = self.gate.join(waiter, self.clock())
        loop = asyncio.get_running_loop()
        if refusal is None and self._expires_on is not loop:
            self._expire_soon(loop)
        return refusal

    def asked_to_wait_seconds(self, now: float) -> float:
        """Return how long dependencies have asked us to leave them alone; 0.0 when none did."""
        signals = (signal for signal in self.signals if isinstance(signal, Downstream))
        return max((signal.retry_after_seconds(now) for signal in signals), default=0.0)

    def idle(self) -> None:
        """Stop everything that runs in the background; the next request starts it again."""
        if self.loop_lag is not None:
            self.loop_lag.stop()

    def _is_shut(self) -> bool:
        gate = self.gate
        return gate.rules.length == 0 and gate.inflight >= gate.current_limit

    def _leave(self, waiter: _Waiting) -> None:
        if not self.gate.leave(waiter) and waiter.granted:
            self.gate.release(waiter.criticality, waiter.cost, 0.0, Outcome.IGNORED, self.clock())

    def _release(self, permit: Permit, outcome: Outcome, answered_at: float | None) -> float:
        now = self.clock()
        admitted_at = permit.admitted_at
        seconds = (now if answered_at is None else answered_at) - admitted_at
        change = self.gate.release(permit.criticality, permit.cost, seconds, outcome, now)
        if change is not None:
            self.on_limit_change(change)
        return now - admitted_at

    def _leaked(self, permit: Permit) -> None:
        """A slot that nobody can give back any more comes back here, and is counted."""
        self.slot_leaks += 1
        self.gate.release(permit.criticality, permit.cost, 0.0, Outcome.IGNORED, self.clock())

    def _expire_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        self._expires_on = loop
        loop.call_later(EXPIRY_SECONDS, self._expire, loop)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._expires_on = None
        now = self.clock()
        self.gate.expire(now)
        if self.gate.queued:
            # A limit that others move (a shared one) tells nobody.
            self.gate.grant(now)
            self._expire_soon(loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.loop_lag is not None:
            self.loop_lag.start(loop)

    def _tick(self, now: float) -> bool:
        busy = bool(self.gate.inflight or self.gate.queued or any(self.gate.threshold.offered))
        pressure, reason = 0.0, Refusal.PRIORITY
        for signal in self.signals:
            try:
                own = min(max(0.0, float(signal.pressure(now))), 1.0)  # NaN: 0
            except Exception:
                self.gate.controller_errors += 1
                continue
            self.pressures[signal.reason] = own
            if own > pressure:
                pressure, reason = own, signal.reason
        self.gate.tick(now, pressure, reason)
        self.on_tick(now)
        return busy


def _require_signals(signals: object) -> tuple[Signal, ...]:
    listed = tuple(signals) if isinstance(signals, list | tuple) else (None,)
    wrong = [one for one in listed if not _is_signal(one)]
    if wrong:
        raise ValueError(
            "signals must be a list or tuple of signals, each with a `reason` that is a Refusal "
            f"and a method `pressure`, not {signals!r}"
        )
    return cast(tuple[Signal, ...], listed)


def _is_signal(candidate: object) -> bool:
    reason = getattr(candidate, "reason", None)
    return isinstance(reason, Refusal) and callable(getattr(candidate, "pressure", None))


def _ignore(_: object) -> None: ...
