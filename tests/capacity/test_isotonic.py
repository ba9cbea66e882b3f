"""A rising curve through noise, and its crossing."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.capacity.isotonic import crossing, rising

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30)


def test_violators_are_pooled_to_their_weighted_mean() -> None:
    assert rising([1.0, 3.0, 2.0, 4.0]) == [1.0, 2.5, 2.5, 4.0]
    assert rising([3.0, 1.0], [1.0, 3.0]) == [1.5, 1.5]
    assert rising([3.0, 2.0, 1.0]) == [2.0, 2.0, 2.0]


@given(VALUES)
def test_the_curve_never_falls_and_keeps_the_mean(values: list[float]) -> None:
    curve = rising(values)
    assert all(after >= before for before, after in pairwise(curve))
    assert math.fsum(curve) == pytest.approx(math.fsum(values), abs=1e-6)


@given(VALUES)
def test_a_rising_sequence_stays_as_it_is(values: list[float]) -> None:
    assert rising(sorted(values)) == sorted(values)


@given(VALUES)
def test_no_other_rising_sequence_is_nearer(values: list[float]) -> None:
    def squares(curve: list[float]) -> float:
        return math.fsum((a - b) ** 2 for a, b in zip(curve, values, strict=True))

    middle = math.fsum(values) / len(values)
    assert squares(rising(values)) <= squares([middle] * len(values)) + 1e-6
    assert squares(rising(values)) <= squares(sorted(values)) + 1e-6


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, -1.0]])
def test_weights_must_fit_and_be_above_0(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weight"):
        rising([1.0, 2.0], weights)


def test_a_crossing_lies_on_the_line_between_two_knots() -> None:
    assert crossing([10, 20, 30], [0.0, 1.0, 3.0], 2.0) == 25.0
    assert crossing([10, 20, 30], [0.0, 1.0, 1.0], 1.0) is None
    assert crossing([10, 20, 30], [0.0, 0.0, 1.0], 0.0) == 20.0
    assert crossing([10, 20], [3.0, 4.0], 2.0) == -math.inf
    assert crossing([10, 20], [1.0, math.inf], 2.0) == 10.0
