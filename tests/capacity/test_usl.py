from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from launchday.capacity.usl import Usl

CISCO = Usl(0.02671591, 0.0007690945, 995.6486)

laws = st.builds(
    Usl,
    alpha=st.one_of(st.just(0.0), st.floats(1e-6, 0.99)),
    beta=st.one_of(st.just(0.0), st.floats(1e-9, 1.0)),
    gamma=st.floats(1e-3, 1e6),
)


@pytest.mark.parametrize(
    ("n", "rps", "seconds"),
    [
        (1, 995.648772, 0.00100439850),
        (20, 11063.633126, 0.00180772180),
        (35, 12341.745655, 0.00283591355),
    ],
)
def test_points_of_the_published_model(n: float, rps: float, seconds: float) -> None:
    assert CISCO.throughput(n) == pytest.approx(rps, rel=2e-4)
    assert CISCO.latency_seconds(n) == pytest.approx(seconds, rel=2e-4)


def test_peak_limit_and_optimum_of_published_models() -> None:
    assert CISCO.peak_concurrency == pytest.approx(35.5738, rel=1e-4)
    assert math.floor(CISCO.peak_concurrency) == 35
    assert CISCO.peak_rps == pytest.approx(12342.85, rel=1e-4)
    spec = Usl(0.0277285, 0.0001044, 89.995233)
    assert spec.peak_concurrency == pytest.approx(96.51956, rel=2e-4)
    assert spec.peak_rps == pytest.approx(1884, rel=2e-4)
    assert spec.limit_rps == pytest.approx(3245.589, rel=2e-4)
    assert spec.optimal_concurrency == pytest.approx(36.06401, rel=2e-4)


def test_what_if_contention_and_coherency_were_lower() -> None:
    assert Usl(0.001, 0.00001, 90).peak_concurrency == pytest.approx(316.0696, abs=5e-5)


def test_a_curve_without_coherency_has_no_peak_but_a_limit() -> None:
    ray = Usl(0.0577707803342709, 0, 21.8488427708739)
    assert ray.peak_concurrency == math.inf
    assert ray.peak_rps == ray.limit_rps == pytest.approx(378.198851468737)
    assert ray.throughput(96) == pytest.approx(323.276271505176)
    assert ray.throughput(128) == pytest.approx(335.455088859128)
    linear = Usl(0, 0, 5)
    assert (linear.peak_rps, linear.limit_rps, linear.optimal_concurrency) == (math.inf,) * 3


@given(law=laws, share=st.floats(1e-3, 1))
def test_concurrency_at_throughput_is_the_inverse_on_the_way_up(law: Usl, share: float) -> None:
    top = law.peak_rps if math.isfinite(law.peak_rps) else 1e6 * law.gamma
    rps = share * top if law.beta > 0 else min(share, 0.999) * top
    n = law.concurrency_at_throughput(rps)
    assert n is not None
    assert law.throughput(n) == pytest.approx(rps, rel=1e-9)
    assert n <= law.peak_concurrency * (1 + 1e-6)
    assert law.latency_at_throughput(rps) == pytest.approx(n / rps, rel=1e-9)


@given(law=laws, n=st.floats(0.6, 1e4))
def test_concurrency_at_latency_is_the_inverse(law: Usl, n: float) -> None:
    assume(law.alpha * n > 1e-4 or law.beta * n * n > 1e-4)  # else latency says nothing of N
    seconds = law.latency_seconds(n)
    found = law.concurrency_at_latency(seconds)
    assert found is not None
    assert law.latency_seconds(found) == pytest.approx(seconds, rel=1e-9)
    assert law.throughput_at_latency(seconds) == pytest.approx(found / seconds)
    assert law.throughput(found) == pytest.approx(found / seconds, rel=1e-9)


@given(law=laws, over=st.floats(1e-6, 10))
def test_no_concurrency_reaches_more_than_the_peak(law: Usl, over: float) -> None:
    assume(math.isfinite(law.peak_rps))
    assert law.concurrency_at_throughput(law.peak_rps * (1 + over)) is None
    assert law.latency_at_throughput(law.peak_rps * (1 + over)) is None


@given(law=laws, n=st.floats(0.01, 1e5))
def test_throughput_never_exceeds_its_peak_and_little_holds(law: Usl, n: float) -> None:
    rps = law.throughput(n)
    assert 0 < rps <= law.peak_rps * (1 + 1e-9)
    assert rps * law.latency_seconds(n) == pytest.approx(n)


def test_the_very_peak_is_feasible() -> None:
    assert CISCO.concurrency_at_throughput(CISCO.peak_rps) == pytest.approx(CISCO.peak_concurrency)
    assert CISCO.concurrency_at_throughput(0) == 0


def test_a_latency_below_the_fastest_is_infeasible_and_a_flat_one_never_reached() -> None:
    assert CISCO.concurrency_at_latency(0.0009) is None
    assert CISCO.throughput_at_latency(0.0009) is None
    assert Usl(0, 0, 100).concurrency_at_latency(0.02) == math.inf
    assert Usl(0, 0, 100).throughput_at_latency(0.02) == math.inf
    assert Usl(0, 0, 100).concurrency_at_latency(0.009) is None


def test_a_serial_system_reaches_no_rate_by_more_in_flight() -> None:
    serial = Usl(1, 0, 100)
    assert serial.throughput(50) == serial.throughput(1) == serial.peak_rps == 100
    assert serial.concurrency_at_throughput(50) is None


def test_overheads_add_up_to_the_published_parts() -> None:
    overhead = Usl(0.05, 0.02, 1).overhead(4)
    assert overhead.ideal == pytest.approx(1 / 4)
    assert overhead.contention == pytest.approx(0.05 * 3 / 4)
    assert overhead.coherency == pytest.approx(0.02 * 3 / 2)


@pytest.mark.parametrize(
    ("alpha", "beta", "gamma", "name"),
    [
        (-0.1, 0, 1, "alpha"),
        (1.1, 0, 1, "alpha"),
        (math.nan, 0, 1, "alpha"),
        (0, -1e-9, 1, "beta"),
        (0, 1.5, 1, "beta"),
        (0, math.nan, 1, "beta"),
        (0, 0, 0, "gamma"),
        (0, 0, math.inf, "gamma"),
    ],
)
def test_a_law_outside_its_bounds_is_refused(
    alpha: float, beta: float, gamma: float, name: str
) -> None:
    with pytest.raises(ValueError, match=name):
        Usl(alpha, beta, gamma)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_odd_questions_are_refused_by_name(value: float) -> None:
    with pytest.raises(ValueError, match="concurrency"):
        CISCO.throughput(value)
    with pytest.raises(ValueError, match="seconds"):
        CISCO.concurrency_at_latency(value)
    with pytest.raises(ValueError, match="rps"):
        CISCO.concurrency_at_throughput(value)


def test_next_to_nothing_in_flight_has_next_to_no_throughput() -> None:
    assert Usl(1, 0, 100).throughput(1e-200) == pytest.approx(100)
    assert Usl(0.5, 0.5, 100).throughput(1e-200) == pytest.approx(2e-198)
    assert CISCO.throughput(0) == 0
