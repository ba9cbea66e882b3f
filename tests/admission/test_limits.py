"""Limits: what is a number, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from launchday import FixedLimit, Limit, Outcome


def test_a_fixed_limit_is_a_limit_and_never_learns() -> None:
    limit: Limit = FixedLimit(7)
    assert isinstance(limit, Limit)
    for outcome in Outcome:
        limit.on_sample(9.0, 7, outcome, 1.0)
    assert (limit.limit, limit.algorithm) == (7, "fixed")


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "24", None, True])
def test_a_wrong_limit_is_refused_with_name_value_and_range(wrong: Any) -> None:
    with pytest.raises(ValueError, match="limit must be an integer of at least 1") as refused:
        FixedLimit(wrong)
    assert repr(wrong) in str(refused.value)
