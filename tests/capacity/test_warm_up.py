"""Where a warm-up ends, and that noise is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.capacity.warm_up import mser5


def noise(rng: np.random.Generator, level: float, count: int) -> list[float]:
    return [float(value) for value in rng.poisson(level, count)]


def test_a_cold_start_is_cut_off_and_little_more() -> None:
    rng = np.random.default_rng(1)
    series = noise(rng, 20, 15) + noise(rng, 100, 105)
    cut = mser5(series)
    assert cut is not None
    assert 15 <= cut <= 40


def test_a_series_that_rises_to_the_end_has_no_steady_part() -> None:
    assert mser5([float(second) for second in range(120)]) is None


def test_a_level_series_loses_nothing() -> None:
    assert mser5([7.0] * 60) == 0


def test_noise_is_hardly_ever_called_unsteady() -> None:
    rng = np.random.default_rng(2)
    refused = sum(mser5(noise(rng, 100, 60)) is None for _ in range(300))
    assert refused <= 6


@pytest.mark.parametrize("count", [0, 4, 29])
def test_too_few_values_to_judge_are_all_kept(count: int) -> None:
    assert mser5([float(value) for value in range(count)]) == 0


@given(st.lists(st.floats(0, 1e6), max_size=200))
def test_the_cut_is_at_a_whole_batch_in_the_first_half(values: list[float]) -> None:
    cut = mser5(values)
    assert cut is None or (cut % 5 == 0 and cut <= len(values) / 2)


def test_a_value_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        mser5([1.0, math.nan])
