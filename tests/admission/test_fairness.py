"""Per-client fairness, in a seeded simulation with a simple gate, and its rules one by one."""

from __future__ import annotations

import math
import random
import tracemalloc
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from launchday.admission.fairness import Fairness, max_min_share
from tests.admission.crowd import (
    CAPACITY_RPS,
    POLITE,
    TICK_SECONDS,
    Demand,
    Service,
    jain,
    kept,
    play,
)


@pytest.mark.parametrize("seed", range(3))
def test_s17_an_abuser_gets_429_and_what_the_polite_leave(seed: int) -> None:
    seconds = 30.0
    service = play([5 * CAPACITY_RPS, *POLITE], seconds=10 + seconds, seed=seed)
    abuser, *polite = (service.clients[i] for i in range(20))
    fair_rps = CAPACITY_RPS - sum(POLITE)
    shares = [abuser.good / (fair_rps * seconds), *(c.good / c.offered for c in polite)]
    assert kept(polite) >= 0.999
    assert jain([min(1.0, share) for share in shares]) >= 0.99
    assert abuser.unfair >= 0.9 * (abuser.offered - abuser.good)
    assert sum(c.unfair for c in polite) == 0
    assert sum(c.good for c in service.clients.values()) >= 0.97 * CAPACITY_RPS * seconds


def test_s17_without_fairness_the_abuser_takes_the_slots_of_the_polite() -> None:
    service = Service(None, 1, 5.0)
    service.play([(rate, 0.0, 15.0) for rate in [5 * CAPACITY_RPS, *POLITE]])
    assert kept([service.clients[i] for i in range(1, 20)]) < 0.5


@pytest.mark.parametrize("second", [0.25, 1.0])
def test_two_abusers_get_the_same_however_much_more_one_asks_for(second: float) -> None:
    rates = [5 * CAPACITY_RPS, second * CAPACITY_RPS, *POLITE]
    service = play(rates)
    greedy, other, *polite = (service.clients[i] for i in range(21))
    assert kept(polite) >= 0.99
    assert jain([greedy.good, other.good]) >= 0.97
    assert sum(c.good for c in service.clients.values()) >= 0.97 * CAPACITY_RPS * 30


def test_a_heavy_client_below_the_fair_share_is_let_alone_while_heavier_ones_are_not() -> None:
    rates = [3 * CAPACITY_RPS, CAPACITY_RPS, 0.2 * CAPACITY_RPS, *POLITE[:10]]
    service = play(rates)
    modest = service.clients[2]
    assert modest.good >= 0.97 * modest.offered
    assert service.clients[0].unfair > 0
    assert service.clients[1].unfair > 0


def test_a_crowd_of_small_clients_gets_503_and_never_429() -> None:
    service = play([3 * CAPACITY_RPS / 2000] * 2000, seconds=25.0)
    crowd = list(service.clients.values())
    assert sum(c.unfair for c in crowd) == 0
    assert sum(c.shed for c in crowd) >= 0.5 * sum(c.offered for c in crowd)
    assert sum(c.good for c in crowd) >= 0.97 * CAPACITY_RPS * 15


def test_in_a_crowd_an_abuser_is_left_the_guaranteed_share_to_compete_with() -> None:
    crowd = [3 * CAPACITY_RPS / 500] * 500
    service = play([5 * CAPACITY_RPS, *crowd], seconds=25.0)
    abuser, others = service.clients[0], [service.clients[i] for i in range(1, 501)]
    passed = abuser.offered - abuser.unfair
    assert 0.08 * CAPACITY_RPS * 15 <= passed <= 0.14 * CAPACITY_RPS * 15
    assert abuser.good / passed == pytest.approx(kept(others), abs=0.1)
    assert sum(c.unfair for c in others) == 0


def test_one_client_alone_may_use_the_whole_service() -> None:
    service = play([5 * CAPACITY_RPS], seconds=25.0)
    assert service.clients[0].good >= 0.97 * CAPACITY_RPS * 15


def test_where_nobody_is_short_of_slots_nobody_gets_429() -> None:
    service = play([0.3 * CAPACITY_RPS, *[0.025 * CAPACITY_RPS] * 20])
    assert sum(c.unfair for c in service.clients.values()) == 0
    assert kept(list(service.clients.values())) >= 0.99


def test_an_abuser_that_stops_is_forgiven_within_ten_seconds() -> None:
    class Reformed(Service):
        def _arrive(self, now: float, number: int) -> None:
            super()._arrive(now, 0 if number == 1 else number)

    wild, calm = (5 * CAPACITY_RPS, 0.0, 15.0), (POLITE[0], 15.0, 40.0)
    # Another one floods, so that slots are short all the time.
    flood = (5 * CAPACITY_RPS, 0.0, 40.0)
    service = Reformed(Fairness(), 1, 25.0)
    service.play([wild, calm, flood, *((rate, 0.0, 40.0) for rate in POLITE)])
    reformed = service.clients[0]
    assert any(at < 15.0 for at in reformed.unfair_at)
    assert not any(at >= 25.0 for at in reformed.unfair_at)
    assert reformed.good >= 0.98 * reformed.offered


def test_when_a_crowd_leaves_an_abuser_gets_the_slots_at_once() -> None:
    crowd = [(3 * CAPACITY_RPS / 500, 0.0, 25.0)] * 500
    service = play([5 * CAPACITY_RPS, *crowd], seconds=35.0)
    assert min(service.good_by_second[second] for second in range(29, 35)) >= 0.9 * CAPACITY_RPS


def test_when_an_abuser_arrives_cold_no_slot_stays_idle_for_long() -> None:
    demands: list[float | Demand] = [(rate, 10.0, 25.0) for rate in [5 * CAPACITY_RPS, *POLITE]]
    service = play(demands, warm_up_seconds=12.0)
    assert min(service.good_by_second[s] for s in range(12, 25)) >= 0.85 * CAPACITY_RPS
    assert kept([service.clients[i] for i in range(1, 20)]) >= 0.99


class Told:
    """Fairness, its clock and the refusals, tick by tick, without a service."""

    def __init__(self, **settings: Any) -> None:
        self.fairness = Fairness(**settings)
        self.now = 0.0
        self.random = random.Random(7)

    def tick(
        self,
        rates: dict[int, float],
        *,
        contended: bool = True,
        must_wait: bool = True,
        drain_rps: float = 100.0,
        cost: int = 1,
        ticks: int = 1,
    ) -> dict[int, int]:
        """Offer each client's rate for `ticks`; return the refusals of each."""
        refused = dict.fromkeys(rates, 0)
        for _ in range(ticks):
            arrivals = [
                (self.now + TICK_SECONDS * (n + 0.5) / (rate * TICK_SECONDS), client)
                for client, rate in rates.items()
                for n in range(round(rate * TICK_SECONDS))
            ]
            for at, client in sorted(arrivals):
                draw = self.random.random()
                refused[client] += self.fairness.over_share(client, cost, at, draw, must_wait)
            self.now += TICK_SECONDS
            self.fairness.rates(self.now, drain_rps=drain_rps, contended=contended)
        return refused


def test_a_burst_of_ten_is_a_page_and_not_an_abuse_however_slow_the_service_is() -> None:
    told = Told()
    told.tick({1: 10.0}, drain_rps=2.0, ticks=20)
    burst = [told.fairness.over_share(2, 1, told.now, 0.999, True) for _ in range(30)]
    assert not any(burst[:10])
    assert any(burst[10:])


def test_a_stall_of_the_service_makes_no_abuser_of_anybody() -> None:
    told = Told()
    clients = dict.fromkeys(range(12), 10.0)
    told.tick(clients, drain_rps=120.0, contended=False, must_wait=False, ticks=50)
    assert sum(told.tick(clients, drain_rps=1.0, ticks=50).values()) == 0


@pytest.mark.parametrize(("cost", "heavy"), [(1, False), (40, True)])
def test_cost_counts_as_so_many_requests(cost: int, heavy: bool) -> None:
    told = Told()
    refused = told.tick({1: 10.0, 2: 10.0}, cost=cost, drain_rps=100.0, ticks=50)
    assert (refused[1] > 0) is heavy


def test_the_snapshot_shows_rates_and_counts_but_nobodys_number() -> None:
    told = Told()
    assert "fair_share_rps" not in told.fairness.snapshot()
    refused = told.tick({987654321: 500.0, **dict.fromkeys(range(5), 10.0)}, ticks=60)
    shown = told.fairness.snapshot()
    assert shown["clients"] == 6
    assert shown["heavy_clients"] == 1
    assert shown["refused"] == sum(refused.values()) > 0
    assert shown["light_rps"] == pytest.approx(50.0, rel=0.1)
    told.tick(dict.fromkeys(range(5), 10.0), cost=2, drain_rps=1000.0, ticks=100)
    assert told.fairness.snapshot()["light_rps"] == pytest.approx(100.0, rel=0.1)
    assert 0 < shown["fair_share_rps"] < 500.0
    assert 987654321 not in shown.values()


@pytest.mark.parametrize("pause_seconds", [0.0, 1.5])
def test_a_flood_of_invented_clients_evicts_no_abuser_and_costs_no_memory(
    pause_seconds: float,
) -> None:
    told = Told(most_clients=100)
    told.tick({-1: 1000.0, -2: 50.0}, ticks=60)
    tracemalloc.start()
    try:
        for invented in range(20_000):
            told.fairness.over_share(invented, 1, told.now, 0.5, True)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    told.now += pause_seconds
    told.fairness.rates(told.now, drain_rps=100.0, contended=True)
    assert told.fairness.over_share(-1, 1, told.now, 0.999, False)
    assert kept_bytes < 100_000
    assert told.fairness.snapshot()["clients"] <= 100


def test_when_slots_are_short_no_longer_fairness_rests_and_forgets() -> None:
    told = Told()
    told.tick({1: 500.0}, ticks=30)
    assert "fair_share_rps" in told.fairness.snapshot()
    calm = told.tick({1: 500.0}, contended=False, must_wait=False, ticks=100)
    assert calm[1] > 0
    assert "fair_share_rps" not in told.fairness.snapshot()
    assert told.tick({1: 500.0}, contended=False, must_wait=False, ticks=20)[1] == 0
    told.tick({}, contended=False, ticks=200)
    assert told.fairness.snapshot()["heavy_clients"] == 0


def test_a_shortage_that_only_strangers_made_limits_nobody_afterwards() -> None:
    told = Told()
    told.tick({}, contended=True, ticks=20)
    assert told.tick({1: 500.0}, contended=False, must_wait=False, ticks=20)[1] == 0


def test_who_was_seen_last_is_remembered() -> None:
    told = Told(most_clients=50)
    for idle in range(50):
        told.fairness.over_share(idle, 1, told.now, 0.5, False)
    invented = iter(range(1000, 5000))
    for _ in range(20):
        told.fairness.over_share(-1, 1, told.now, 0.5, False)
        for _ in range(40):
            told.fairness.over_share(next(invented), 1, told.now, 0.5, False)
    assert told.fairness.snapshot()["heavy_clients"] == 1


def test_heavy_clients_are_bounded_too() -> None:
    told = Told(most_clients=10)
    for client in range(50):
        for _ in range(20):
            told.fairness.over_share(client, 1, told.now, 0.5, False)
    assert told.fairness.snapshot()["heavy_clients"] == 10


@pytest.mark.parametrize("drain_rps", [0.0, -1.0, math.nan, math.inf])
def test_a_drain_rate_that_is_none_limits_nobody_to_nonsense(drain_rps: float) -> None:
    told = Told()
    told.tick({1: 50.0, 2: 500.0}, drain_rps=drain_rps, ticks=30)
    shown = told.fairness.snapshot()
    assert all(math.isfinite(value) for value in shown.values())


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("share", 0), ("share", 1.01), ("share", math.nan), ("share", "a"), ("most_clients", 0)],
)
def test_wrong_settings_are_refused_with_name_and_value(name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be ") as refused:
        Fairness(**{name: wrong})
    assert repr(wrong) in str(refused.value)


RATES = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=30)


@given(RATES, st.floats(0.001, 1e6))
def test_the_max_min_share_uses_the_capacity_to_the_unit_or_nobody_lacks(
    demands: list[float], capacity: float
) -> None:
    share = max_min_share(demands, capacity)
    if share == math.inf:
        assert sum(demands) <= capacity * (1 + 1e-9)
    else:
        assert sum(min(demand, share) for demand in demands) == pytest.approx(capacity)
        assert max(demands) >= share


@given(RATES, st.floats(-1e6, 0.0))
def test_without_capacity_there_is_no_share(demands: list[float], capacity: float) -> None:
    assert max_min_share(demands, capacity) <= 0


STEPS = st.lists(
    st.tuples(
        st.integers(0, 5),  # client
        st.integers(1, 1000),  # cost
        st.floats(-0.01, 3.0),  # seconds since the last request
        st.floats(0.0, 1.0, exclude_max=True),  # draw
        st.booleans(),  # must wait
        st.none() | st.tuples(st.floats(0.0, 1e6), st.booleans()),  # tick: drain, contended
    ),
    max_size=80,
)


def run(steps: list[Any], *, calm: bool = False) -> tuple[list[bool], dict[str, float]]:
    fairness, now, refusals = Fairness(most_clients=3), 0.0, []
    for client, cost, gap, draw, must_wait, tick in steps:
        now += gap
        refusals.append(fairness.over_share(client, cost, now, draw, must_wait))
        if tick is not None:
            fairness.rates(now, drain_rps=tick[0], contended=tick[1] and not calm)
    return refusals, fairness.snapshot()


@given(STEPS)
def test_s30_the_same_trace_gives_the_same_answers_and_finite_numbers(steps: list[Any]) -> None:
    refusals, shown = run(steps)
    assert (refusals, shown) == run(steps)
    assert all(math.isfinite(value) and value >= 0 for value in shown.values())
    assert shown["refused"] == sum(refusals)
    assert shown["clients"] <= 3


@given(STEPS)
def test_s30_nobody_is_refused_before_slots_are_short(steps: list[Any]) -> None:
    assert not any(run(steps, calm=True)[0])


@given(st.floats(200.0, 1000.0), st.floats(0.0, 1.0, exclude_max=True))
def test_s30_a_larger_draw_is_never_luckier(rate: float, draw: float) -> None:
    verdicts = []
    for one in sorted([draw, 0.5]):
        told = Told()
        told.tick({1: rate, 2: 20.0}, ticks=30)
        verdicts.append(told.fairness.over_share(1, 1, told.now, one, False))
    assume(draw != 0.5)
    assert verdicts == sorted(verdicts)
