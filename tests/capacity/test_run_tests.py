"""Comparing groups of runs: exact, and silent where so few cannot tell."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from launchday.capacity.run_tests import compare, rank_sum_p

RUNS = st.lists(st.floats(0.01, 10), min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("runs", "least"), [(3, 0.10), (4, 0.029), (5, 0.008)], ids=["3v3", "4v4", "5v5"]
)
def test_the_least_p_is_that_of_the_table(runs: int, least: float) -> None:
    found = compare([1.0 + n for n in range(runs)], [100.0 + n for n in range(runs)])
    assert found.p == pytest.approx(found.least_p)
    assert found.least_p == pytest.approx(least, abs=5e-4)
    assert found.differs is (None if runs == 3 else True)


def test_three_against_three_cannot_tell_and_say_so() -> None:
    found = compare([1, 2, 3], [7, 8, 9])
    assert found.sentence == (
        "cannot tell: 3 against 3 runs give p = 0.1 at best; make five of each"
    )


def test_a_difference_is_named_with_its_size() -> None:
    found = compare([1.0, 1.01, 1.02, 0.99, 1.0], [1.2, 1.21, 1.22, 1.19, 1.2])
    assert found.sentence == "different: +20.0% at the median, p = 0.0079, 5 against 5 runs"


@given(RUNS, RUNS)
def test_p_is_that_of_scipy_where_no_runs_are_tied(before: list[float], after: list[float]) -> None:
    if len({*before, *after}) < len(before) + len(after):
        assert 0 < rank_sum_p(before, after) <= 1
        return
    expected = stats.mannwhitneyu(before, after, method="exact").pvalue
    assert rank_sum_p(before, after) == pytest.approx(min(1.0, expected))


def test_identical_runs_are_no_difference() -> None:
    assert compare([1.0] * 5, [1.0] * 5).p == 1.0


def test_many_runs_take_the_normal_approximation() -> None:
    rng = np.random.default_rng(1)
    before, after = rng.lognormal(size=30), rng.lognormal(1, size=30)
    assert compare(before.tolist(), after.tolist()).differs is True


def test_false_alarms_are_at_most_one_in_twenty() -> None:
    rng = np.random.default_rng(2)
    pairs = [(rng.lognormal(size=5).tolist(), rng.lognormal(size=5).tolist()) for _ in range(400)]
    assert sum(compare(*pair).differs is True for pair in pairs) <= 20


@pytest.mark.parametrize("values", [[], [0.0], [math.nan], [math.inf]])
def test_no_runs_and_impossible_values_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"at least one run|finite"):
        compare(values, [1.0])
