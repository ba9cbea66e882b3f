"""Seconds are cut where the load changes, and not where it is only noisy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.capacity.importers.plateaus import find_plateaus, rate_changes, warm_up_of


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(50, 400), min_size=1, max_size=6),
    st.integers(20, 60),
    st.integers(0, 1000),
)
def test_steps_of_poisson_arrivals_are_found(rates: list[int], seconds: int, seed: int) -> None:
    truth = rates[:1]
    for rate in rates[1:]:
        if abs(rate - truth[-1]) > 100:
            truth.append(rate)
    rng = np.random.default_rng(seed)
    counts = np.concatenate([rng.poisson(rate, seconds) for rate in truth]).astype(float)
    found = rate_changes(counts)
    wanted = [seconds * i for i in range(1, len(truth))]
    assert all(any(abs(cut - at) <= 1 for cut in found) for at in wanted)


@pytest.mark.parametrize("rate", [20, 200])
def test_noise_is_cut_into_pieces_hardly_ever(rate: int) -> None:
    rng = np.random.default_rng(7)
    cut = sum(bool(rate_changes(rng.poisson(rate, 120).astype(float))) for _ in range(200))
    assert cut <= 10


def test_a_closed_loop_is_one_load_though_its_rate_wanders() -> None:
    rates = [100.0] * 30 + [80.0] * 30
    (one,) = find_plateaus([8] * 60, rates, [7.9] * 60)
    assert one.seconds == 60
    assert len(find_plateaus([8] * 60, rates, [2.0] * 60)) == 2


def test_seconds_without_a_word_on_users_are_as_before() -> None:
    levels = [2, None, None] * 10 + [4, None] * 15
    found = find_plateaus(levels, [10.0] * 60, [1.0] * 60)
    assert [(p.first, p.after, p.words) for p in found] == [
        (0, 30, "2 users"),
        (30, 60, "4 users"),
    ]


@pytest.mark.parametrize(("seconds", "cut"), [(10, 2), (60, 12), (600, 30)])
def test_the_warm_up_is_a_fifth_within_bounds(seconds: int, cut: int) -> None:
    assert warm_up_of(seconds) == cut
