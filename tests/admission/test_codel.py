"""When a queue is overloaded, and who is refused before it: CoDel and the threshold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.admission.class_queue import ClassQueue
from launchday.admission.codel import MinimumDelay, StandingQueue
from launchday.admission.threshold import PriorityThreshold
from tests.admission.test_gate import CRITICAL, SHEDDABLE, Waiting


def test_the_threshold_refuses_the_share_it_is_told_evenly() -> None:
    threshold = PriorityThreshold()
    for _ in range(100):
        for _ in range(100):
            threshold.refuses(CRITICAL, 1)
            threshold.refuses(SHEDDABLE, 1)
        threshold.tick(0.1, overloaded=False, pressure=0.75)
    assert threshold.share == pytest.approx(0.75)
    assert threshold.level == pytest.approx(128 * (0.98 + 0.5), rel=0.02)
    refused = [threshold.refuses(CRITICAL, 1) for _ in range(1000)]
    assert sum(refused) == pytest.approx(500, abs=5)
    windows = [sum(refused[at : at + 10]) for at in range(0, 1000, 10)]
    assert max(windows) - min(windows) <= 2, "spread evenly, not in bursts"
    for _ in range(10):
        threshold.tick(0.1, overloaded=False, pressure=0.0)
    assert threshold.share == 0.0
    assert not threshold.active


@given(
    st.lists(
        st.tuples(
            st.integers(0, 50), st.integers(0, 60), st.booleans(), st.floats(0, 1),
            st.sampled_from([1e-6, 0.1, 3.0]),
        ),
        max_size=50,
    )
)  # fmt: skip
def test_the_threshold_stays_in_bounds(ticks: list[tuple[int, int, bool, float, float]]) -> None:
    threshold = PriorityThreshold()
    for offered, dropped, overloaded, pressure, seconds in ticks:
        for number in range(offered):
            threshold.refuses(number % 4, 1 + number % 3)
        threshold.dropped(dropped)
        before = threshold.share
        threshold.tick(seconds, overloaded=overloaded, pressure=pressure)
        assert 0 <= threshold.share <= 0.98
        assert abs(threshold.share - before) <= 0.2 + 1e-9
        assert 0 <= threshold.level <= 512


def test_folly_s_codel_drops_only_after_an_interval_of_long_delays() -> None:
    """The calls and answers of `folly/executors/test/CodelTest.cpp`, `Codel.Basic`."""
    delay = MinimumDelay()
    now = 100.0
    assert not delay.ended(0.0, now, 0.1), "the first one opens the interval"
    now += 0.1 + 0.0001
    assert not delay.ended(0.2, now, 0.1)
    now += 0.05
    assert not delay.ended(0.2, now, 0.1)
    now += 0.0501
    assert not delay.ended(0.2, now, 0.1), "opens the next; the last one had none below target"
    assert delay.ended(0.2, now + 0.001, 0.1)
    assert not delay.ended(0.009, now + 0.002, 0.1), "at most twice the target is served"
    assert delay.overloaded(now)
    assert not delay.overloaded(now + 0.2), "an interval without a wait says nothing"


def test_a_queue_stands_when_it_was_never_empty_for_an_interval() -> None:
    standing = StandingQueue(5.0)
    assert not standing.overloaded(5.1, 0.1)
    assert standing.overloaded(5.1001, 0.1)


@given(st.lists(st.tuples(st.floats(0, 0.05), st.integers(0, 3)), max_size=80), st.booleans())
def test_nobody_waits_longer_than_the_interval(
    steps: list[tuple[float, int]], by_delay: bool
) -> None:
    queue = ClassQueue(0.1, "minimum_delay" if by_delay else "standing")
    now = 0.0
    for seconds, action in steps:
        now += seconds
        gone = [*queue.expired(now)]
        assert all(waiter.joined_at <= now - 0.01 for waiter in gone)
        first = queue.first(now)
        if first is not None:
            assert now - first.joined_at <= 0.1
        if action == 0 and first is not None:
            queue.take(first, now)
        elif action:
            queue.join(Waiting(CRITICAL), now)
