"""What an administrator may change, by property: whole, or not at all."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday import LoadSheddingMiddleware
from launchday.admission import ElasticLimit
from launchday.admission.admin_changes import ALGORITHMS, change_shedder, describe_shedder


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["mode", "algorithm", "limit", "other"]),
        st.none()
        | st.booleans()
        | st.integers(-2, 100_001)
        | st.floats()
        | st.sampled_from(["off", "observe", "enforce", *ALGORITHMS])
        | st.lists(st.integers(), max_size=2),
        max_size=3,
    )
)
def test_whatever_is_asked_for_is_done_whole_or_refused(wanted: dict[str, Any]) -> None:
    shedder = LoadSheddingMiddleware(FastAPI(), limit=24)
    before = shedder.mode, shedder.limiter.limit
    try:
        change_shedder(shedder, wanted)
    except ValueError:
        assert (shedder.mode, shedder.limiter.limit) == before
    else:
        state = describe_shedder(shedder)
        assert {key: state[key] for key in wanted} == wanted
        assert json.loads(json.dumps(state, allow_nan=False))["limit"] >= 1


def test_what_a_limit_has_learnt_is_kept_when_its_own_algorithm_is_asked_for() -> None:
    limit = ElasticLimit(initial=30, floor=20, ceiling=60)
    shedder = LoadSheddingMiddleware(FastAPI(), limit=limit)
    change_shedder(shedder, {"algorithm": "elastic", "mode": "observe"})
    assert shedder.limiter.limit is limit
    change_shedder(shedder, {"algorithm": "aimd"})
    new: Any = shedder.limiter.limit
    assert (new.algorithm, new.limit, new.floor, new.ceiling) == ("aimd", 30, 20, 60)
    change_shedder(shedder, {"algorithm": "vegas", "limit": 80})
    new = shedder.limiter.limit
    assert (new.limit, new.floor, new.ceiling) == (80, 20, 80)
