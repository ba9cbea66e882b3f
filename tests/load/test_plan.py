"""Plans of who runs which arrivals, for every history of workers that come and go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from launchday.load.arrivals import Arrival, schedule
from launchday.load.curves import RateCurve
from launchday.load.messages import (
    accounts_from_message,
    accounts_to_message,
    plan_from_message,
    plan_to_message,
    plans_from_message,
    plans_to_message,
)
from launchday.load.plan import NOTICE_SECONDS, Account, Plan, Planner, Plans

CURVE = RateCurve(((0.0, 5.0), (4.0, 60.0), (4.0, 10.0), (12.0, 10.0)))
ARRIVALS = list(schedule(CURVE, seed=11))
NAMES = ("a", "b", "c", "d", "e")

MEMBERS = st.lists(st.sampled_from(NAMES), unique=True, max_size=5).map(tuple)
HISTORIES = st.lists(st.tuples(st.floats(-1.0, 14.0), MEMBERS), max_size=8).map(sorted)


def planned(first: tuple[str, ...], changes: Iterable[tuple[float, tuple[str, ...]]]) -> Planner:
    planner = Planner(iter(ARRIVALS))
    planner.begin(first)
    for now_seconds, members in changes:
        planner.change(members, now_seconds)
    return planner


@given(MEMBERS, HISTORIES)
def test_every_arrival_has_one_owner_whatever_the_history_and_all_agree(
    first: tuple[str, ...], changes: list[tuple[float, tuple[str, ...]]]
) -> None:
    planner = planned(first, changes)
    told = plans_from_message(plans_to_message(planner.plans))
    shares = {
        name: {a.index for a in ARRIVALS if told.owner(a.index) == name} for name in (*NAMES, None)
    }
    assert sum(len(share) for share in shares.values()) == len(ARRIVALS)
    assert set().union(*shares.values()) == {a.index for a in ARRIVALS}
    for name in NAMES:
        end = told.end_of(name)
        assert end is None or max(shares[name], default=-1) < end


@given(st.lists(st.sampled_from(NAMES), unique=True, min_size=1).map(tuple), HISTORIES)
def test_a_change_touches_nothing_that_is_due_before_the_notice_is_over(
    first: tuple[str, ...], changes: list[tuple[float, tuple[str, ...]]]
) -> None:
    planner = Planner(iter(ARRIVALS))
    planner.begin(first)
    for now_seconds, members in changes:
        before = [planner.plans.owner(a.index) for a in ARRIVALS]
        plan = planner.change(members, now_seconds)
        for arrival, owner in zip(ARRIVALS, before, strict=True):
            if arrival.due_seconds < now_seconds + NOTICE_SECONDS:
                assert arrival.index < plan.first_index
                assert planner.plans.owner(arrival.index) == owner
            else:
                assert planner.plans.owner(arrival.index) == plan.owner(arrival.index)


@given(MEMBERS, HISTORIES, st.sets(st.sampled_from(NAMES)))
def test_expected_is_what_the_others_report_and_what_the_gone_ones_owe(
    first: tuple[str, ...], changes: list[tuple[float, tuple[str, ...]]], gone: set[str]
) -> None:
    planner = planned(first, changes)
    planner.settle(float("inf"))
    for name in set(NAMES) - gone:
        its = [a for a in ARRIVALS if planner.plans.owner(a.index) == name]
        by_second = Counter(int(a.due_seconds) for a in its)
        planner.report(name, {second: Account(n) for second, n in by_second.items()})
    assert planner.missing(set(NAMES) - gone) == {}
    lost = planner.missing([None, *gone])
    assert all(count > 0 for count in lost.values())
    assert planner.reported().total + sum(lost.values()) == len(ARRIVALS)


def test_who_ran_anothers_arrivals_is_found() -> None:
    planner = planned(("a", "b"), [])
    planner.settle(float("inf"))
    planner.report("a", {0: Account(started=len(ARRIVALS))})
    assert min(planner.missing(["a"]).values()) < 0


def test_what_a_killed_worker_recorded_replaces_what_it_had_said() -> None:
    planner = Planner(iter([Arrival(0, 0.1), Arrival(1, 0.2), Arrival(2, 1.1)]))
    planner.begin(["a"])
    planner.report("a", {0: Account(started=1)})
    planner.settle(2.0)
    assert planner.missing(["a"]) == {0: 1, 1: 1}
    planner.replace("a", {0: Account(started=1, dropped=1)})
    assert planner.missing(["a"]) == {1: 1}


def test_reports_add_up_by_second() -> None:
    planner = Planner(iter(()))
    planner.report("a", {0: Account(1, 2, 3)})
    planner.report("a", {0: Account(1), 1: Account(dropped=1)})
    assert planner.reported() == Account(2, 3, 3)


def test_only_what_is_due_is_owed() -> None:
    planner = planned(("a",), [])
    planner.settle(1.0)
    due = sum(a.due_seconds <= 1.0 for a in ARRIVALS)
    assert sum(planner.missing(["a"]).values()) == due


def test_when_a_member_ends() -> None:
    plans = Plans((Plan(0, ("a", "b")), Plan(10, ("b",)), Plan(20, ("b", "c"))))
    assert (plans.end_of("a"), plans.end_of("b"), plans.end_of("never")) == (10, None, 0)


def test_messages_say_what_they_were_made_of() -> None:
    plan = Plan(7, ("a", "b"))
    assert plan_from_message(plan_to_message(plan)) == plan
    accounts = {3: Account(1, 2, 3), 4: Account(5)}
    assert accounts_from_message(accounts_to_message(accounts)) == accounts
