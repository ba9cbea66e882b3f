"""The limiter: never more than the limit, first in first out, nothing ever leaks."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from launchday import FixedLimit, Limiter, Outcome, Permit
from launchday.admission import QueueRules, Refusal


def build(limit: int, queue_length: int = 0, queue_timeout_seconds: float = 30.0) -> Limiter:
    rules = QueueRules(length=queue_length, timeout_seconds=queue_timeout_seconds)
    return Limiter(FixedLimit(limit), rules=rules)


def take(limiter: Limiter) -> Permit:
    permit = limiter.try_acquire()
    assert permit is not None
    return permit


async def spin() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class NeverAboveTheLimit(RuleBasedStateMachine):
    """Any order of admissions and releases, without a queue."""

    def __init__(self) -> None:
        super().__init__()
        self.limit = 3
        self.limiter = build(self.limit)
        self.held: list[Permit] = []

    @rule()
    def ask(self) -> None:
        permit = self.limiter.try_acquire()
        assert (permit is None) == (len(self.held) == self.limit)
        if permit is not None:
            self.held.append(permit)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def give_back(self, data: st.DataObject, outcome: Outcome) -> None:
        self.held.pop(data.draw(st.integers(0, len(self.held) - 1))).release(outcome)

    @invariant()
    def counts(self) -> None:
        assert self.limiter.inflight == len(self.held) <= self.limit


test_inflight_is_what_is_held = NeverAboveTheLimit.TestCase


def test_a_permit_released_twice_is_an_error_and_frees_one_slot() -> None:
    limiter = build(2)
    permit, _other = take(limiter), take(limiter)
    permit.release()
    with pytest.raises(RuntimeError, match="released twice"):
        permit.release()
    assert limiter.inflight == 1


def test_release_tells_how_long_the_slot_was_held_and_the_limit_learns_it() -> None:
    samples: list[tuple[float, int, Outcome, float]] = []

    class Learning(FixedLimit):
        def on_sample(self, seconds: float, inflight: int, outcome: Outcome, now: float) -> None:
            samples.append((seconds, inflight, outcome, now))

    now = 100.0
    limiter = Limiter(Learning(2), rules=QueueRules(length=0, timeout_seconds=1), clock=lambda: now)
    permit, _other = take(limiter), take(limiter)
    now = 102.5
    assert permit.release(Outcome.DROPPED) == 2.5
    assert samples == [(2.5, 2, Outcome.DROPPED, 102.5)]


def test_a_permit_that_nobody_can_give_back_comes_back_and_is_counted() -> None:
    limiter = build(1)
    take(limiter)
    assert (limiter.inflight, limiter.slot_leaks) == (0, 1)
    take(limiter).release()
    assert limiter.slot_leaks == 1


def test_the_slot_is_free_even_if_the_limit_fails_to_learn() -> None:
    class Broken(FixedLimit):
        def on_sample(self, seconds: float, inflight: int, outcome: Outcome, now: float) -> None:
            raise ZeroDivisionError

    limiter = Limiter(Broken(1), rules=QueueRules(length=0, timeout_seconds=1))
    take(limiter).release()
    assert (limiter.inflight, limiter.gate.controller_errors) == (0, 1)


async def test_waiters_are_served_first_in_first_out() -> None:
    limiter = build(1, queue_length=3)
    held = take(limiter)
    order: list[int] = []

    async def wait(number: int) -> None:
        permit = await limiter.acquire()
        assert isinstance(permit, Permit)
        order.append(number)
        await asyncio.sleep(0)
        permit.release()

    tasks = [asyncio.create_task(wait(number)) for number in range(3)]
    await spin()
    assert limiter.queued == 3
    held.release()
    assert limiter.try_acquire() is None, "a newcomer overtook the queue"
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2]
    assert (limiter.inflight, limiter.queued) == (0, 0)


async def test_reasons_tell_no_queue_from_full_queue_from_expired() -> None:
    without = build(1)
    held = take(without)
    assert await without.acquire() is Refusal.LIMIT
    held.release()

    limiter = build(1, queue_length=1, queue_timeout_seconds=0.05)
    held = take(limiter)
    waiting = asyncio.create_task(limiter.acquire())
    await spin()
    assert await limiter.acquire() is Refusal.QUEUE_TIMEOUT
    assert await waiting is Refusal.QUEUE_FULL
    assert limiter.queued == 0
    held.release()
    take(limiter).release()


async def test_a_waiter_knows_how_long_it_waited() -> None:
    now = 10.0
    limiter = Limiter(
        FixedLimit(1), rules=QueueRules(length=1, timeout_seconds=30), clock=lambda: now
    )
    held = take(limiter)
    waiting = asyncio.create_task(limiter.acquire())
    await spin()
    now = 10.25
    held.release()
    permit = await waiting
    assert isinstance(permit, Permit)
    assert permit.waited_seconds == 0.25


async def test_a_cancelled_waiter_leaves_the_queue() -> None:
    limiter = build(1, queue_length=1)
    held = take(limiter)
    waiting = asyncio.create_task(limiter.acquire())
    await spin()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert limiter.queued == 0
    held.release()
    assert limiter.inflight == 0


@pytest.mark.parametrize("grant_first", [True, False])
async def test_grant_and_cancellation_in_one_tick_lose_no_slot(grant_first: bool) -> None:
    limiter = build(1, queue_length=2)
    held = take(limiter)
    first, second = (asyncio.create_task(limiter.acquire()) for _ in range(2))
    await spin()
    if grant_first:
        held.release()
        first.cancel()
    else:
        first.cancel()
        held.release()
    with pytest.raises(asyncio.CancelledError):
        await first
    permit = await second
    assert isinstance(permit, Permit)
    assert limiter.inflight == 1
    permit.release()
    assert (limiter.inflight, limiter.queued) == (0, 0)


async def test_expiry_and_cancellation_in_one_tick_lose_no_slot() -> None:
    limiter = build(1, queue_length=1, queue_timeout_seconds=0.01)
    held = take(limiter)
    waiting = asyncio.create_task(limiter.acquire())
    asyncio.get_running_loop().call_later(0.01, waiting.cancel)
    await asyncio.wait({waiting})
    held.release()
    assert (limiter.inflight, limiter.queued) == (0, 0)


async def test_a_limit_that_grew_serves_the_queue_before_newcomers() -> None:
    limit = FixedLimit(1)
    limiter = Limiter(limit, rules=QueueRules(length=1, timeout_seconds=30))
    _held = take(limiter)
    waiting = asyncio.create_task(limiter.acquire())
    await spin()
    limit.limit = 2
    assert limiter.try_acquire() is None
    assert isinstance(await waiting, Permit)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), limit=st.integers(1, 4), queue_length=st.integers(0, 4))
def test_fuzz_conserves_every_request(seed: int, limit: int, queue_length: int) -> None:
    """Clients that come, wait, leave and crash in any order: offered = what became of them."""
    counts = asyncio.run(_fuzz(random.Random(seed), limit, queue_length))
    assert counts["offered"] == counts["admitted"] + counts["rejected"] + counts["cancelled"]
    assert counts["offered"] == 60


async def _fuzz(rng: random.Random, limit: int, queue_length: int) -> Counter[str]:
    limiter = build(limit, queue_length, queue_timeout_seconds=0.002)
    counts: Counter[str] = Counter()

    async def client() -> None:
        counts["offered"] += 1
        try:
            decision = await limiter.acquire()
        except asyncio.CancelledError:
            counts["cancelled"] += 1
            raise
        if not isinstance(decision, Permit):
            counts["rejected"] += 1
            return
        counts["admitted"] += 1
        try:
            assert limiter.inflight <= limit
            for _ in range(rng.randrange(6)):
                await asyncio.sleep(0 if rng.random() < 0.8 else 0.001)
        finally:
            decision.release(rng.choice(list(Outcome)))

    tasks: list[asyncio.Task[None]] = []
    for _ in range(60):
        tasks.append(asyncio.create_task(client()))
        if rng.random() < 0.4:
            await asyncio.sleep(0)
        if rng.random() < 0.3:
            # A task cancelled before its first step never offered anything: let it start.
            await asyncio.sleep(0)
            rng.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (limiter.inflight, limiter.queued) == (0, 0)
    return counts


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"length": -1}, "queue_length must be an integer of at least 0, not -1"),
        ({"length": 1.0}, "queue_length must be an integer of at least 0, not 1.0"),
        (
            {"timeout_seconds": 0},
            "queue_timeout_seconds must be a number above 0 and at most",
        ),
        ({"timeout_seconds": float("nan")}, "at most 60, not nan"),
        ({"timeout_seconds": 61}, "at most 60, not 61"),
        ({"timeout_seconds": "1"}, "at most 60, not '1'"),
    ],
)
def test_wrong_settings_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        QueueRules(**arguments)
