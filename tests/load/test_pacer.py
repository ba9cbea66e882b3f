"""The pacer with real greenlets: every arrival is started, dropped or lost, and counted once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.load.arrivals import Arrival
from launchday.load.pacer import Pacer, Started
from launchday.load.plan import Account
from launchday.load.samples import SampleBook
from launchday.load.timer import best_timer
from launchday.record import Arrivals

NEVER_LATE = 3600.0


def pacer(late_after_seconds: float = NEVER_LATE, **options: int) -> tuple[Pacer, SampleBook]:
    book = SampleBook()
    return Pacer(book, late_after_seconds, **options), book


def due(*seconds: float) -> list[Arrival]:
    return [Arrival(index, at) for index, at in enumerate(seconds)]


def park(pacer: Pacer, kind: int = 0) -> gevent.Greenlet:
    """A user that is parked when this returns; its value is what it was handed."""
    user = gevent.spawn(pacer.next, kind)
    gevent.sleep(0)
    assert not user.dead
    return user


def pace(
    pacer: Pacer,
    arrivals: list[Arrival],
    epoch: float | None = None,
    **who: Callable[[int], object],
) -> None:
    """Hand the arrivals out; those that were woken have not run yet when this returns."""
    timer = best_timer()
    try:
        began = time.perf_counter() if epoch is None else epoch
        pacer.run(iter(arrivals), began, timer, **who)  # type: ignore[arg-type] # passed on
    finally:
        timer.close()


def run(pacer: Pacer, arrivals: list[Arrival]) -> None:
    pace(pacer, arrivals)
    gevent.idle()  # lets those that were woken take their arrivals


def killing(user: gevent.Greenlet) -> Callable[[int], int]:
    """Asked for the kind of an arrival, right before it is handed out: the kill comes first."""

    def kind_of(index: int) -> int:
        user.kill(block=False)
        return 0

    return kind_of


def counted(book: SampleBook) -> Arrivals:
    """The totals without how late each was."""
    return Arrivals(**{**vars(book.totals), "lateness": Arrivals().lateness})


def test_an_arrival_without_a_parked_user_is_dropped_and_counted() -> None:
    paced, book = pacer()
    run(paced, due(0.0, 0.001, 0.002))
    assert counted(book) == Arrivals(scheduled=3, dropped=3)
    assert (paced.busy, paced.done) == (0, True)


def test_a_dropped_arrival_is_not_kept_for_a_user_that_parks_later() -> None:
    paced, book = pacer()
    run(paced, due(0.0))
    user = park(paced)
    gevent.idle()
    assert not user.ready()
    user.kill()
    assert counted(book) == Arrivals(scheduled=1, dropped=1)


def test_with_a_queue_as_many_as_it_holds_wait_for_users_and_the_others_are_dropped() -> None:
    paced, book = pacer(queue_limit=2)
    run(paced, due(0.0, 0.001, 0.002))
    assert counted(book) == Arrivals(scheduled=1, dropped=1)
    assert not paced.quiet
    users = [gevent.spawn(paced.next) for _ in range(2)]
    gevent.joinall(users, timeout=10)
    assert [user.value.arrival.index for user in users] == [0, 1]
    assert counted(book) == Arrivals(scheduled=3, started=2, dropped=1, queued=2)


def test_what_waits_in_the_queue_when_the_test_ends_is_dropped() -> None:
    paced, book = pacer(queue_limit=5)
    run(paced, due(0.0, 0.001))
    paced.stop()
    assert counted(book) == Arrivals(scheduled=2, dropped=2)
    assert paced.quiet


def test_what_was_due_when_a_test_was_stopped_and_not_got_round_to_is_dropped() -> None:
    paced, book = pacer()
    epoch = time.perf_counter() - 1.0
    timer = best_timer()
    arrivals = iter(due(*[0.0] * 500, 3600.0))
    running = gevent.spawn(paced.run, arrivals, epoch, timer, is_mine=lambda index: index % 2 == 0)
    while not book.totals.scheduled:
        gevent.sleep(0)
    running.kill()
    paced.stop()
    timer.close()
    assert counted(book) == Arrivals(scheduled=250, dropped=250)


def test_the_user_that_parked_last_is_woken_first() -> None:
    paced, book = pacer()
    users = [park(paced) for _ in range(4)]
    run(paced, due(0.0, 0.001, 0.002))
    assert [user.ready() for user in users] == [False, True, True, True]
    assert [user.value.arrival.index for user in users[:0:-1]] == [0, 1, 2]
    assert paced.busy == 3
    users[0].kill()
    assert counted(book) == Arrivals(scheduled=3, started=3)


def test_an_arrival_goes_to_a_user_of_its_kind_or_to_none() -> None:
    paced, book = pacer(kinds=2)
    owner, poller = park(paced, 0), park(paced, 1)
    pace(paced, due(0.0, 0.001, 0.002), kind_of=lambda index: int(index != 1))
    gevent.idle()
    assert owner.value.arrival.index == 1
    assert poller.value.arrival.index == 0
    assert counted(book) == Arrivals(scheduled=3, started=2, dropped=1)


def test_no_arrival_is_handed_out_before_it_is_due() -> None:
    paced, _ = pacer()
    handed_at: dict[int, float] = {}

    def user() -> None:
        started = paced.next()
        handed_at[started.arrival.index] = time.perf_counter() - started.due

    users = [gevent.spawn(user) for _ in range(3)]
    gevent.sleep(0)
    run(paced, due(0.01, 0.02, 0.03))
    gevent.joinall(users, timeout=10)
    assert sorted(handed_at) == [0, 1, 2]
    assert min(handed_at.values()) >= 0


def test_a_user_that_ends_its_journey_can_be_handed_the_next_arrival() -> None:
    paced, book = pacer()
    taken: list[int] = []

    def user() -> None:
        while True:
            taken.append(paced.next().arrival.index)
            paced.finished_journey()

    greenlet = gevent.spawn(user)
    gevent.sleep(0)
    run(paced, due(0.0, 0.01, 0.02))
    greenlet.kill()
    assert taken == [0, 1, 2]
    assert paced.quiet
    assert counted(book) == Arrivals(scheduled=3, started=3)


def test_a_user_killed_while_parked_is_handed_nothing() -> None:
    paced, book = pacer()
    stays, killed = park(paced), park(paced)
    killed.kill()
    run(paced, due(0.0, 0.001))
    assert isinstance(killed.value, gevent.GreenletExit)
    assert stays.value.arrival.index == 0
    assert counted(book) == Arrivals(scheduled=2, started=1, dropped=1)


@pytest.mark.parametrize("others", [0, 1])
def test_the_arrival_of_a_user_killed_before_it_could_take_it_goes_to_another(others: int) -> None:
    paced, book = pacer()
    idle = [park(paced) for _ in range(others)]
    user = park(paced)
    pace(paced, due(0.0), kind_of=killing(user))
    assert counted(book) == Arrivals()  # handed out, for the user was still parked
    gevent.idle()
    gevent.idle()
    assert isinstance(user.value, gevent.GreenletExit)
    assert [each.value.arrival.index for each in idle] == [0] * others
    assert counted(book) == Arrivals(scheduled=1, started=others, dropped=1 - others)
    assert paced.waking == 0


def test_the_arrival_of_a_user_killed_after_the_test_ended_is_lost() -> None:
    paced, book = pacer()
    user = park(paced)
    pace(paced, due(0.0), kind_of=killing(user))
    paced.stop()
    gevent.idle()
    assert counted(book) == Arrivals(scheduled=1, lost=1)
    assert paced.take_accounts() == {0: Account(lost=1)}


def test_a_user_killed_after_it_took_its_arrival_leaves_it_started() -> None:
    paced, book = pacer()

    def user() -> None:
        paced.next()
        gevent.sleep(60)

    greenlet = gevent.spawn(user)
    gevent.sleep(0)
    run(paced, due(0.0))
    greenlet.kill()
    assert counted(book) == Arrivals(scheduled=1, started=1)


@settings(max_examples=60, deadline=None)
@given(
    users=st.integers(0, 6),
    arrivals=st.integers(0, 25),
    queue_limit=st.integers(0, 3),
    seed=st.integers(0, 2**32),
)
def test_scheduled_is_started_dropped_and_lost_whenever_users_are_killed(
    users: int, arrivals: int, queue_limit: int, seed: int
) -> None:
    paced, book = pacer(queue_limit=queue_limit)
    rng = random.Random(seed)
    taken: list[Started] = []

    def user() -> None:
        while True:
            taken.append(paced.next())
            gevent.sleep(0)
            paced.finished_journey()

    greenlets = [gevent.spawn(user) for _ in range(users)]

    def kill_some() -> None:
        while greenlets:
            if rng.random() < 0.3:
                greenlets.pop(rng.randrange(len(greenlets))).kill(block=rng.random() < 0.5)
            gevent.sleep(0)

    killer = gevent.spawn(kill_some)
    pace(paced, due(*[0.0] * arrivals))
    paced.stop()
    gevent.killall([killer, *greenlets])
    gevent.idle()  # those killed without waiting end now
    totals = book.totals
    assert totals.scheduled == arrivals
    assert totals.scheduled == totals.started + totals.dropped + totals.lost
    assert sum(account.total for account in paced.take_accounts().values()) == arrivals
    indices = [started.arrival.index for started in taken]
    assert len(indices) == len(set(indices)) == totals.started


def test_only_a_start_later_than_the_limit_counts_as_late() -> None:
    paced, book = pacer(late_after_seconds=60.0)
    users = [park(paced) for _ in range(2)]
    pace(paced, due(0.0, 90.0), time.perf_counter() - 100.0)  # 100 s and 10 s behind
    gevent.joinall(users, timeout=10)
    assert counted(book) == Arrivals(scheduled=2, started=2, late=1)


def test_lateness_is_taken_when_the_user_runs_not_when_it_is_woken() -> None:
    paced, book = pacer(late_after_seconds=0.02)
    user = park(paced)
    pace(paced, due(0.0))
    time.sleep(0.05)  # something else holds the event loop
    gevent.joinall([user], timeout=10)
    book.flush()
    assert counted(book) == Arrivals(scheduled=1, started=1, late=1)
    assert (book.totals.lateness.quantile(0.5) or 0.0) > 0.045


def test_a_dropped_arrival_is_never_late() -> None:
    paced, book = pacer(late_after_seconds=1.0)
    pace(paced, due(0.0), time.perf_counter() - 100.0)
    assert counted(book) == Arrivals(scheduled=1, dropped=1)


def test_arrivals_of_others_are_passed_over_and_a_plan_that_comes_meanwhile_holds() -> None:
    paced, book = pacer()
    first_of_mine = [100]
    gevent.spawn_later(0.05, first_of_mine.__setitem__, 0, 3)
    users = [park(paced) for _ in range(6)]
    pace(paced, due(0.0, 0.001, 0.002, 0.2, 0.201, 0.5), is_mine=lambda i: i >= first_of_mine[0])
    gevent.idle()
    assert sorted(u.value.arrival.index for u in users if u.ready()) == [3, 4, 5]
    assert paced.next_index == 6
    gevent.killall(users)
    assert counted(book) == Arrivals(scheduled=3, started=3)


class CountingTimer:
    """The best timer, and how often it was slept with."""

    kind = "counting"

    def __init__(self) -> None:
        self._timer = best_timer()
        self.turns = 0

    def sleep_until(self, instant: float) -> None:
        self.turns += 1
        self._timer.sleep_until(instant)

    def close(self) -> None:
        self._timer.close()


def turns(gap_seconds: float) -> int:
    """How often the loop turned for 60 arrivals at this distance, all started and none early."""
    paced, book = pacer()
    timer = CountingTimer()
    taken: list[float] = []

    def user() -> None:
        while True:
            due = paced.next().due
            taken.append(time.perf_counter() - due)
            paced.finished_journey()

    users = [gevent.spawn(user) for _ in range(60)]
    gevent.sleep(0)
    paced.run(iter(due(*[k * gap_seconds for k in range(60)])), time.perf_counter() + 0.01, timer)
    gevent.idle()
    gevent.killall(users)
    timer.close()
    assert book.totals.started == len(taken) == 60
    assert min(taken) >= 0
    return timer.turns


def test_arrivals_that_are_due_close_together_share_a_turn_of_the_loop() -> None:
    assert turns(0.00005) <= 60 / 4
    assert turns(0.005) > 60 / 4


def test_many_due_at_once_do_not_keep_the_sockets_of_users_from_being_looked_at() -> None:
    paced, book = pacer()
    turns: list[int] = []

    def user() -> None:
        while True:
            paced.next()
            paced.finished_journey()

    def look() -> None:
        while not paced.done:
            gevent.sleep(0.0001)  # like a socket: only a turn of the loop wakes it
            turns.append(book.totals.started)

    users = [gevent.spawn(user) for _ in range(200)]
    gevent.sleep(0)
    looking = gevent.spawn(look)
    pace(paced, due(*[0.0] * 2000), time.perf_counter() - 1.0)
    gevent.idle()
    gevent.killall([*users, looking])
    assert counted(book) == Arrivals(scheduled=2000, started=2000, late=0)
    assert len({count for count in turns if 0 < count < 2000}) >= 5
