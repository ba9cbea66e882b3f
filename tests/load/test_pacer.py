"""The pacer with real greenlets: every arrival is started or dropped, and counted once."""

from __future__ import annotations

import random
import time

import gevent
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.load.arrivals import Arrival
from launchday.load.pacer import Pacer, Started
from launchday.load.samples import SampleBook
from launchday.record import Arrivals

NEVER_LATE = 3600.0


def pacer(late_after_seconds: float = NEVER_LATE) -> tuple[Pacer, SampleBook]:
    book = SampleBook()
    return Pacer(book, late_after_seconds), book


def due(*seconds: float) -> list[Arrival]:
    return [Arrival(index, at) for index, at in enumerate(seconds)]


def park(pacer: Pacer) -> gevent.Greenlet:
    """A user that is parked when this returns; its value is what it was handed."""
    user = gevent.spawn(pacer.next)
    gevent.sleep(0)
    assert not user.dead
    return user


def run(pacer: Pacer, arrivals: list[Arrival]) -> None:
    pacer.run(iter(arrivals), time.perf_counter())
    gevent.idle()  # lets those that were woken take their arrivals


def test_an_arrival_without_a_parked_user_is_dropped_and_counted() -> None:
    paced, book = pacer()
    run(paced, due(0.0, 0.001, 0.002))
    assert book.totals == Arrivals(scheduled=3, dropped=3)
    assert (paced.busy, paced.done) == (0, True)


def test_a_dropped_arrival_is_not_kept_for_a_user_that_parks_later() -> None:
    paced, book = pacer()
    run(paced, due(0.0))
    user = park(paced)
    gevent.idle()
    assert not user.ready()
    user.kill()
    assert book.totals == Arrivals(scheduled=1, dropped=1)


def test_the_user_that_parked_last_is_woken_first() -> None:
    paced, book = pacer()
    users = [park(paced) for _ in range(4)]
    run(paced, due(0.0, 0.001, 0.002))
    assert [user.ready() for user in users] == [False, True, True, True]
    assert [user.value.arrival.index for user in users[:0:-1]] == [0, 1, 2]
    assert paced.busy == 3
    users[0].kill()
    assert book.totals == Arrivals(scheduled=3, started=3)


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
    assert paced.busy == 0
    assert book.totals == Arrivals(scheduled=3, started=3)


def test_a_user_killed_while_parked_is_handed_nothing() -> None:
    paced, book = pacer()
    stays, killed = park(paced), park(paced)
    killed.kill()
    run(paced, due(0.0, 0.001))
    assert isinstance(killed.value, gevent.GreenletExit)
    assert stays.value.arrival.index == 0
    assert book.totals == Arrivals(scheduled=2, started=1, dropped=1)


def test_the_arrival_of_a_user_killed_before_it_could_take_it_is_dropped() -> None:
    paced, book = pacer()
    user = park(paced)
    # Runs while the pacer sleeps: the kill is under way when the pacer hands the arrival out.
    gevent.spawn(user.kill, block=False)
    paced.run(iter(due(0.0)), time.perf_counter())
    assert book.totals == Arrivals()  # handed out, for the user was still parked
    gevent.idle()
    assert isinstance(user.value, gevent.GreenletExit)
    assert book.totals == Arrivals(scheduled=1, dropped=1)
    assert paced.busy == 0


def test_a_user_killed_after_it_took_its_arrival_leaves_it_started() -> None:
    paced, book = pacer()

    def user() -> None:
        paced.next()
        gevent.sleep(60)

    greenlet = gevent.spawn(user)
    gevent.sleep(0)
    run(paced, due(0.0))
    greenlet.kill()
    assert book.totals == Arrivals(scheduled=1, started=1)


@settings(max_examples=60, deadline=None)
@given(
    users=st.integers(0, 6),
    arrivals=st.integers(0, 25),
    seed=st.integers(0, 2**32),
)
def test_scheduled_is_started_and_dropped_whenever_users_are_killed(
    users: int, arrivals: int, seed: int
) -> None:
    paced, book = pacer()
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
    paced.run(iter(due(*[0.0] * arrivals)), time.perf_counter())
    gevent.killall([killer, *greenlets])
    gevent.idle()  # those killed without waiting end now
    totals = book.totals
    assert totals.scheduled == arrivals
    assert totals.scheduled == totals.started + totals.dropped
    indices = [started.arrival.index for started in taken]
    assert len(indices) == len(set(indices)) == totals.started


def test_only_a_start_later_than_the_limit_counts_as_late() -> None:
    paced, book = pacer(late_after_seconds=60.0)
    epoch = time.perf_counter() - 100.0
    users = [park(paced) for _ in range(2)]
    paced.run(iter(due(0.0, 90.0)), epoch)  # 100 s and 10 s behind
    gevent.joinall(users, timeout=10)
    assert book.totals == Arrivals(scheduled=2, started=2, late=1)


def test_lateness_is_taken_when_the_user_runs_not_when_it_is_woken() -> None:
    paced, book = pacer(late_after_seconds=0.02)
    user = park(paced)
    paced.run(iter(due(0.0)), time.perf_counter())
    time.sleep(0.05)  # something else holds the event loop
    gevent.joinall([user], timeout=10)
    assert book.totals == Arrivals(scheduled=1, started=1, late=1)


def test_a_dropped_arrival_is_never_late() -> None:
    paced, book = pacer(late_after_seconds=1.0)
    paced.run(iter(due(0.0)), time.perf_counter() - 100.0)
    assert book.totals == Arrivals(scheduled=1, dropped=1)
