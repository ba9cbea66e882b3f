"""Retry-After by booking: whoever obeys is admitted on return, simulated and by property."""

from __future__ import annotations

import functools
import math
import statistics
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.admission.pacing import ReturnPacer
from tests.admission.returns import CRITICAL, Clients, Load, Pacer, Told, play

SHEDDABLE = 3
# (seconds, multiple of the capacity): a flash crowd, and a surge that 30 s can just absorb.
FLASH = ((10.0, 0.5), (2.0, 7.0), (50.0, 0.5))
SURGE = ((10.0, 0.5), (5.0, 3.0), (50.0, 0.5))
COLD_SURGE = SURGE[1:]
LONG_SURGE = ((30.0, 3.0), (60.0, 0.5))

every_size = pytest.mark.parametrize("slots", [4, 20, 50])
absorbable = pytest.mark.parametrize(
    "stages", [FLASH, SURGE, COLD_SURGE], ids=["flash", "surge", "cold_surge"]
)


class Uniform:
    """Each second from `low` to `high` is equally likely; a constant when they are the same."""

    def __init__(self, low: int, high: int) -> None:
        self._seconds = range(low, high + 1)
        self._random = Random(1)

    def rates(self, now: float, *, drain_rps: float, offered_rps: float, overloaded: bool) -> None:
        """Learn nothing."""

    def draw(self, now: float, criticality: int, queued: int) -> int:
        """Return one of the seconds."""
        return self._random.choice(self._seconds)


def paced(seed: int = 1) -> ReturnPacer:
    return ReturnPacer(random=Random(seed))


@functools.cache
def ours(
    slots: int, stages: tuple[tuple[float, float], ...], clients: Clients = Clients.OBEY_ONCE
) -> Told:
    return play(Load(slots, stages, clients), paced())


def with_rates(
    capacity_rps: float, *, overloaded: bool = True, pacer: ReturnPacer | None = None
) -> ReturnPacer:
    """A pacer that has been told of this capacity for two seconds, until t = 2."""
    pacer = pacer or paced()
    for tick in range(21):
        pacer.rates(
            tick / 10,
            drain_rps=capacity_rps,
            offered_rps=3 * capacity_rps,
            overloaded=overloaded,
        )
    return pacer


@every_size
@absorbable
def test_s13_who_obeys_is_admitted_on_return(
    slots: int, stages: tuple[tuple[float, float], ...]
) -> None:
    told = ours(slots, stages)
    assert told.admitted_share >= (0.9 if slots == 4 else 0.96)
    assert told.peak_to_mean() <= 1.5


@absorbable
def test_s13_constant_and_narrow_answers_are_visibly_worse(
    stages: tuple[tuple[float, float], ...],
) -> None:
    peers: list[Pacer] = [Uniform(1, 1), Uniform(10, 10), Uniform(1, 5)]
    for peer in peers:
        theirs = play(Load(20, stages), peer).admitted_share
        assert theirs < 0.6 < ours(20, stages).admitted_share - 0.3


@pytest.mark.parametrize("slots", [4, 20])
def test_s13_a_surge_that_nothing_can_absorb_is_spread_and_wastes_no_capacity(slots: int) -> None:
    """30 s at 3 times the capacity: at most half can be admitted on return (see ReturnPacer)."""
    told = ours(slots, LONG_SURGE)
    load = Load(slots, LONG_SURGE)
    assert told.admitted_share > 0.42
    for narrow in (Uniform(1, 1), Uniform(10, 10), Uniform(1, 5)):
        assert play(load, narrow).admitted_share < 0.8 * told.admitted_share
    assert told.peak_to_mean() <= 2
    # Slots are busy to the last return: more could not have been admitted.
    assert told.admitted_between(1, 59) >= 0.95 * 58 * load.capacity_rps


@pytest.mark.parametrize("clients", Clients)
def test_s13_every_answer_is_whole_and_in_range(clients: Clients) -> None:
    seconds = {told for _, told in ours(20, LONG_SURGE, clients).refusals}
    assert seconds <= set(range(1, 31))
    assert all(type(told) is int for told in seconds)


def test_s13_answers_grow_with_the_backlog() -> None:
    pacer = with_rates(400)
    draws = [pacer.draw(2.05, CRITICAL, 0) for _ in range(600)]
    means = [statistics.fmean(draws[i : i + 100]) for i in range(0, 600, 100)]
    assert means == sorted(means)
    assert means[0] < 0.25 * means[-1]


def test_answers_grow_with_the_queue() -> None:
    queues = (0, 99, 500, 1000, 2000, 10**9)
    answers = [with_rates(100).draw(2.05, CRITICAL, queued) for queued in queues]
    assert answers == [1, 1, 6, 11, 21, 30]


def test_clients_who_obey_for_ever_drain_without_a_herd() -> None:
    """45 seconds' worth wait after the surge: with half the capacity spare, 90 s at best."""
    load = Load(20, ((30.0, 3.0), (140.0, 0.5)), Clients.OBEY)
    told, tens = play(load, paced()), play(load, Uniform(10, 10))
    late = Counter(int(at) for at, _ in told.returns if at >= 30)
    # All of them within 30 s is 2 times the capacity, and cannot be less.
    assert max(late.values()) <= 2.5 * load.capacity_rps
    assert told.admitted_between(31, 131) >= 0.93 * 100 * load.capacity_rps
    assert sum(count for second, count in late.items() if second >= 169) == 0
    assert len(told.refusals) < 0.5 * len(tens.refusals)


@pytest.mark.parametrize("slots", [4, 20])
def test_s14_clients_who_retry_at_once_do_no_harm(slots: int) -> None:
    load = Load(slots, ((30.0, 1.5), (31.0, 0.5)), Clients.IGNORE)
    pacer = paced()
    told = play(load, pacer)
    assert told.admitted_between(1, 30) >= 0.95 * 29 * load.capacity_rps
    after = [admitted for at, admitted in told.fresh if at >= 33]
    assert sum(after) >= 0.97 * len(after)
    # Promises that nobody keeps are forgotten: the next refusal is told little.
    assert max(told.told(5, 30)) == 30
    assert pacer.draw(load.ends_at, CRITICAL, 0) <= 2
    assert pacer.booked <= 0.1 * load.capacity_rps


def test_a_lone_refusal_is_told_a_second() -> None:
    assert paced().draw(0.0, CRITICAL, 0) <= 2
    for capacity in (80, 400, 1000):
        assert with_rates(capacity).draw(2.05, CRITICAL, 0) == 1


def test_a_little_overload_is_told_little() -> None:
    told = play(Load(20, ((30.0, 0.9),)), paced())
    assert told.refusals
    assert statistics.fmean(seconds for _, seconds in told.refusals) <= 2


@pytest.mark.parametrize("moments", [1, 8, 10_000])
@pytest.mark.parametrize("capacity", [0, 2, 80, 1000])
def test_a_flood_in_one_second_is_spread_over_the_whole_range(capacity: int, moments: int) -> None:
    pacer = with_rates(capacity)
    returns = Counter(
        pacer.draw(2 + i * moments // 100_000 / moments, i % 4, 0) for i in range(100_000)
    )
    assert sorted(returns) == list(range(1, 31))
    assert max(returns.values()) <= 1.25 * 100_000 / 30
    assert pacer.booked == 100_000


def test_before_anything_is_measured_a_flood_is_spread_too() -> None:
    pacer = paced()
    returns = Counter(pacer.draw(0.0, SHEDDABLE, 0) for _ in range(3000))
    assert sorted(returns) == list(range(1, 31))
    assert max(returns.values()) <= 1.5 * 100


@pytest.mark.parametrize("capacity", [3.0, 10.0, 37.0, 400.0])
def test_returns_come_at_the_spare_rate_however_low(capacity: float) -> None:
    """What is booked up to 20 s ahead is what the spare rate can serve by then."""
    pacer = with_rates(capacity)
    spare = pacer.spare_rps
    dues = [2 + i / 400 + pacer.draw(2 + i / 400, CRITICAL, 0) for i in range(int(30 * spare))]
    for ahead in (10, 20):
        due = sum(at < 3 + ahead for at in dues)
        assert 0.8 * spare * ahead - 5 <= due <= 1.3 * spare * ahead + 5


def test_lower_classes_return_later_and_leave_room_for_the_critical() -> None:
    def mean(criticality: int) -> float:
        pacer = with_rates(400)
        return statistics.fmean(pacer.draw(2 + i / 400, criticality, 0) for i in range(400))

    plus, critical, sheddable_plus, sheddable = map(mean, range(4))
    assert plus == critical
    assert 1.2 * critical < sheddable_plus < sheddable
    assert 1.5 * critical < sheddable < 2.5 * critical
    pacer = with_rates(400)
    for i in range(800):
        pacer.draw(2 + i / 800, SHEDDABLE, 0)
    assert pacer.draw(2.99, CRITICAL, 0) == 1 < pacer.draw(2.99, SHEDDABLE, 0)


def test_more_ordinary_load_leaves_less_room_for_returns() -> None:
    def spare(ordinary_rps: float) -> float:
        pacer = paced()
        for tick in range(600):
            pacer.rates(
                tick / 10, drain_rps=ordinary_rps, offered_rps=ordinary_rps, overloaded=False
            )
        for tick in range(600, 640):
            pacer.rates(tick / 10, drain_rps=100, offered_rps=300, overloaded=True)
        return pacer.spare_rps

    assert spare(20) == spare(50) == pytest.approx(40, abs=1)
    assert spare(75) == pytest.approx(15, abs=1)
    assert spare(99) == pytest.approx(10, abs=1)


def test_returns_are_not_taken_for_ordinary_load() -> None:
    pacer = with_rates(100)
    for i in range(1200):
        pacer.draw(2 + i / 1200, CRITICAL, 0)
    for tick in range(30, 300):
        due = pacer.booked
        pacer.rates(tick / 10, drain_rps=85, offered_rps=45 + 40 * (due > 0), overloaded=False)
    assert pacer.snapshot()["ordinary_rps"] == pytest.approx(45, abs=5)


def test_a_stall_tells_more_and_recovery_tells_little_again() -> None:
    pacer = with_rates(400)
    before = [pacer.draw(2.05, CRITICAL, 0) for _ in range(40)]
    for tick in range(21, 300):
        pacer.rates(tick / 10, drain_rps=0, offered_rps=400, overloaded=True)
    stalled = [pacer.draw(29.95, CRITICAL, 0) for _ in range(40)]
    for tick in range(300, 700):
        drain = 400 if tick < 400 else 200
        pacer.rates(tick / 10, drain_rps=drain, offered_rps=drain, overloaded=tick < 400)
    recovered = [pacer.draw(69.95, CRITICAL, 0) for _ in range(40)]
    assert statistics.fmean(stalled) > 3 * statistics.fmean(before)
    assert statistics.fmean(recovered) < 1.5 * statistics.fmean(before) + 1


@pytest.mark.parametrize(("low", "high"), [(1, 1), (5, 5), (3, 10), (2, 300)])
def test_the_range_is_kept(low: int, high: int) -> None:
    pacer = with_rates(40, pacer=ReturnPacer(minimum_seconds=low, maximum_seconds=high))
    draws = {pacer.draw(2 + i / 20_000, i % 4, i % 99) for i in range(20_000)}
    assert draws == set(range(low, high + 1))


rates = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([0.0, -0.0, 1e-300, 1e308])
)
steps = st.tuples(
    st.one_of(st.floats(-1e6, 1e6), st.floats(-2, 2), st.just(0.0)),
    rates,
    rates,
    st.booleans(),
    st.integers(0, 40),
    st.integers(0, 10**12),
)


@given(st.integers(), st.lists(steps, max_size=30))
@settings(deadline=None)
def test_s30_any_rates_and_a_jumping_clock_keep_the_range_and_repeat(
    seed: int, trace: list[tuple[float, float, float, bool, int, int]]
) -> None:
    def replay() -> list[int]:
        pacer = paced(seed)
        now, draws = 1e5, []
        for step, drain, offered, overloaded, count, queued in trace:
            now += step
            pacer.rates(now, drain_rps=drain, offered_rps=offered, overloaded=overloaded)
            draws += [pacer.draw(now, i % 4, queued) for i in range(count)]
            assert all(math.isfinite(value) for value in pacer.snapshot().values())
            assert pacer.booked >= 0
        return draws

    draws = replay()
    assert all(type(draw) is int and 1 <= draw <= 30 for draw in draws)
    assert draws == replay()


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 60)), max_size=30))
@settings(deadline=None)
def test_booked_is_what_was_promised_and_is_not_due_yet(trace: list[tuple[float, int]]) -> None:
    pacer = paced()
    now, dues = 50.0, list[int]()
    for step, count in trace:
        now += step
        pacer.rates(now, drain_rps=80, offered_rps=200, overloaded=True)
        assert pacer.booked == sum(due > int(8 * now) for due in dues)
        dues += [int(8 * now) + 8 * pacer.draw(now, i % 4, 0) for i in range(count)]
        assert pacer.booked == sum(due > int(8 * now) for due in dues)


def test_a_time_taken_before_a_wait_changes_nothing_that_was_booked() -> None:
    pacer = with_rates(400)
    for i in range(400):
        pacer.draw(10 + i / 800, CRITICAL, 0)
    late = [pacer.draw(9.8, CRITICAL, 0) for _ in range(50)]
    assert pacer.booked == 450
    assert all(9.8 + told > 10 for told in late)


def test_a_clock_that_jumps_back_forgets_what_was_booked() -> None:
    pacer = with_rates(400)
    for _ in range(1000):
        pacer.draw(1000.0, CRITICAL, 0)
    assert pacer.draw(5.0, CRITICAL, 0) == 1
    assert pacer.booked == 1


def test_workers_with_other_seeds_round_their_rooms_differently() -> None:
    def draws(seed: int) -> list[int]:
        pacer = with_rates(9, pacer=paced(seed))
        return [pacer.draw(2 + i / 10, CRITICAL, 0) for i in range(20)]

    assert len({tuple(draws(seed)) for seed in range(8)}) > 4


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0, 5, "minimum_seconds must be an integer from 1 to 300, not 0"),
        (3, 2, "maximum_seconds must be an integer from 3 to 300, not 2"),
        (1, 301, "not 301"),
        (1.5, 5, "not 1.5"),
        (math.nan, 5, "not nan"),
        (True, 5, "not True"),
    ],
)
def test_a_wrong_range_is_refused(low: Any, high: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ReturnPacer(minimum_seconds=low, maximum_seconds=high)
