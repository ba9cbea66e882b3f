"""The rule of `LoopLag`, on a clock that is set by hand and misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from launchday.admission.refusal import Refusal
from launchday.admission.signals import LoopLag


class Hand:
    """A loop whose only timer runs when told to, on a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.tick: Callable[[], object] = lambda: None

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Any:
        self.tick = lambda: callback(*args)
        return asyncio.Handle(callback, (), self)  # type: ignore[arg-type]  # not a whole loop

    def get_debug(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return False

    def is_running(self) -> bool:
        return False

    def on_time(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += 0.02
            self.tick()


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def by_hand(hand: Hand) -> Iterator[LoopLag]:
    lag = LoopLag(clock=lambda: hand.now)
    lag.start(hand)  # type: ignore[arg-type]  # as much of a loop as it needs
    yield lag
    lag.stop()


def test_a_clock_that_jumps_back_or_forth_refuses_nothing_after_the_next_tick(
    hand: Hand, by_hand: LoopLag
) -> None:
    for jump in (-500.0, 3600.0, -3600.0):
        hand.now += jump
        hand.tick()
        assert not by_hand.refuses(3, hand.now)
        assert not by_hand.refuses(3, hand.now + 0.06)
        assert by_hand.refuses(3, hand.now + 0.08)
        hand.on_time(100)
        assert by_hand.longest_seconds < 0.001
        assert by_hand.lag_seconds < 1000


def test_the_tolerance_shrinks_while_ticks_stay_late_and_is_back_after_one_on_time(
    hand: Hand, by_hand: LoopLag
) -> None:
    def bounds() -> list[bool]:
        by_hand.refuses(3, hand.now)
        return [by_hand.refuses(3, hand.now + 0.02 + age) for age in (0.014, 0.016, 0.049, 0.051)]

    assert bounds() == [False, False, False, True]
    for _ in range(3):
        hand.now += 0.05
        hand.tick()
    assert bounds() == [False, False, False, True]
    hand.now += 0.05
    hand.tick()
    assert bounds() == [False, True, True, True]
    hand.on_time()
    assert bounds() == [False, False, False, True]


def test_the_longest_lag_is_that_of_the_last_second(hand: Hand, by_hand: LoopLag) -> None:
    hand.now += 0.52
    hand.tick()
    assert by_hand.longest_seconds == pytest.approx(0.5)
    hand.on_time(40)
    assert by_hand.longest_seconds == pytest.approx(0.5)
    hand.on_time(20)
    assert by_hand.longest_seconds == pytest.approx(0.0, abs=1e-9)
    hand.now += 0.12
    assert by_hand.longest_seconds == pytest.approx(0.1)


def test_each_criticality_has_its_tolerance(hand: Hand, by_hand: LoopLag) -> None:
    by_hand.refuses(3, hand.now)
    for criticality, tolerance in enumerate((0.3, 0.1, 0.075, 0.05)):
        assert not by_hand.refuses(criticality, hand.now + 0.019 + tolerance)
        assert by_hand.refuses(criticality, hand.now + 0.021 + tolerance)


def test_no_criticality_makes_it_raise(by_hand: LoopLag, hand: Hand) -> None:
    assert not by_hand.refuses(7, hand.now)
    assert [by_hand.refuses(c, hand.now + 0.2) for c in (-1, 0, 3, 4, 10**9)] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert by_hand.reason is Refusal.LOOP_LAG


@pytest.mark.parametrize("name", ["period_seconds", "tolerance_seconds", "watchdog_seconds"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "1", None, True])
def test_wrong_times_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        LoopLag(**{name: value})


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(ValueError, match="on_stall"):
        LoopLag(on_stall="print")  # type: ignore[arg-type]  # the mistake that is tested
