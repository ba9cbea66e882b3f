from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.chaos.stages import Toxic, is_hit

shares = st.floats(0, 1)


def toxic(toxicity: float) -> Toxic:
    return Toxic("slow", "latency", "downstream", toxicity, {"latency": 1, "jitter": 0})


@given(st.integers(), st.integers(0), shares, shares)
def test_a_higher_toxicity_hits_every_connection_that_a_lower_one_hits(
    seed: int, connection: int, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    if is_hit(seed, "gateway", toxic(low), connection):
        assert is_hit(seed, "gateway", toxic(high), connection)


@given(st.integers(), st.integers(0))
def test_toxicity_0_hits_no_connection_and_1_hits_all(seed: int, connection: int) -> None:
    assert not is_hit(seed, "gateway", toxic(0), connection)
    assert is_hit(seed, "gateway", toxic(1), connection)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.floats(0.1, 0.9))
def test_the_share_of_hit_connections_is_the_toxicity(seed: int, toxicity: float) -> None:
    hits = [is_hit(seed, "gateway", toxic(toxicity), number) for number in range(1000)]
    assert abs(sum(hits) / 1000 - toxicity) < 0.1  # more than 6 sigma
    assert hits[:9] == [is_hit(seed, "gateway", toxic(toxicity), number) for number in range(9)]
