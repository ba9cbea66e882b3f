"""One limit for several workers: what each may have, and who teaches it."""

from __future__ import annotations

import heapq
import random
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from launchday.admission.limits import FixedLimit, LimitChange, LimitReason, Outcome
from launchday.admission.shared import SharedLimit, follow
from tests.admission.shared_support import Workers


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "limit"


@pytest.fixture
def build(path: Path) -> Iterator[Workers]:
    workers = Workers(path)
    yield workers
    workers.close()


def test_a_worker_may_use_what_the_others_leave_and_always_one(build: Workers) -> None:
    ours, other = build(10), build(10)
    assert (ours.limit, other.limit) == (10, 10)
    other.publish(7)
    assert ours.limit == 3
    ours.publish(3)
    assert (ours.limit, other.limit) == (3, 7)
    other.publish(12)
    assert ours.limit == 1
    other.publish(0)
    assert ours.limit == 10
    assert (ours.total_inflight, ours.live_workers) == (3, 2)


class AnyOrder(RuleBasedStateMachine):
    """Three workers that take, give back, tick, leave and come in any order."""

    LIMIT = 5

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.now = 0.0
        self.workers = [self.join() for _ in range(3)]
        self.held = [0, 0, 0]

    def join(self) -> SharedLimit:
        path = Path(self.folder) / "limit"
        shared = SharedLimit(FixedLimit(self.LIMIT), path=path, clock=lambda: self.now)
        assert shared.limit >= 1
        return shared

    @rule(worker=st.integers(0, 2))
    def take(self, worker: int) -> None:
        if self.held[worker] < self.workers[worker].limit:
            self.held[worker] += 1
            self.workers[worker].publish(self.held[worker])

    @rule(worker=st.integers(0, 2))
    def give_back(self, worker: int) -> None:
        if self.held[worker]:
            self.held[worker] -= 1
            self.workers[worker].publish(self.held[worker])

    @rule(worker=st.integers(0, 2), seconds=st.sampled_from([0.1, 0.6, 3.0]))
    def tick(self, worker: int, seconds: float) -> None:
        self.now += seconds
        self.workers[worker].tick(self.now)

    @rule(worker=st.integers(0, 2))
    def restart(self, worker: int) -> None:
        self.workers[worker].close()
        self.workers[worker] = self.join()
        self.held[worker] = 0

    @invariant()
    def counts(self) -> None:
        total = sum(self.held)
        assert total <= self.LIMIT + len(self.workers) - 1
        for worker, held in zip(self.workers, self.held, strict=True):
            assert (worker.total_inflight, worker.live_workers) == (total, 3)
            free = self.LIMIT - (total - held)
            assert worker.limit in {max(1, free), max(1, free - 1)}

    def teardown(self) -> None:
        for worker in self.workers:
            worker.close()
        shutil.rmtree(self.folder)


test_counts_are_exact_in_any_order_of_events = AnyOrder.TestCase
AnyOrder.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_a_worker_that_is_kept_from_its_part_is_next(build: Workers) -> None:
    ours, hog = build(10), build(10)
    assert (ours.limit, hog.limit) == (10, 10)
    ours.publish(1)
    hog.publish(9)
    for tick in range(3):
        assert ours.limit == 1
        ours.tick(100.0 + tick / 10)
    hog.publish(8)
    assert (ours.limit, hog.limit) == (2, 8)
    ours.publish(2)
    assert hog.limit == 8
    for _ in range(3):
        assert ours.limit == 2
        ours.tick(100.5)
    hog.publish(7)
    assert (ours.limit, hog.limit) == (3, 7)
    for _ in range(3):
        ours.tick(100.6)
    assert hog.limit == 8  # nobody asks for it any more


@pytest.mark.parametrize("leaves", [True, False], ids=["closed", "blocked"])
def test_who_is_next_and_does_not_come_holds_nothing_up(build: Workers, leaves: bool) -> None:
    ours, hog = build(10), build(10)
    assert (ours.limit, hog.limit) == (10, 10)
    ours.publish(1)
    hog.publish(9)
    for _ in range(2):
        assert ours.limit == 1
        ours.tick(100.0)
    assert ours.limit == 1
    assert hog.limit == 8
    hog.publish(5)
    ours.publish(0)
    assert hog.limit == 9
    if leaves:
        ours.close()
    else:
        hog.tick(103.0)
    assert hog.limit == 10


def test_a_closed_worker_is_not_counted_and_closing_twice_frees_no_one_elses_row(
    build: Workers,
) -> None:
    first, second = build(10), build(10)
    first.publish(4)
    assert second.limit == 10  # not yet in the file: the row is taken at the first decision
    assert first.limit == 10
    assert second.limit == 6
    first.close()
    third = build(10)
    assert third.limit == 10
    first.close()
    first.publish(9)
    first.tick(101.0)
    assert (second.live_workers, second.total_inflight) == (2, 0)
    assert first.limit >= 1


class Learner:
    """Learns what it is told to learn."""

    algorithm = "learner"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.next = limit
        self.seen: list[int] = []

    def on_sample(
        self, seconds: float, inflight: int, outcome: Outcome, now: float
    ) -> LimitChange | None:
        self.seen.append(inflight)
        if self.next == self.limit:
            return None
        change = LimitChange(self.limit, self.next, LimitReason.GROWTH)
        self.limit = self.next
        return change


def sample(shared: SharedLimit, inflight: int) -> LimitChange | None:
    return shared.on_sample(0.1, inflight, Outcome.SUCCESS, 100.0)


def test_the_leader_learns_from_the_sum_and_all_use_what_it_finds(build: Workers) -> None:
    teachers = [Learner(20), Learner(20)]
    leader, follower = (build(teacher) for teacher in teachers)
    for shared, inflight in ((leader, 4), (follower, 5)):
        assert shared.limit
        shared.publish(inflight)
        shared.tick(100.0)
    teachers[0].next = teachers[1].next = 30
    assert sample(follower, 5) is None
    assert sample(leader, 4) == LimitChange(20, 30, LimitReason.GROWTH)
    assert (teachers[0].seen, teachers[1].seen) == ([9], [])
    assert (leader.limit, follower.limit) == (30 - 5, 30 - 4)
    assert leader.algorithm == "learner"


def test_who_takes_over_goes_on_from_the_limit_in_force(build: Workers) -> None:
    first, second = Learner(20), Learner(20)
    leader, heir = build(first), build(second)
    for shared in (leader, heir):
        assert shared.limit
        shared.tick(100.0)
    first.next = 60
    assert sample(leader, 1)
    leader.close()
    heir.tick(100.1)
    assert heir.limit == 60
    second.next = 30
    assert sample(heir, 1) is None
    assert heir.limit == 60
    second.next = 15
    assert sample(heir, 1) == LimitChange(60, 30, LimitReason.GROWTH)
    second.next = 40
    assert sample(heir, 1) == LimitChange(30, 40, LimitReason.GROWTH)


def test_a_newcomer_in_a_lower_row_does_not_take_the_lead(build: Workers) -> None:
    first, second, third = build(10), build(Learner(20)), build(Learner(20))
    for shared in (first, second):
        assert shared.limit
    first.close()
    second.tick(100.0)
    assert third.limit
    third.tick(100.1)
    second.tick(100.2)
    assert sample(second, 1) is None
    teacher = Learner(50)
    assert teacher.seen == []
    learner = second.inner
    assert isinstance(learner, Learner)
    assert learner.seen == [1]


def test_a_newcomer_in_the_row_of_the_leader_does_not_take_the_lead(build: Workers) -> None:
    lowest, newcomer = Learner(20), Learner(20)
    first, leader = build(lowest), build(10)
    assert first.limit == leader.limit == 20
    leader.tick(103.0)
    first.tick(103.0)
    assert sample(first, 1) is None
    assert lowest.seen == []
    leader.close()
    third = build(newcomer)
    assert third.limit
    for shared in (third, first):
        shared.tick(103.1)
        sample(shared, 1)
    assert (lowest.seen, newcomer.seen) == ([1], [])


def test_a_leader_whose_loop_is_blocked_loses_the_lead_and_keeps_its_slots(build: Workers) -> None:
    stuck, free = Learner(20), Learner(20)
    leader, heir = build(stuck), build(free)
    for shared in (leader, heir):
        assert shared.limit
        shared.tick(100.0)
    leader.publish(6)
    heir.tick(101.0)
    sample(heir, 1)
    assert free.seen == []
    heir.tick(103.0)
    sample(heir, 1)
    assert free.seen == [7]
    assert (heir.live_workers, heir.limit) == (2, 14)
    leader.tick(103.1)
    sample(leader, 6)
    assert stuck.seen == []


def test_a_fixed_limit_with_a_new_value_holds_when_the_workers_with_the_old_one_have_gone(
    build: Workers,
) -> None:
    old, new = build(10), build(30)
    for shared in (old, new):
        assert shared.limit == 10
        shared.tick(100.0)
    old.close()
    new.tick(100.1)
    assert new.limit == 30


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 500))
def test_a_published_limit_follows_its_leader(published: int, old: int, new: int) -> None:
    assert follow(old, old, new) == new
    followed = follow(max(published, old), old, new)
    assert followed >= 1
    assert (followed >= max(published, old)) if new >= old else (followed <= max(published, old))
    assert followed >= new or new < old


class Skew:
    """Four workers with queues of their own before one bottleneck of `LIMIT` slots, simulated.

    Poisson arrivals, one worker gets 85 % of them; a request waits for at most 0.1 s.
    """

    LIMIT = 40
    SHARES = (0.85, 0.05, 0.05, 0.05)
    SERVICE_SECONDS = 0.05
    SECONDS = 20.0

    def __init__(self, path: Path, load: float, seed: int) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self.rate_rps = load * self.LIMIT / self.SERVICE_SECONDS
        self.workers = [
            SharedLimit(FixedLimit(self.LIMIT), path=path, clock=lambda: self.now)
            for _ in self.SHARES
        ]
        self.inflight = [0] * 4
        self.waiting: list[deque[float]] = [deque() for _ in self.SHARES]
        self.offered, self.refused = [0] * 4, [0] * 4
        self.peak = 0
        self.busy_seconds = 0.0
        self.events: list[tuple[float, int, Callable[[int], None], int]] = []

    def at(self, due: float, what: Callable[[int], None], worker: int) -> None:
        heapq.heappush(
            self.events, (due, len(self.events) + self.random.getrandbits(60), what, worker)
        )

    def run(self) -> Skew:
        for worker in range(4):
            self.at(0.0, self.arrive, worker)
            self.at(0.02 * worker, self.tick, worker)
        while self.events[0][0] < self.SECONDS:
            due, _, what, worker = heapq.heappop(self.events)
            self.busy_seconds += sum(self.inflight) * (due - self.now)
            self.now = due
            what(worker)
        for shared in self.workers:
            shared.close()
        return self

    def arrive(self, worker: int) -> None:
        gap = self.random.expovariate(self.rate_rps * self.SHARES[worker])
        self.at(self.now + gap, self.arrive, worker)
        self.offered[worker] += 1
        self.waiting[worker].append(self.now)
        self.grant(worker)

    def tick(self, worker: int) -> None:
        self.workers[worker].tick(self.now)
        self.grant(worker)
        self.at(self.now + 0.1, self.tick, worker)

    def grant(self, worker: int) -> None:
        waiting = self.waiting[worker]
        while waiting and waiting[0] < self.now - 0.1:
            waiting.popleft()
            self.refused[worker] += 1
        while waiting and self.inflight[worker] < self.workers[worker].limit:
            waiting.popleft()
            self.change(worker, 1)
            self.at(self.now + self.random.expovariate(1 / self.SERVICE_SECONDS), self.end, worker)

    def end(self, worker: int) -> None:
        self.change(worker, -1)
        self.grant(worker)

    def change(self, worker: int, by: int) -> None:
        self.inflight[worker] += by
        self.workers[worker].publish(self.inflight[worker])
        self.peak = max(self.peak, sum(self.inflight))


@pytest.mark.parametrize("seed", range(3))
def test_s24_skew_at_three_times_the_capacity_wastes_nothing_and_starves_no_worker(
    path: Path, seed: int
) -> None:
    skew = Skew(path, 3.0, seed).run()
    assert skew.busy_seconds >= 0.95 * skew.LIMIT * skew.SECONDS
    assert skew.peak <= skew.LIMIT + 3
    for worker in range(1, 4):
        assert skew.refused[worker] < 0.1 * skew.offered[worker]
    assert skew.refused[0] > 0.6 * skew.offered[0]


@pytest.mark.parametrize("seed", range(3))
def test_s24_skew_below_the_capacity_sheds_nothing(path: Path, seed: int) -> None:
    skew = Skew(path, 0.8, seed).run()
    assert sum(skew.refused) <= 0.005 * sum(skew.offered)
