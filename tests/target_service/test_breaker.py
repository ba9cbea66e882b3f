"""The circuit breaker: when it opens, that it probes one at a time, and that it closes again."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from target_service.breaker import Breaker, State
from target_service.dependencies import DATABASE, GATEWAY, Dependencies, DependencyFailed


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make(clock: Clock, seed: int = 1) -> tuple[Breaker, list[State]]:
    changes: list[State] = []
    breaker = Breaker(clock, random.Random(seed), failures=5, on_change=changes.append)
    return breaker, changes


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        assert breaker.allows()
        breaker.failed()


def test_it_opens_after_five_failures_in_a_row_and_not_after_four_and_a_success() -> None:
    breaker, _ = make(Clock())
    fail(breaker, 4)
    breaker.succeeded()
    fail(breaker, 4)
    assert breaker.seconds_left() == 0.0
    fail(breaker, 1)
    assert breaker.state is State.OPEN
    assert not breaker.allows()
    assert 0.5 <= breaker.seconds_left() <= 1.5


def test_after_the_pause_one_caller_is_the_probe_and_its_success_closes() -> None:
    clock = Clock()
    breaker, changes = make(clock)
    fail(breaker, 5)
    clock.now += breaker.seconds_left()
    assert [breaker.allows() for _ in range(10)] == [True] + [False] * 9
    breaker.succeeded()
    assert all(breaker.allows() for _ in range(10))
    assert breaker.seconds_left() == 0.0
    assert changes == [State.OPEN, State.HALF_OPEN, State.CLOSED]


def test_failed_probes_lengthen_the_pause_up_to_a_bound_and_a_success_shortens_it_again() -> None:
    clock = Clock()
    breaker, _ = make(clock)
    fail(breaker, 5)
    pauses = []
    for _ in range(12):
        clock.now += breaker.seconds_left()
        assert breaker.allows()
        breaker.failed()
        pauses.append(breaker.seconds_left())
    assert max(pauses) <= 2.0
    assert len(set(pauses)) == len(pauses)  # equal ones would keep step with what comes and goes
    assert sum(pauses[4:]) / len(pauses[4:]) > 1.0
    clock.now += breaker.seconds_left()
    assert breaker.allows()
    breaker.succeeded()
    fail(breaker, 5)
    assert breaker.seconds_left() <= 1.5


def test_a_probe_whose_caller_left_is_followed_by_another_probe() -> None:
    clock = Clock()
    breaker, _ = make(clock)
    fail(breaker, 5)
    clock.now += breaker.seconds_left()
    assert breaker.allows()
    breaker.gave_up()
    assert not breaker.allows()
    clock.now += breaker.seconds_left()
    assert breaker.allows()


def test_calls_that_began_before_it_opened_and_end_now_change_nothing() -> None:
    clock = Clock()
    breaker, _ = make(clock)
    assert all(breaker.allows() for _ in range(8))
    for _ in range(8):
        breaker.failed()
    left_seconds = breaker.seconds_left()
    breaker.failed()
    breaker.succeeded()
    assert breaker.state is State.OPEN
    assert breaker.seconds_left() == left_seconds


@given(
    st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["ok", "failed", "left"])), max_size=200),
    st.integers(0, 1000),
)
def test_whatever_happens_one_probe_is_out_at_most_and_no_call_while_open(
    history: list[tuple[float, str]], seed: int
) -> None:
    clock = Clock()
    breaker, _ = make(clock, seed)
    for pause_seconds, end in history:
        clock.now += pause_seconds
        was, left_seconds = breaker.state, breaker.seconds_left()
        allowed = breaker.allows()
        assert allowed == (was is State.CLOSED or left_seconds == 0.0)
        if not allowed:
            continue
        if was is not State.CLOSED:
            assert breaker.state is State.HALF_OPEN
            assert not breaker.allows()
        {"ok": breaker.succeeded, "failed": breaker.failed, "left": breaker.gave_up}[end]()
        assert breaker.seconds_left() <= 2.0
        if end == "ok":
            assert breaker.state is State.CLOSED


@given(st.integers(0, 1000), st.floats(4, 60))
def test_who_goes_and_comes_is_found_soon_and_is_not_stormed(
    seed: int, gone_seconds: float
) -> None:
    """Calls come ten times a second, to somebody who is gone, then there for five seconds."""
    clock = Clock()
    breaker, _ = make(clock, seed)
    served = failed = 0
    for number in range(round(10 * (gone_seconds + 5))):
        clock.now = number / 10
        if breaker.allows():
            if clock.now < gone_seconds:
                breaker.failed()
                failed += 1
            else:
                breaker.succeeded()
                served += 1
    assert served >= 0.55 * 50
    assert failed <= 5 + 3 + gone_seconds


def test_dependencies_refuse_one_and_not_the_other_and_say_so_in_metrics() -> None:
    registry = CollectorRegistry()
    dependencies = Dependencies(registry, random.Random(1))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    for _ in range(5):
        with pytest.raises(TimeoutError), dependencies.call(GATEWAY):
            raise TimeoutError
    with pytest.raises(DependencyFailed) as refused, dependencies.call(GATEWAY):
        raise AssertionError("called while open")
    assert refused.value.dependency == GATEWAY
    assert refused.value.retry_after_seconds > 0
    with dependencies.call(DATABASE):
        pass
    assert (dependencies.works(GATEWAY), dependencies.works(DATABASE)) == (False, True)
    assert value("car_breaker_state", dependency=GATEWAY, state="open") == 1
    assert value("car_breaker_state", dependency=GATEWAY, state="closed") == 0
    assert value("car_breaker_state", dependency=DATABASE, state="closed") == 1
    assert value("car_breaker_opened_total", dependency=GATEWAY) == 1
    counted = {
        outcome: value("car_dependency_seconds_count", dependency=GATEWAY, outcome=outcome)
        for outcome in ("ok", "error", "timeout", "refused")
    }
    assert counted == {"ok": 0, "error": 0, "timeout": 5, "refused": 1}
