"""The gate: never above the limit, the more critical first, nothing lost. S15, S16, S30."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from launchday.admission import FixedLimit, Outcome, QueueRules, Refusal
from launchday.admission.class_queue import Waiter
from launchday.admission.gate import Gate

CRITICAL_PLUS, CRITICAL, SHEDDABLE_PLUS, SHEDDABLE = range(4)


class Waiting(Waiter):
    """Remembers how its wait ended."""

    ended = False
    refusal: Refusal | None = None

    def settle(self, refusal: Refusal | None) -> None:
        assert not self.ended, "settled twice"
        self.ended = True
        self.refusal = refusal


def gate_of(limit: int, **rules: Any) -> Gate:
    return Gate(FixedLimit(limit), rules=QueueRules(**rules))


def wait(gate: Gate, criticality: int, now: float, **more: Any) -> Waiting:
    waiter = Waiting(criticality, **more)
    refusal = gate.join(waiter, now)
    if refusal is not None:
        waiter.settle(refusal)
    return waiter


def test_the_most_critical_that_waits_gets_the_next_slot() -> None:
    gate = gate_of(1, length=10)
    assert gate.admit(SHEDDABLE, 1, 0.0)
    waiters = [wait(gate, c, 0.001 * c) for c in (SHEDDABLE, CRITICAL, CRITICAL_PLUS, CRITICAL)]
    order = []
    holder = SHEDDABLE
    for step in range(4):
        gate.release(holder, 1, 0.01, Outcome.SUCCESS, 0.01 + 0.001 * step)
        (served,) = (w for w in waiters if w.ended and w not in order)
        order.append(served)
        holder = served.criticality
    assert [w.criticality for w in order] == [CRITICAL_PLUS, CRITICAL, CRITICAL, SHEDDABLE]
    assert order[1:3] == [waiters[1], waiters[3]], "first in, first out"


def test_a_full_queue_makes_room_at_its_lowest_class() -> None:
    gate = gate_of(1, length=2)
    gate.admit(CRITICAL, 1, 0.0)
    old, new = wait(gate, SHEDDABLE, 0.0), wait(gate, SHEDDABLE, 0.01)
    critical = wait(gate, CRITICAL, 0.02)
    assert (old.refusal, new.ended, critical.ended) == (Refusal.QUEUE_FULL, False, False)
    wait(gate, CRITICAL_PLUS, 0.03)
    assert new.refusal is Refusal.QUEUE_FULL
    assert wait(gate, SHEDDABLE, 0.04).refusal is Refusal.QUEUE_FULL, "everybody there counts more"
    assert gate.queued == 2


def test_the_queue_is_bounded_by_the_size_of_bodies_too() -> None:
    gate = gate_of(1, size_bytes=1000)
    gate.admit(CRITICAL, 1, 0.0)
    first = wait(gate, CRITICAL, 0.0, size_bytes=600)
    assert wait(gate, CRITICAL, 0.01, size_bytes=1001).refusal is Refusal.QUEUE_FULL
    assert wait(gate, CRITICAL_PLUS, 0.02, size_bytes=600).refusal is Refusal.QUEUE_FULL
    assert not first.ended, "no announced body, however critical, pushes others out"


def test_a_request_whose_client_has_given_up_is_not_served() -> None:
    gate = gate_of(1)
    gate.admit(CRITICAL, 1, 0.0)
    impatient = wait(gate, CRITICAL, 0.0, gives_up_at=0.05)
    patient = wait(gate, CRITICAL, 0.01)
    gate.release(CRITICAL, 1, 0.06, Outcome.SUCCESS, 0.06)
    assert (impatient.refusal, patient.refusal, patient.ended) == (Refusal.DEADLINE, None, True)
    assert wait(gate, CRITICAL, 0.07, gives_up_at=0.06).refusal is Refusal.DEADLINE


def test_the_newest_is_served_first_once_the_queue_stands() -> None:
    gate = gate_of(1, timeout_seconds=0.1)
    gate.admit(CRITICAL, 1, 0.0)
    early = [wait(gate, CRITICAL, 0.0), wait(gate, CRITICAL, 0.09)]
    gate.release(CRITICAL, 1, 0.09, Outcome.SUCCESS, 0.095)
    assert early[0].ended
    assert not early[1].ended
    late = [wait(gate, CRITICAL, 0.096), wait(gate, CRITICAL, 0.105)]
    gate.release(CRITICAL, 1, 0.01, Outcome.SUCCESS, 0.1055)
    assert late[1].ended
    assert late[1].refusal is None
    gate.expire(0.107)
    assert early[1].refusal is late[0].refusal is Refusal.QUEUE_TIMEOUT, "over 10 ms in overload"


def test_a_costly_request_takes_its_slots_and_blocks_nobody_for_ever() -> None:
    gate = gate_of(8)
    assert gate.admit(CRITICAL, 5, 0.0)
    assert not gate.admit(CRITICAL, 5, 0.0)
    assert gate.admit(CRITICAL_PLUS, 3, 0.0)
    gate.release(CRITICAL, 5, 0.1, Outcome.SUCCESS, 0.1)
    gate.release(CRITICAL_PLUS, 3, 0.1, Outcome.SUCCESS, 0.1)
    gate.offer(CRITICAL_PLUS, 1)
    gate.tick(0.2)
    gate.tick(0.3)
    assert gate.admit(CRITICAL, 8, 0.3), "alone it gets in, whatever is held for others"
    assert not gate.admit(CRITICAL_PLUS, 1, 0.3)


def test_reserves_are_kept_only_for_classes_that_come() -> None:
    gate = gate_of(20)
    assert sum(gate.admit(SHEDDABLE, 1, 0.0) for _ in range(30)) == 20, "all of it, alone"
    for _ in range(20):
        gate.release(SHEDDABLE, 1, 0.1, Outcome.SUCCESS, 1.0)
    gate.offer(CRITICAL_PLUS, 1)
    gate.tick(0.5)
    gate.tick(1.0)
    assert sum(gate.admit(SHEDDABLE, 1, 1.0) for _ in range(30)) == 18, "at most a tenth is held"
    assert sum(gate.admit(CRITICAL_PLUS, 1, 1.0) for _ in range(30)) == 2
    gate.release(SHEDDABLE, 1, 0.1, Outcome.SUCCESS, 20.0)
    assert gate.admit(SHEDDABLE, 1, 20.0), "nobody of the high class came for 10 s"


@pytest.mark.parametrize("limit", [1, 2, 3, 8])
def test_small_limits_serve_the_lowest_class_all_the_same(limit: int) -> None:
    gate = gate_of(limit)
    for criticality in range(4):
        gate.offer(criticality, 1)
    assert gate.admit(SHEDDABLE, 1, 0.0)


def test_what_needs_a_large_part_of_the_limit_keeps_nobody_back() -> None:
    gate = gate_of(20)
    assert all(gate.admit(CRITICAL, 1, 0.0) for _ in range(20))
    costly, moderate = wait(gate, CRITICAL, 0.0, cost=6), wait(gate, CRITICAL, 0.01, cost=5)
    cheap = wait(gate, CRITICAL, 0.02)
    for step in range(4):
        gate.release(CRITICAL, 1, 0.02, Outcome.SUCCESS, 0.03 + step / 1000)
    assert (costly.ended, moderate.ended, cheap.ended) == (False, False, True)
    assert gate.inflight == 17


def test_slots_granted_to_somebody_who_cannot_be_told_are_free_again() -> None:
    class Gone(Waiting):
        def settle(self, refusal: Refusal | None) -> None:
            raise RuntimeError("Event loop is closed")

    gate = gate_of(1)
    gate.admit(CRITICAL, 1, 0.0)
    gate.join(Gone(CRITICAL), 0.0)
    after = wait(gate, CRITICAL, 0.0)
    gate.release(CRITICAL, 1, 0.1, Outcome.SUCCESS, 0.1)
    assert (after.ended, after.refusal, gate.inflight) == (True, None, 1)
    gate.join(Gone(CRITICAL), 0.2)
    gate.expire(1.0)
    assert (gate.queued, gate.controller_errors) == (0, 2)


class Broken(FixedLimit):
    """A limit that fails in every way that a limit can."""

    def __init__(self) -> None:
        super().__init__(3)
        self.values: list[Any] = []

    def __getattribute__(self, name: str) -> Any:
        if name == "limit":
            values = super().__getattribute__("values")
            value = values.pop() if values else 3
            if isinstance(value, Exception):
                raise value
            return value
        return super().__getattribute__(name)

    def on_sample(self, *_: Any) -> Any:
        raise ZeroDivisionError


def test_a_controller_that_raises_or_says_nonsense_is_clamped_and_counted() -> None:
    limit = Broken()
    gate = Gate(limit, rules=QueueRules())
    assert gate.current_limit == 3
    for nonsense in (ZeroDivisionError(), math.nan, math.inf, "many", None):
        limit.values.append(nonsense)
        assert gate.current_limit == 3
    assert gate.controller_errors == 5
    limit.values.append(-5)
    assert gate.current_limit == 1
    assert gate.admit(CRITICAL, 1, 0.0)
    gate.release(CRITICAL, 1, 0.1, Outcome.SUCCESS, 0.1)
    assert (gate.inflight, gate.controller_errors) == (0, 6)


def test_a_limit_that_teaches_nonsense_or_fails_to_tell_the_others_costs_no_slot() -> None:
    class Odd(FixedLimit):
        def on_sample(self, *_: Any) -> Any:
            return True

        def publish(self, inflight: int) -> None:
            raise ZeroDivisionError

        def tick(self, now: float) -> None:
            raise ZeroDivisionError

    gate = Gate(Odd(1), rules=QueueRules())
    assert gate.admit(CRITICAL, 1, 0.0)
    assert gate.release(CRITICAL, 1, 0.1, Outcome.SUCCESS, 0.1) is None
    gate.tick(0.2)
    assert (gate.inflight, gate.controller_errors) == (0, 4)


def test_what_is_expected_is_decided_once() -> None:
    gate = gate_of(10)
    for _ in range(30):
        for _ in range(100):
            gate.offer(CRITICAL, 1)
        gate.tick(gate.rates.offered_rps, 0.0)
        gate.threshold.tick(0.1, overloaded=False, pressure=0.5)
    judged = 0
    for _ in range(1000):
        # As a server reads them: many before the first of them comes to the app.
        if gate.judge(CRITICAL, 1) is None:
            gate.expect(CRITICAL)
            judged += 1
    assert judged == pytest.approx(500, abs=5)
    offered = [gate.offer(CRITICAL, 1) for _ in range(judged)]
    assert set(offered) == {None}, "whoever passed the first time passes the second"
    assert {gate.offer(CRITICAL, 1) for _ in range(10)} != {None}
    for _ in range(1000):
        gate.expect(CRITICAL)
    for _ in range(2):  # who was expected before the last tick never came
        gate.threshold.share = 0.5
        gate.tick(gate._ticked_at + 0.1, pressure=0.5)
    offered = [gate.offer(CRITICAL, 1) for _ in range(1000)]
    assert offered.count(None) == pytest.approx(500, abs=150), "nobody else comes in their place"


class AnyOrder(RuleBasedStateMachine):
    """Offers, waits, ends, cancels and ticks in any order, with any costs and classes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.limit = FixedLimit(7)
        self.gate = Gate(self.limit, rules=QueueRules(length=5, size_bytes=100))
        self.held: list[tuple[int, int]] = []
        self.waiting: list[Waiting] = []
        self.offered = self.admitted = self.refused = self.cancelled = 0

    @rule(
        criticality=st.integers(0, 3),
        cost=st.integers(1, 9),
        size=st.integers(0, 120),
        patience=st.sampled_from([0.0, 0.02, math.inf]),
    )
    def come(self, criticality: int, cost: int, size: int, patience: float) -> None:
        self.offered += 1
        if self.gate.offer(criticality, cost) is not None:
            self.refused += 1
        elif self.gate.admit(criticality, cost, self.now):
            self.admitted += 1
            self.held.append((criticality, cost))
        else:
            waiter = wait(
                self.gate, criticality, self.now, cost=cost, size_bytes=size,
                gives_up_at=self.now + patience,
            )  # fmt: skip
            self.waiting.append(waiter)
        self.settle()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def end(self, data: st.DataObject, outcome: Outcome) -> None:
        at = data.draw(st.integers(0, len(self.held) - 1))
        self.gate.release(*self.held.pop(at), 0.05, outcome, self.now)
        self.settle()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def hang_up(self, data: st.DataObject) -> None:
        waiter = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        assert self.gate.leave(waiter)
        assert not self.gate.leave(waiter)
        self.cancelled += 1

    @rule(seconds=st.sampled_from([0.001, 0.02, 0.2, 5.0]), pressure=st.floats(0, 1))
    def pass_time(self, seconds: float, pressure: float) -> None:
        self.now += seconds
        self.gate.tick(self.now, pressure)
        self.settle()

    @rule(limit=st.integers(1, 12))
    def learn(self, limit: int) -> None:
        self.limit.limit = limit

    def settle(self) -> None:
        for waiter in [w for w in self.waiting if w.ended]:
            self.waiting.remove(waiter)
            if waiter.refusal is None:
                self.admitted += 1
                self.held.append((waiter.criticality, waiter.cost))
            else:
                self.refused += 1

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.offered == self.admitted + self.refused + self.cancelled + len(self.waiting)
        assert self.gate.inflight == sum(cost for _, cost in self.held)
        assert self.gate.queued == len(self.waiting) == sum(map(len, self.gate.queues)) <= 5
        for criticality in range(4):
            held = sum(cost for c, cost in self.held if c == criticality)
            assert self.gate.inflight_by_class[criticality] == held
        assert sum(queue.size_bytes for queue in self.gate.queues) <= 100
        assert 0 <= self.gate.threshold.share <= 0.98


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
test_any_order_of_events_conserves_everything = AnyOrder.TestCase


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), max_size=60), st.integers(1, 12))
def test_in_flight_is_never_above_the_limit(requests: list[tuple[int, int]], limit: int) -> None:
    gate = gate_of(limit)
    held = 0
    for criticality, cost in requests:
        if gate.admit(criticality, cost, 0.0):
            assert held == 0 or held + cost <= limit
            held += cost
