"""What the command line says of arrivals, whom they may be sent to, and who serves them."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.errors import PreflightError, SettingsError
from launchday.load.clock import CommonClock
from launchday.load.curves import RateCurve
from launchday.load.intent import check_scenario, intend
from launchday.load.options import add_options, checked
from launchday.load.ownership import check_ownership
from launchday.load.pool import PoolDispatcher, divided, users_allowed, users_needed


def options(*arguments: str, **set_by_the_web_ui: object) -> Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser.add_argument_group("launchday"))
    parsed = parser.parse_args(list(arguments))
    vars(parsed).update(set_by_the_web_ui)
    return parsed


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"seed": "one"}, "--seed is 'one': it must be a whole number"),
        ({"request_timeout_seconds": float("nan")}, "--request-timeout-seconds is nan"),
        ({"request_timeout_seconds": -1.0}, "a number of seconds above 0"),
        ({"objective_seconds": "soon"}, "--objective-seconds is 'soon'"),
        ({"late_after_seconds": 0}, "--late-after-seconds is 0"),
        ({"queue_limit": -1}, "--queue-limit is -1: it must be a whole number of 0 or more"),
        ({"max_users": "0"}, "--max-users is '0': it must be a whole number of 1 or more"),
        ({"arrivals": "bursty"}, "--arrivals is 'bursty'"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_its_name(
    given_: Mapping[str, object], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        checked(options(**given_))


def test_the_web_ui_gives_numbers_as_text_and_nothing_as_an_empty_one() -> None:
    found = checked(options(seed="7", max_users="", request_timeout_seconds="2.5"))
    assert (found.seed, found.max_users, found.request_timeout_seconds) == (7, None, 2.5)


def test_without_a_seed_there_is_none_until_one_is_chosen() -> None:
    assert checked(options()).seed is None
    assert intend(environment(options()), 1).seed != intend(environment(options()), 1).seed
    assert intend(environment(options("--seed", "3")), 1).seed == 3


@dataclass
class Environment:
    """As much of Locust's as is looked at."""

    parsed_options: Namespace
    shape_class: object
    host: str | None = "http://127.0.0.1:8000"
    user_classes: list[object] = field(default_factory=list)


def environment(
    parsed: Namespace, rps: float = 10.0, targets: tuple[str, ...] = (), **more: object
) -> Environment:
    def curve(_: Namespace) -> RateCurve:
        return RateCurve(((0.0, rps), (5.0, rps)))

    shape = SimpleNamespace(curve=curve, requests_per_journey=1, targets=lambda _: targets)
    return Environment(parsed, shape, **more)  # type: ignore[arg-type] # passed on


@pytest.mark.parametrize("rps", [-1.0, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused_before_load_is_sent(rps: float) -> None:
    with pytest.raises(SettingsError, match="rates must be finite and >= 0"):
        intend(environment(options(), rps), 1)


def test_a_target_that_is_not_ours_is_refused_until_somebody_says_that_it_is() -> None:
    ours, theirs = environment(options()), environment(options(), host="http://8.8.8.8")
    intend(ours, 1)
    with pytest.raises(PreflightError, match=r"--allow-public-target 8\.8\.8\.8"):
        intend(theirs, 1)
    allowed = options("--allow-public-target", "shop.example, 8.8.8.8")
    intend(environment(allowed, host="http://8.8.8.8"), 1)


def test_the_environment_can_allow_a_target_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAUNCHDAY_ALLOW_PUBLIC_TARGET", "8.8.8.8")
    intend(environment(options(), host="http://8.8.8.8"), 1)


def test_the_host_of_a_user_class_counts_as_well_as_the_common_one() -> None:
    user = SimpleNamespace(host="http://8.8.4.4")
    with pytest.raises(PreflightError, match=r"8\.8\.4\.4"):
        intend(environment(options(), user_classes=[user]), 1)


def test_urls_that_a_scenario_has_besides_the_host_must_be_ours_as_well() -> None:
    intend(environment(options(), targets=("http://127.0.0.1:1", "http://10.0.0.1")), 1)
    with pytest.raises(PreflightError, match=r"8\.8\.4\.4"):
        intend(environment(options(), targets=("http://127.0.0.1:1", "http://8.8.4.4")), 1)


def test_without_a_target_nobody_waits_for_users_that_cannot_be_made() -> None:
    class Owner:
        host = None
        fixed_count = 0

    with pytest.raises(SettingsError, match="Owner has no target: give one, --host"):
        intend(environment(options(), host=None, user_classes=[Owner]), 1)
    Owner.fixed_count = 1  # it takes no arrivals, and may be no client of anything
    intend(environment(options(), host=None, user_classes=[Owner]), 1)


def test_a_name_that_does_not_resolve_is_said_so() -> None:
    with pytest.raises(PreflightError, match="does not resolve"):
        check_ownership("http://no-such-host.invalid", (), "somehow")


def test_a_name_of_ours_is_ours() -> None:
    check_ownership("http://localhost:1", (), "somehow")


def test_counting_lets_others_run_and_is_right() -> None:
    intent = intend(environment(options("--seed=1", "--arrivals=even"), rps=50_000.0), 100)
    turns: list[int] = []

    def take_turns() -> None:
        for _ in range(5):
            turns.append(1)
            gevent.sleep(0)

    other = gevent.spawn(take_turns)
    assert intent.count() == 250_000
    assert len(turns) == 5
    other.join()


def test_the_pool_suffices_if_every_request_takes_its_whole_time_limit() -> None:
    assert users_needed(1000.0, 2.0, 1) >= 2000
    assert 4 * users_needed(1000.0, 2.0, 4) >= 2000


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_users": None, "sockets": 900}, "may open only 900 sockets: use --processes"),
        ({"max_users": 2000, "sockets": 900}, "--max-users is 2000, but .* only 900 sockets"),
        ({"max_users": 99, "sockets": None}, "--max-users is 99: .* needs 100 users"),
    ],
)
def test_a_pool_that_cannot_serve_is_refused(limits: dict[str, int | None], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        users_allowed(1000, at_least=100, **limits)


def test_a_smaller_pool_is_had_by_saying_so() -> None:
    assert users_allowed(1000, at_least=100, max_users=300, sockets=900) == 300
    assert users_allowed(1000, at_least=100, max_users=None, sockets=None) == 1000


@dataclass
class Node:
    id: str
    user_classes_count: dict[str, int] = field(default_factory=dict)


OWNER = SimpleNamespace(__name__="Owner", fixed_count=0)
WATCHER = SimpleNamespace(__name__="Watcher", fixed_count=2)


def dispatched(pool: PoolDispatcher) -> dict[str, dict[str, int]]:
    pool.new_dispatch(0, 1.0)
    last: dict[str, dict[str, int]] = {}
    for step in pool:
        last |= step
    return last


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=12),
    st.integers(1, 150),
)
def test_workers_come_and_go_and_nobody_ever_loses_a_user(
    history: list[tuple[bool, int]], whole: int
) -> None:
    pool = PoolDispatcher(
        [], [OWNER, WATCHER], per_worker=lambda workers: {"Owner": -(-whole // max(1, workers))}
    )
    nodes: dict[int, Node] = {}
    before: dict[str, dict[str, int]] = {}
    for comes, number in history:
        if comes and number not in nodes:
            nodes[number] = Node(f"w{number}")
            pool.add_worker(nodes[number])
        elif not comes and number in nodes:
            gone = nodes.pop(number)
            pool.remove_worker(gone)
            before.pop(gone.id, None)
        pool._steps = iter(())
        now = _all_at_once(pool)
        for worker, users in before.items():
            assert all(now[worker][name] >= count for name, count in users.items())
        if nodes:
            assert sum(users["Owner"] for users in now.values()) >= whole
            assert sum(users["Watcher"] for users in now.values()) >= 2
        before = now


def _all_at_once(pool: PoolDispatcher) -> dict[str, dict[str, int]]:
    while pool._add(1000):
        pass
    return pool._counts(set(pool._users))


def test_a_dispatch_goes_in_steps_and_tells_only_workers_for_which_something_changes() -> None:
    sizes = {"Owner": 120}
    pool = PoolDispatcher([Node("a"), Node("b")], [OWNER], per_worker=lambda _: sizes)
    assert dispatched(pool) == {"a": {"Owner": 120}, "b": {"Owner": 120}}
    pool.add_worker(Node("c"))
    pool.new_dispatch(0, 1.0)
    next(pool)
    steps = list(pool)
    assert [set(step) for step in steps] == [{"c"}] * 3
    assert steps[-1] == {"c": {"Owner": 120}}


def test_a_worker_that_had_users_keeps_them_with_a_new_dispatcher() -> None:
    there = [Node("a", {"Owner": 70}), Node("local", {"Owner": 70})]
    pool = PoolDispatcher(there, [OWNER], per_worker=lambda _: {"Owner": 60})
    assert dispatched(pool) == {"a": {"Owner": 70}, "local": {"Owner": 60}}


@given(st.dictionaries(st.sampled_from("abc"), st.floats(0.1, 9.0), min_size=1))
def test_users_are_divided_by_weight_and_none_is_missing(weights: dict[str, float]) -> None:
    found = divided(100, weights)
    assert sum(found.values()) >= 100
    assert all(found[a] >= 100 * weights[a] / sum(weights.values()) for a in weights)


class Shape:
    ours = True


class Derived(Shape):
    pass


class Other:
    ours = False


def user(name: str, ours: bool = True, fixed_count: int = 0) -> SimpleNamespace:
    return SimpleNamespace(__name__=name, ours=ours, fixed_count=fixed_count)


def is_ours(each: object) -> bool:
    return bool(getattr(each, "ours", False))


@pytest.mark.parametrize(
    ("shapes", "users", "words"),
    [
        ([Shape(), Other()], [user("A")], "the shapes Other and Shape: it must have one"),
        ([], [user("A"), user("B")], "has A, B but no SurgeShape"),
        ([Other()], [user("A")], "has A but no SurgeShape"),
        ([Shape()], [user("W", ours=False)], "SurgeShape Shape but no ArrivalUser"),
        ([Shape()], [user("A", fixed_count=3)], "A has fixed_count = 3"),
        ([Shape()], [user("A"), user("W", ours=False)], "W is no ArrivalUser"),
    ],
)
def test_a_scenario_that_makes_no_sense_is_refused(
    shapes: list[object], users: list[object], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        check_scenario(shapes, users, is_ours)


def test_a_shape_that_extends_an_imported_one_is_the_one() -> None:
    derived = Derived()
    watcher = user("W", ours=False, fixed_count=1)
    assert check_scenario([Shape(), derived], [user("A"), watcher], is_ours) is derived


@given(st.floats(-1e6, 1e6), st.lists(st.tuples(st.floats(0, 0.2), st.floats(0, 1)), min_size=1))
def test_the_clock_is_wrong_by_half_the_quickest_round_trip_at_most(
    offset_seconds: float, trips: list[tuple[float, float]]
) -> None:
    clock = CommonClock()
    now = 100.0
    for round_trip, share_there in trips:
        clock.heard(now, now + round_trip, now + round_trip * share_there + offset_seconds)
        now += 1.0
    shortest = min(round_trip for round_trip, _ in trips[-16:])
    assert abs(clock.here(offset_seconds + 500.0) - 500.0) <= shortest / 2 + 1e-6


def test_before_the_first_exchange_both_clocks_are_taken_for_one() -> None:
    clock = CommonClock()
    assert clock.error_seconds is None
    assert clock.here(60.0) == 60.0


def test_a_record_goes_into_a_directory_that_is_there(tmp_path: Path) -> None:
    assert checked(options(launchday_record=str(tmp_path))).record == tmp_path
    with pytest.raises(SettingsError, match=r"--launchday-record is .*missing'"):
        checked(options(launchday_record=str(tmp_path / "missing")))


def test_metrics_are_served_nowhere_and_to_nobody_else_unless_told() -> None:
    found = options()
    assert (found.metrics_port, found.metrics_host) == (None, "127.0.0.1")
    found = options("--metrics-port", "9646", "--metrics-host", "0.0.0.0")
    assert (found.metrics_port, found.metrics_host) == (9646, "0.0.0.0")
