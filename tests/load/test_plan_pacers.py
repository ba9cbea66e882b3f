"""Pacers that follow plans which change while they run, in one process."""

from __future__ import annotations

import time
from functools import partial

import gevent

from launchday.load.arrivals import schedule
from launchday.load.curves import RateCurve
from launchday.load.pacer import Pacer
from launchday.load.plan import Planner
from launchday.load.samples import SampleBook
from launchday.load.timer import best_timer

CURVE = RateCurve(((0.0, 100.0), (1.0, 600.0), (2.5, 600.0)))
NAMES = ("a", "b", "c")


def test_every_arrival_is_run_once_while_members_come_and_go() -> None:
    planner = Planner(schedule(CURVE, seed=3))
    planner.begin(("a", "b"))
    ran: list[tuple[int, str]] = []
    pacers = {name: Pacer(SampleBook(), 3600.0) for name in NAMES}

    def user(name: str) -> None:
        while True:
            ran.append((pacers[name].next().arrival.index, name))
            pacers[name].finished_journey()

    def mine(name: str, index: int) -> bool:
        return planner.plans.owner(index) == name

    users = [gevent.spawn(user, name) for name in NAMES for _ in range(300)]
    gevent.sleep(0)
    epoch = time.perf_counter() + 0.05
    timers = {name: best_timer() for name in NAMES}
    running = [
        gevent.spawn(
            pacers[name].run,
            schedule(CURVE, seed=3),
            epoch,
            timers[name],
            is_mine=partial(mine, name),
        )
        for name in NAMES
    ]
    for at, members in ((0.2, NAMES), (0.7, ("a", "c")), (0.8, ("c",)), (1.3, ("c", "b"))):
        gevent.sleep(max(0.0, epoch + at - time.perf_counter()))
        planner.change(members, time.perf_counter() - epoch)
    gevent.joinall(running, timeout=30)
    gevent.idle()
    gevent.killall(users)
    for timer in timers.values():
        timer.close()
    expected = [arrival.index for arrival in schedule(CURVE, seed=3)]
    assert sorted(index for index, _ in ran) == expected
    assert all(planner.plans.owner(index) == name for index, name in ran)
    assert {name for _, name in ran} == set(NAMES)
