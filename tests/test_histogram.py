from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.histogram import LogHistogram, bucket_of, middle_of

DURATIONS = st.floats(min_value=2e-6, max_value=3600.0)


@given(DURATIONS)
def test_the_middle_of_a_bucket_is_at_most_one_percent_off(seconds: float) -> None:
    assert abs(middle_of(bucket_of(seconds)) / seconds - 1) <= 0.0101


@given(st.lists(DURATIONS), st.lists(DURATIONS))
def test_many_recorded_at_once_are_as_each_by_itself(first: list[float], then: list[float]) -> None:
    at_once, one_by_one = LogHistogram(), LogHistogram()
    for some in (first, then):
        at_once.record_all(some)
        for each in some:
            one_by_one.record(each)
    assert at_once == one_by_one


@given(st.lists(DURATIONS, min_size=1, max_size=200), st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_at_most_one_percent_off_the_nearest_rank(
    values: list[float], q: float
) -> None:
    histogram = LogHistogram()
    for value in values:
        histogram.record(value)
    exact = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
    found = histogram.quantile(q)
    assert found is not None
    assert abs(found / exact - 1) <= 0.0101


@given(st.lists(DURATIONS, max_size=100), st.lists(DURATIONS, max_size=100))
def test_merging_is_the_same_as_recording_everything_in_one(
    some: list[float], others: list[float]
) -> None:
    parts = []
    for values in (some, others, some + others):
        histogram = LogHistogram()
        for value in values:
            histogram.record(value)
        parts.append(histogram)
    assert LogHistogram.merged(parts[:2]) == parts[2]
    assert LogHistogram.from_json(parts[2].to_json()) == parts[2]


def test_an_empty_histogram_has_no_quantile() -> None:
    assert LogHistogram().quantile(0.99) is None


@pytest.mark.parametrize("q", [-0.1, 1.1])
def test_a_quantile_outside_0_to_1_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        LogHistogram().quantile(q)
