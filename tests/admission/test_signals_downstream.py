"""The pressure of a dependency that refuses, and its Retry-After."""

from __future__ import annotations

import math
import random
import threading
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from launchday.admission.refusal import Refusal
from launchday.admission.signals import Downstream, Signal


class Clock:
    """Seconds, set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def downstream(clock: Clock) -> Downstream:
    return Downstream(clock=clock)


def call(downstream: Downstream, accepted: int, refused: int) -> None:
    for _ in range(accepted):
        downstream.report(True)
    for _ in range(refused):
        downstream.report(False)


@pytest.mark.parametrize(
    ("accepted", "refused", "pressure"),
    [(0, 0, 0.0), (100, 0, 0.0), (50, 50, 0.0), (40, 60, 20 / 101), (0, 100, 100 / 101)],
)
def test_the_pressure_is_that_of_client_side_throttling(
    downstream: Downstream, clock: Clock, accepted: int, refused: int, pressure: float
) -> None:
    call(downstream, accepted, refused)
    assert downstream.pressure(clock.now) == pytest.approx(pressure)
    assert isinstance(downstream, Signal)
    assert downstream.reason is Refusal.DOWNSTREAM


def test_a_smaller_multiplier_refuses_earlier(clock: Clock) -> None:
    strict = Downstream(multiplier=1.1, clock=clock)
    call(strict, 80, 20)
    assert strict.pressure(clock.now) == pytest.approx(12 / 101)


def test_a_few_failed_calls_are_no_overload(downstream: Downstream, clock: Clock) -> None:
    call(downstream, 0, 9)
    assert downstream.pressure(clock.now) == 0.0
    call(downstream, 0, 1)
    assert downstream.pressure(clock.now) > 0.9


def test_what_is_older_than_the_window_is_forgotten_bit_by_bit(
    downstream: Downstream, clock: Clock
) -> None:
    pressures = []
    for _ in range(10):
        call(downstream, 2, 8)
        clock.now += 1.0
    for _ in range(11):
        pressures.append(downstream.pressure(clock.now))
        call(downstream, 10, 0)
        clock.now += 1.0
    assert pressures[0] > 0.5
    assert pressures == sorted(pressures, reverse=True)
    assert pressures[-1] == 0.0
    clock.now += 11.0
    call(downstream, 0, 10)
    assert downstream.pressure(clock.now) == pytest.approx(10 / 11)


def test_a_dependency_that_takes_a_quarter_is_left_with_less_and_then_recovers(
    clock: Clock,
) -> None:
    rng = random.Random(1)
    downstream = Downstream(clock=clock)

    def second(capacity: int, offered: int = 400) -> tuple[int, int]:
        """One second of requests; return how many calls were made and accepted."""
        calls = accepted = 0
        for _ in range(10):
            clock.now += 0.1
            pressure = downstream.pressure(clock.now)
            let_in = sum(rng.random() >= pressure for _ in range(offered // 10))
            taken = min(let_in, capacity // 10)
            call(downstream, taken, let_in - taken)
            calls, accepted = calls + let_in, accepted + taken
        return calls, accepted

    overloaded = [second(100) for _ in range(60)][30:]
    calls = sum(calls for calls, _ in overloaded) / 30
    assert sum(accepted for _, accepted in overloaded) / 30 >= 98
    # sqrt(K * 100 * 400): a refused request makes no call.
    assert calls == pytest.approx(math.sqrt(2 * 100 * 400), rel=0.1)
    recovered = [second(1000) for _ in range(12)][-1]
    assert recovered == (400, 400)


def test_the_longest_retry_after_that_still_runs_is_passed_on(
    downstream: Downstream, clock: Clock
) -> None:
    assert downstream.retry_after_seconds(clock.now) == 0.0
    downstream.report(False, retry_after_seconds=8)
    downstream.report(False, 2.5)
    assert downstream.retry_after_seconds(clock.now) == pytest.approx(8.0)
    clock.now += 5
    downstream.report(False, 1)
    assert downstream.retry_after_seconds(clock.now) == pytest.approx(3.0)
    clock.now += 3.5
    assert downstream.retry_after_seconds(clock.now) == 0.0
    assert downstream.clamped == 0


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (3600, 30.0),
        (math.inf, 30.0),
        (10**400, 30.0),
        (-5, 0.0),
        (-math.inf, 0.0),
        (math.nan, 0.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
        (b"5", 0.0),
        ([], 0.0),
    ],
)
def test_garbage_in_retry_after_is_clamped_and_counted(
    downstream: Downstream, clock: Clock, said: Any, kept: float
) -> None:
    downstream.report(False, said)
    assert downstream.retry_after_seconds(clock.now) == pytest.approx(kept)
    assert downstream.clamped == 1
    assert math.isfinite(downstream.pressure(clock.now))


def test_a_clock_that_jumps_back_neither_keeps_old_calls_nor_stretches_retry_after(
    downstream: Downstream, clock: Clock
) -> None:
    call(downstream, 0, 100)
    downstream.report(False, 20)
    clock.now -= 500
    assert downstream.pressure(clock.now) == 0.0
    assert downstream.retry_after_seconds(clock.now) <= 30.0
    clock.now += 30
    assert downstream.retry_after_seconds(clock.now) == 0.0
    call(downstream, 100, 0)
    assert downstream.pressure(clock.now) == 0.0


def test_calls_reported_from_many_threads_are_all_counted(
    downstream: Downstream, clock: Clock
) -> None:
    threads = [threading.Thread(target=call, args=(downstream, 2000, 6000)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert downstream.pressure(clock.now) == pytest.approx((32000 - 2 * 8000) / 32001)


@given(
    st.lists(st.tuples(st.floats(-1e9, 1e9), st.booleans(), st.none() | st.floats()), max_size=50)
)
@example([(1 / 3, False, 30.0)])
def test_the_pressure_and_the_retry_after_stay_in_range(
    reports: list[tuple[float, bool, float | None]],
) -> None:
    clock = Clock()
    downstream = Downstream(clock=clock, minimum_calls=1)
    for step, accepted, said in reports:
        clock.now += step
        downstream.report(accepted, said)
        assert 0.0 <= downstream.pressure(clock.now) < 1.0
        assert 0.0 <= downstream.retry_after_seconds(clock.now) <= 30.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("multiplier", 0.9),
        ("multiplier", math.nan),
        ("multiplier", "2"),
        ("window_seconds", 0),
        ("window_seconds", math.inf),
        ("minimum_calls", 0),
        ("minimum_calls", 1.5),
    ],
)
def test_wrong_settings_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        Downstream(**{name: value})
