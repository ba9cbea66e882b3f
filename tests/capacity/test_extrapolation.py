from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.capacity.extrapolation import extrapolation


@pytest.mark.parametrize(
    ("times", "verdict", "error"),
    [
        (0, "inside", 0.0),
        (0.5, "inside", 0.0),
        (1, "inside", 0.0),
        (1.1, "inside", 0.079),
        (1.25, "inside", 0.079),
        (1.3, "inside", 0.14),
        (1.5, "inside", 0.14),
        (1.51, "banner", 0.17),
        (2, "banner", 0.17),
        (2.01, "refused", 0.23),
        (5, "refused", 0.50),
        (7, "refused", None),
        (math.inf, "refused", None),
    ],
)
def test_how_far_a_fit_is_asked(times: float, verdict: str, error: float | None) -> None:
    found = extrapolation(240, 240 * times)
    assert (found.verdict, found.error_share) == (verdict, error)
    assert found.ratio == pytest.approx(times)


def test_each_verdict_says_why() -> None:
    assert extrapolation(100, 90).words == "within what was tested"
    assert "14.0%" in extrapolation(100, 140).words
    assert "1.80 times" in extrapolation(100, 180).words
    refused = extrapolation(100, 900).words
    assert "refused: 900 is 9 times the 100" in refused


@given(tested=st.floats(1e-3, 1e6), one=st.floats(0, 10), other=st.floats(0, 10))
def test_further_is_never_better(tested: float, one: float, other: float) -> None:
    order = ["inside", "banner", "refused"]
    near, far = (extrapolation(tested, tested * times) for times in sorted((one, other)))
    assert order.index(near.verdict) <= order.index(far.verdict)
    assert far.error_share is None or (near.error_share or 0.0) <= far.error_share


@pytest.mark.parametrize("tested", [0, -1, math.nan, math.inf])
def test_a_tested_load_that_is_none_is_refused(tested: float) -> None:
    with pytest.raises(ValueError, match="tested_to"):
        extrapolation(tested, 10)


@pytest.mark.parametrize("wanted", [-1, math.nan])
def test_a_wanted_load_that_is_none_is_refused(wanted: float) -> None:
    with pytest.raises(ValueError, match="wanted"):
        extrapolation(10, wanted)
