"""Retry-After: whole seconds, never 0, never the same for all."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.admission.retry_after import RetryAfter


@given(st.integers(1, 3600), st.integers(0, 100), st.integers())
def test_every_draw_is_a_whole_second_in_range(low: int, width: int, seed: int) -> None:
    high = min(low + width, 3600)
    retry_after = RetryAfter(low, high, random=Random(seed))
    draws = [retry_after.draw() for _ in range(20)]
    assert all(type(draw) is int and low <= draw <= high for draw in draws)


def test_refused_clients_are_spread_evenly() -> None:
    retry_after = RetryAfter(random=Random(1))
    counts = Counter(retry_after.draw() for _ in range(10_000))
    assert sorted(counts) == [1, 2, 3, 4, 5]
    assert max(counts.values()) < 1.1 * min(counts.values())


def test_the_same_seed_draws_the_same_seconds() -> None:
    one, two = (RetryAfter(1, 30, random=Random(5)) for _ in range(2))
    assert [one.draw() for _ in range(50)] == [two.draw() for _ in range(50)]


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0, 5, "retry_after minimum must be an integer from 1 to 3600, not 0"),
        (3, 2, "retry_after maximum must be an integer from 3 to 3600, not 2"),
        (1, 3601, "not 3601"),
        (1.5, 5, "not 1.5"),
    ],
)
def test_a_wrong_range_is_refused(low: Any, high: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RetryAfter(low, high)
