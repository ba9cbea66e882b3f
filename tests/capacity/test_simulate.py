"""The simulated servers against queueing theory, since everything else is measured by them."""

from __future__ import annotations

import numpy as np
import pytest

from launchday.capacity.ps_tail import mm1_ps_rate_within_rps, mm1_ps_tail
from launchday.capacity.simulate import (
    Draw,
    bimodal,
    exponential,
    finished,
    latencies,
    mmc,
    ps,
    step,
)

REQUESTS = 100_000


def test_one_first_come_server_is_an_mm1() -> None:
    taken = latencies(mmc(1, 0.01), 50, REQUESTS, np.random.default_rng(1))
    assert float(taken.mean()) == pytest.approx(0.02, rel=0.05)
    assert float(np.mean(taken > 0.06)) == pytest.approx(np.exp(-3), rel=0.1)


@pytest.mark.parametrize("service", [exponential(0.005), bimodal(0.003, 0.023, 0.1)])
def test_a_shared_server_takes_s_over_1_minus_rho_whatever_the_service_times(service: Draw) -> None:
    taken = latencies(ps(service, 0.005), 100, REQUESTS, np.random.default_rng(2))
    assert float(taken.mean()) == pytest.approx(0.01, rel=0.05)


def test_two_requests_that_share_a_server_finish_as_on_paper() -> None:
    shared = ps(lambda _, n: np.array([1.0, 0.25])[:n], 1.0)
    done = finished(shared, np.array([0.0, 0.5]), np.random.default_rng(1))
    # From 0.5 on both run at half speed: the second ends at 1.0, the first has 0.25 left then.
    assert done.tolist() == pytest.approx([1.25, 1.0])


def test_two_servers_take_whoever_waits_first() -> None:
    pair = mmc(2, 1.0)
    rng = np.random.default_rng(3)
    done = finished(pair, np.zeros(3), rng)
    service = np.random.default_rng(3).exponential(1.0, 3)
    assert done[2] == pytest.approx(min(service[0], service[1]) + service[2])


@pytest.mark.parametrize("seconds", [0.01, 0.05, 0.1])
def test_the_tail_of_processor_sharing_is_that_of_a_simulation(seconds: float) -> None:
    taken = latencies(ps(exponential(0.005), 0.005), 160, 2 * REQUESTS, np.random.default_rng(4))
    seen = float(np.mean(taken > seconds))
    assert mm1_ps_tail(seconds, 160, 0.005) == pytest.approx(seen, rel=0.1)


def test_the_tail_begins_at_1_and_a_saturated_server_never_answers() -> None:
    assert mm1_ps_tail(0.0, 180, 0.005) == pytest.approx(1.0)
    assert mm1_ps_tail(9.0, 200, 0.005) == 1.0


def test_the_rate_that_an_objective_allows_gives_its_quantile_back() -> None:
    rate = mm1_ps_rate_within_rps(0.99, 0.3, 0.005)
    assert mm1_ps_tail(0.3, rate, 0.005) == pytest.approx(0.01)


def test_a_step_counts_every_request_once_and_the_same_seed_gives_the_same_step() -> None:
    first = step(mmc(20, 0.1), 50, 30, np.random.default_rng(5))
    again = step(mmc(20, 0.1), 50, 30, np.random.default_rng(5))
    assert first == again
    assert first.requests == sum(batch.latency.total for batch in first.batches)
    assert len(first.batches) == first.seconds == 30
    assert first.concurrency == pytest.approx(5, rel=0.2)
