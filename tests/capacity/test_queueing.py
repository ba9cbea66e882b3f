from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.capacity.queueing import (
    allen_cunneen_wait_seconds,
    erlang_b,
    erlang_c,
    kingman_wait_seconds,
    latency_factor,
    mg1_ps_mean_seconds,
    mmc_mean_seconds,
    mmc_mean_wait_seconds,
    mmc_quantile_seconds,
    mmc_rate_within_rps,
    mmc_tail,
)

# (servers, Erlang) -> (B, C, W_q / S); those of 4, 10 and 20 servers also by the simulator ciw.
GOLDENS = [
    (1, 0.8, 0.444444, 0.800000, 4.000000),
    (2, 1.6, 0.329897, 0.711111, 1.777778),
    (4, 3.2, 0.228145, 0.596432, 0.745541),
    (10, 8, 0.121661, 0.409180, 0.204590),
    (20, 14, 0.030035, 0.093561, 0.015594),
    (20, 18, 0.109213, 0.550769, 0.275385),
    (100, 90, 0.026957, 0.216940, 0.021694),
]
SERVERS = st.integers(1, 200)
BUSY = st.floats(0.01, 0.99)
SECONDS = st.floats(1e-4, 10)


@pytest.mark.parametrize(("servers", "offered", "b", "c", "wait"), GOLDENS)
def test_erlang_is_as_published(
    servers: int, offered: float, b: float, c: float, wait: float
) -> None:
    assert erlang_b(servers, offered) == pytest.approx(b, abs=5e-7)
    assert erlang_c(servers, offered) == pytest.approx(c, abs=5e-7)
    assert mmc_mean_wait_seconds(offered, 1, servers) == pytest.approx(wait, abs=5e-7)


def test_the_rate_of_twenty_servers_within_600_ms_at_p99_is_the_known_one() -> None:
    rate = mmc_rate_within_rps(0.99, 0.6, 0.1, 20)
    assert rate == pytest.approx(188.71, abs=0.005)
    assert rate is not None
    assert mmc_quantile_seconds(0.99, rate, 0.1, 20) == pytest.approx(0.6, rel=1e-9)


def test_a_latency_that_no_idle_system_has_allows_no_rate() -> None:
    assert mmc_rate_within_rps(0.99, 0.4, 0.1, 20) is None  # p99 of the service alone is 461 ms


@given(servers=SERVERS, busy=BUSY)
def test_erlang_b_is_the_sum_of_its_definition(servers: int, busy: float) -> None:
    offered = busy * servers
    logs = [k * math.log(offered) - math.lgamma(k + 1) for k in range(servers + 1)]
    largest = max(logs)
    expected = math.exp(logs[-1] - largest) / math.fsum(math.exp(one - largest) for one in logs)
    assert erlang_b(servers, offered) == pytest.approx(expected, rel=1e-8)


@given(servers=SERVERS, busy=BUSY)
def test_waiting_is_likelier_than_being_refused_and_rarer_with_more_servers(
    servers: int, busy: float
) -> None:
    offered = busy * servers
    assert erlang_b(servers, offered) <= erlang_c(servers, offered) <= 1
    assert erlang_c(servers + 1, offered) <= erlang_c(servers, offered)


@given(busy=BUSY, service=SECONDS)
def test_one_server_is_the_textbook_m_m_1(busy: float, service: float) -> None:
    rate = busy / service
    mean = mmc_mean_seconds(rate, service, 1)
    assert mean == pytest.approx(service / (1 - busy), rel=1e-9)
    assert mean == pytest.approx(mg1_ps_mean_seconds(rate, service), rel=1e-9)
    assert mmc_tail(mean, rate, service, 1) == pytest.approx(math.exp(-1), rel=1e-6)


@given(servers=SERVERS, busy=BUSY, service=SECONDS, quantile=st.floats(0.01, 0.9999))
def test_the_quantile_is_the_inverse_of_the_tail(
    servers: int, busy: float, service: float, quantile: float
) -> None:
    rate = busy * servers / service
    seconds = mmc_quantile_seconds(quantile, rate, service, servers)
    assert mmc_tail(seconds, rate, service, servers) == pytest.approx(1 - quantile, rel=1e-6)


@settings(max_examples=15)
@given(servers=st.integers(1, 60), busy=BUSY)
def test_the_tail_is_a_falling_probability_whose_area_is_the_mean(
    servers: int, busy: float
) -> None:
    rate = busy * servers
    end = mmc_quantile_seconds(1 - 1e-12, rate, 1, servers)
    steps = 2000
    tail = [mmc_tail(end * k / steps, rate, 1, servers) for k in range(steps + 1)]
    assert tail[0] == pytest.approx(1)
    assert all(a >= b for a, b in pairwise(tail))
    area = end / steps * (sum(tail) - (tail[0] + tail[-1]) / 2)
    assert area == pytest.approx(mmc_mean_seconds(rate, 1, servers), rel=1e-3)


@given(servers=st.integers(2, 100), off=st.floats(-1e-6, 1e-6), seconds=st.floats(0, 30))
def test_the_tail_is_smooth_where_theta_passes_mu(servers: int, off: float, seconds: float) -> None:
    """At λ = (c-1)μ the published fraction is 0/0; its limit is e^{-μt}(1 + Cμt)."""
    rate = servers - 1 + off
    waiting = erlang_c(servers, servers - 1)
    expected = math.exp(-seconds) * (1 + waiting * seconds)
    assert mmc_tail(seconds, rate, 1, servers) == pytest.approx(expected, rel=1e-3)


def test_the_tail_is_the_published_formula_away_from_the_limit() -> None:
    c, rate, mu, t = 20, 170.0, 10.0, 0.3
    theta = c * mu - rate
    waiting = erlang_c(c, rate / mu)
    fraction = (theta * math.exp(-mu * t) - mu * math.exp(-theta * t)) / (theta - mu)
    expected = (1 - waiting) * math.exp(-mu * t) + waiting * fraction
    assert mmc_tail(t, rate, 1 / mu, c) == pytest.approx(expected, rel=1e-12)


@given(servers=SERVERS, busy=BUSY, service=SECONDS)
def test_general_formulas_are_the_exponential_ones_at_variation_1(
    servers: int, busy: float, service: float
) -> None:
    rate = busy * servers / service
    exact = mmc_mean_wait_seconds(rate, service, servers)
    assert allen_cunneen_wait_seconds(rate, service, servers, 1, 1) == pytest.approx(exact)
    assert allen_cunneen_wait_seconds(rate, service, servers, 3, 1) == pytest.approx(2 * exact)
    assert allen_cunneen_wait_seconds(rate, service, servers, 0, 0) == 0
    expected = busy / (1 - busy) * (4 + 0.5) / 2 * service
    assert kingman_wait_seconds(busy / service, service, 4, 0.5) == pytest.approx(expected)


def test_what_is_paid_at_a_utilisation() -> None:
    assert latency_factor(0) == 1
    assert latency_factor(0.75) == pytest.approx(4)
    assert latency_factor(0.85) == pytest.approx(1 / 0.15)
    assert latency_factor(0.85, servers=2) == pytest.approx(1 / (1 - 0.85**2))
    assert latency_factor(0.85, servers=20) == pytest.approx(1.12835, abs=1e-5)


@pytest.mark.parametrize("utilisation", [1, 1.2, -0.1, math.nan, math.inf])
def test_no_latency_is_named_for_an_impossible_utilisation(utilisation: float) -> None:
    with pytest.raises(ValueError, match=rf"{utilisation:g}"):
        latency_factor(utilisation)


def test_an_unstable_system_is_refused_with_its_load() -> None:
    with pytest.raises(ValueError, match=r"unstable: 21 Erlang offered to 20 server\(s\)"):
        mmc_mean_wait_seconds(210, 0.1, 20)
    with pytest.raises(ValueError, match="unstable: 1 Erlang"):
        mg1_ps_mean_seconds(10, 0.1)
    with pytest.raises(ValueError, match="unstable"):
        mmc_tail(1, 20, 0.1, 2)
    assert erlang_b(20, 21) > 0.1  # a system without a queue is always stable


@pytest.mark.parametrize(
    ("servers", "offered", "words"),
    [
        (0, 0.5, "servers must be"),
        (-1, 0.5, "servers must be"),
        (2, -1, "offered load must be"),
        (2, math.nan, "offered load must be"),
        (2, math.inf, "offered load must be"),
    ],
)
def test_odd_values_are_refused_by_name(servers: int, offered: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        erlang_b(servers, offered)


@pytest.mark.parametrize("quantile", [0, 1, -0.1, 99, math.nan])
def test_a_quantile_is_a_share(quantile: float) -> None:
    with pytest.raises(ValueError, match="quantile must be above 0 and below 1"):
        mmc_quantile_seconds(quantile, 1, 0.1, 2)
    with pytest.raises(ValueError, match="service_seconds"):
        mmc_quantile_seconds(0.5, 1, 0, 2)
