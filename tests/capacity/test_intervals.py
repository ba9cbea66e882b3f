"""Intervals against their formulas, and how few requests are too few."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.capacity.blocks import blocks_of, error_share, mean_latency, share_over
from launchday.capacity.intervals import (
    least_requests,
    of_batch_means,
    of_blocks,
    of_replicates,
    why_inconclusive,
)
from launchday.capacity.simulate import mmc, step
from launchday.capacity.steps import Batch, Step
from launchday.histogram import LogHistogram

VIOLATIONS = (0, 1, 2, 5, 10)
LEAST = {
    (0.95, 0.95): (59, 93, 124, 208, 336),
    (0.95, 0.99): (90, 130, 165, 259, 398),
    (0.99, 0.95): (299, 473, 628, 1049, 1693),
    (0.99, 0.99): (459, 662, 838, 1307, 2010),
    (0.999, 0.95): (2995, 4742, 6294, 10511, 16959),
    (0.999, 0.99): (4603, 6636, 8403, 13105, 20140),
}


@pytest.mark.parametrize(("claim", "numbers"), LEAST.items())
def test_the_least_requests_are_those_of_the_published_rule(
    claim: tuple[float, float], numbers: tuple[int, ...]
) -> None:
    assert tuple(least_requests(*claim, violations) for violations in VIOLATIONS) == numbers


def test_too_few_requests_are_inconclusive_in_words() -> None:
    words = why_inconclusive(298, 0.99)
    assert words is not None
    assert words.startswith("INCONCLUSIVE: 298 requests say nothing about p99")
    assert "299 or more" in words
    assert why_inconclusive(299, 0.99) is None


def test_batch_means_have_students_interval() -> None:
    found = of_batch_means([1.0, 2.0, 3.0])
    half = 4.302652729911275 / math.sqrt(3)  # t at 97.5 %, 2 degrees of freedom
    assert (found.value, found.n) == (2.0, 3)
    assert found.low == pytest.approx(2 - half)
    assert found.high == pytest.approx(2 + half)
    with pytest.raises(ValueError, match="at least two"):
        of_batch_means([1.0])


@given(st.lists(st.floats(1e-3, 10), min_size=5, max_size=20))
def test_replicates_are_judged_on_the_logarithm(values: list[float]) -> None:
    found = of_replicates(values)
    assert found.low is not None
    assert found.high is not None
    assert found.low * found.high == pytest.approx(found.value**2)
    assert "independent runs" in found.method


@pytest.mark.parametrize("values", [[1.0] * 4, [1.0, 1.0, 0.0, 1.0, 1.0]])
def test_few_replicates_and_impossible_latencies_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"at least 5|above 0"):
        of_replicates(values)


def test_blocks_are_a_labelled_fallback_and_depend_on_the_seed_alone() -> None:
    series = [float(value) for value in np.random.default_rng(1).exponential(1, 500)]
    found = of_blocks(series, 0.9, 25, seed=3)
    assert found == of_blocks(series, 0.9, 25, seed=3)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high
    assert "fallback" in found.method
    with pytest.raises(ValueError, match="fewer than two blocks"):
        of_blocks(series, 0.9, 400)


def step_of(*batches: Batch, run_id: str = "") -> Step:
    return Step("", 10, 10, 10, 1, 0.1, 0.1, batches=batches, run_id=run_id)


def batch(fast: int, slow: int = 0, errors: int = 0) -> Batch:
    histogram = LogHistogram()
    histogram.record(0.1, fast)
    histogram.record(1.0, slow)
    return Batch(1.0, fast + slow + errors, fast, 0, errors, histogram)


def test_seconds_become_blocks_of_five_and_nothing_is_lost() -> None:
    blocks = blocks_of([step_of(*[batch(10)] * 63)])
    assert [block.seconds for block in blocks] == [5.0] * 11 + [8.0]
    assert sum(block.offered for block in blocks) == 630


def test_five_runs_of_a_load_are_five_blocks() -> None:
    steps = [step_of(*[batch(10)] * 60, run_id=str(number)) for number in range(5)]
    assert [block.seconds for block in blocks_of(steps)] == [60.0] * 5
    assert len(blocks_of(steps[:4])) == 48


def test_requests_that_come_in_bursts_widen_the_bounds() -> None:
    even = share_over(blocks_of([step_of(*[batch(99, 1)] * 60)]), 0.5)
    burst = share_over(blocks_of([step_of(*[batch(100)] * 50, *[batch(94, 6)] * 10)]), 0.5)
    assert even.value == burst.value == 0.01
    assert burst.high > even.high > 0.01
    assert burst.low < even.low < 0.01


def test_no_error_in_enough_requests_is_bounded_and_too_few_blocks_are_not() -> None:
    none = error_share(blocks_of([step_of(*[batch(100)] * 60)]))
    assert none.low == none.value == 0.0
    assert 3 / 6000 < none.high < 1 / 1000
    assert error_share(blocks_of([step_of(*[batch(100)] * 10)])).high == math.inf


@pytest.mark.parametrize(
    ("rate_rps", "truth"), [(100.0, 0.1), (160.0, 0.1064)], ids=["nobody waits", "a quarter waits"]
)
def test_bounds_of_a_mean_hold_the_truth(rate_rps: float, truth: float) -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(20):
        bounds = mean_latency(blocks_of([step(mmc(20, 0.1), rate_rps, 60, rng)]))
        held += bounds.low <= truth <= bounds.high
    assert held >= 14
