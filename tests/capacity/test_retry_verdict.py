"""The retry verdict: goldens of the reference, and simulators that know no formula."""

from __future__ import annotations

import itertools
import math
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.capacity.retry_verdict import POLICIES, verdict, verdicts, vulnerability
from launchday.errors import SettingsError

RATES = (0.15, 0.3, 0.5, 0.7, 0.85)
CELLS = tuple(itertools.product(RATES, (1, 3, 4, 5), (0.1, 0.3, 0.5)))


def sheds_for_good(rho: float, attempts: int, ratio: float, seed: int) -> bool:
    """Whether a shedding target of 2,000 units a step is held down after a surge of six times.

    Each step serves what its capacity allows after paying `ratio` for each it refuses; where even
    refusing is too much, nobody is answered. Those who were not answered ask again one to three
    steps later, until they have asked `attempts` times. Arrivals are Poisson, who is answered is
    drawn. Stuck: long after the surge, a tenth of the attempts or more are still not answered.
    """
    rng, capacity, surge, steps = np.random.default_rng(seed), 2000, 60, 800
    due = np.zeros((steps + 4, attempts), dtype=np.int64)
    sent = answered = 0
    for step in range(steps):
        times = 6.0 if step < surge else 1.0
        due[step, 0] += rng.poisson(rho * capacity * times)
        asking = int(due[step].sum())
        room = asking if asking <= capacity else (capacity - ratio * asking) / (1 - ratio)
        share = max(room, 0.0) / asking if asking else 1.0
        done = rng.binomial(due[step], min(share, 1.0))
        again = due[step] - done
        for attempt in range(attempts - 1):
            later = rng.multinomial(again[attempt], (1 / 3, 1 / 3, 1 / 3))
            due[step + 1 : step + 4, attempt + 1] += later
        if step >= steps - 200:
            sent, answered = sent + asking, answered + int(done.sum())
    return answered < 0.9 * sent


def queues_for_good(rho: float, attempts: int) -> bool:
    """Whether a first-in-first-out queue keeps growing after a surge of six times for 60 steps.

    100 units a step; who waited longer than 10 steps is worked on in vain, and asked again when
    patience ended, up to `attempts` times.
    """
    capacity, patience, steps, waiting = 100.0, 10, 1600, 0.0
    queue: deque[tuple[int, int, float]] = deque()
    lengths = []
    again: dict[int, list[tuple[int, float]]] = {}
    for step in range(steps):
        asking = [(1, rho * capacity * (6 if step < 60 else 1)), *again.pop(step, [])]
        for attempt, count in asking:
            queue.append((step, attempt, count))
            waiting += count
        room = capacity
        while queue and room > 0:
            since, attempt, count = queue.popleft()
            taken = min(room, count)
            room, waiting = room - taken, waiting - taken
            if taken < count:
                queue.appendleft((since, attempt, count - taken))
        for since, attempt, count in reversed(queue):  # still waiting as patience ends
            if step - since == patience and attempt < attempts:
                again.setdefault(step + 1, []).append((attempt + 1, count))
            if step - since > patience:
                break
        lengths.append(waiting)
    return lengths[-1] > lengths[steps // 2] + 1


def test_v_above_one_is_stuck_in_a_simulated_shedder() -> None:
    assert len(CELLS) == 60
    wrong = [
        cell
        for cell in CELLS
        if sheds_for_good(*cell, seed=11) != verdict("full_jitter", cell[1], cell[0], cell[2]).stuck
    ]
    stuck = sum(verdict("full_jitter", a, rho, k).stuck for rho, a, k in CELLS)
    assert 10 <= stuck <= 50  # both answers are there to be got wrong
    assert len(wrong) <= 3, wrong


def test_a_first_in_first_out_queue_is_stuck_where_rate_times_attempts_is_above_one() -> None:
    cells = list(itertools.product(RATES, (1, 2, 3, 4, 5)))
    wrong = [
        (rho, attempts)
        for rho, attempts in cells
        if queues_for_good(rho, attempts)
        != verdict("immediate", attempts, rho, None, shedding=False).stuck
    ]
    assert len(wrong) <= 1, wrong


@pytest.mark.parametrize("attempts", [1, 2, 4, 5])
@pytest.mark.parametrize("rho", RATES)
def test_without_shedding_v_is_rate_times_attempts(rho: float, attempts: int) -> None:
    found = verdict("immediate", attempts, rho, shedding=False)
    assert found.vulnerability == pytest.approx(rho * attempts, rel=1e-12)
    assert found.stuck == (rho * attempts > 1 + 1e-12)


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.2])
def test_a_target_that_refuses_cheaply_recovers(ratio: float) -> None:
    assert not verdict("immediate", 5, 0.7, ratio).stuck


@pytest.mark.parametrize("ratio", [0.3, 0.35, 0.5])
def test_a_target_that_refuses_dearly_is_stuck(ratio: float) -> None:
    assert verdict("immediate", 5, 0.7, ratio).stuck


def test_where_slots_give_out_refusals_may_take_the_cpu_that_is_left() -> None:
    assert verdict("immediate", 5, 0.7, 0.35).stuck
    spare = verdict("immediate", 5, 0.7, 0.35, cpu_share=0.4)
    assert not spare.stuck
    assert spare.vulnerability == pytest.approx(0.7)  # the slots themselves
    dear = verdict("immediate", 5, 0.7, 2.0, cpu_share=0.4)
    assert dear.stuck  # even that CPU is used up


def test_a_sentence_says_where_the_cost_of_a_refusal_comes_from() -> None:
    assert "Assumed" in verdict("none", 1, 0.5).sentence
    assert "Given: a refusal costs 20.0%" in verdict("none", 1, 0.5, 0.2).sentence
    spare = verdict("none", 1, 0.5, 0.2, cpu_share=0.4).sentence
    assert "of an answer's CPU; at its capacity the target uses 40%" in spare


def test_at_35_percent_only_a_budget_or_no_retries_recover() -> None:
    """The last column of the reference's table of policies (3.4)."""
    stuck = {found.policy: found.stuck for found in verdicts(0.7, 0.35)}
    assert stuck == {policy: policy not in ("none", "budget") for policy in POLICIES}


def test_a_first_in_first_out_queue_recovers_only_without_retries_or_with_a_budget() -> None:
    stuck = {found.policy: found.stuck for found in verdicts(0.7, shedding=False)}
    assert stuck == {policy: policy not in ("none", "budget") for policy in POLICIES}
    budget = verdict("budget", 5, 0.7, shedding=False)
    assert budget.vulnerability == pytest.approx(0.77)


def test_a_free_refusal_never_holds_the_target_down() -> None:
    assert vulnerability("immediate", 5, 0.85, 0.0) == pytest.approx(0.85)


def test_the_maximum_is_found_between_the_ends() -> None:
    """By hand: a grid of a million points."""
    p = np.linspace(1e-6, 1, 1_000_001)
    sent = (1 - (1 - p) ** 5) / p
    by_hand = float(np.max(0.7 * sent * (p + 0.25 * (1 - p))))
    assert vulnerability("immediate", 5, 0.7, 0.25) == pytest.approx(by_hand, rel=1e-9)
    assert by_hand > 0.7 * max(1, 5 * 0.25)


def test_exactly_one_is_not_stuck() -> None:
    found = verdict("immediate", 5, 0.2, shedding=False)
    assert found.vulnerability == pytest.approx(1, rel=1e-12)
    assert not found.stuck


def test_the_largest_surge_that_may_last_has_a_v_of_one() -> None:
    found = verdict("immediate", 5, 0.5, 0.2)
    assert found.largest_recoverable_surge is not None
    at_surge = verdict("immediate", 5, 0.5 * found.largest_recoverable_surge, 0.2)
    assert at_surge.vulnerability == pytest.approx(1)
    assert verdict("immediate", 5, 0.5, 0.9).largest_recoverable_surge is None


@given(
    st.sampled_from(sorted(POLICIES)),
    st.integers(1, 20),
    st.floats(0.01, 1.5),
    st.floats(0, 2),
    st.floats(1, 2),
)
def test_more_load_dearer_refusals_and_more_attempts_are_never_safer(
    policy: str, attempts: int, rho: float, ratio: float, times: float
) -> None:
    base = vulnerability(policy, attempts, rho, ratio) * (1 - 1e-9)
    assert base >= rho * (1 - 1e-6)
    assert vulnerability(policy, attempts, rho * times, ratio) >= base
    assert vulnerability(policy, attempts, rho, ratio * times) >= base
    assert vulnerability(policy, attempts + 1, rho, ratio) >= base


@given(st.integers(1, 20), st.floats(0.01, 1.5), st.floats(0, 2))
def test_a_budget_and_no_retries_are_never_worse_than_retries(
    attempts: int, rho: float, ratio: float
) -> None:
    none, budget, retries = (
        vulnerability(policy, attempts if policy != "none" else 1, rho, ratio)
        for policy in ("none", "budget", "exponential")
    )
    assert none <= budget * (1 + 1e-9) <= retries * (1 + 2e-9)


def test_the_sentence_says_what_to_do_and_what_was_assumed() -> None:
    stuck = verdict("immediate", 5, 0.7, 0.3).sentence
    assert "can hold the target down" in stuck
    assert "cut to 94%" in stuck
    assert "Given: a refusal costs 30.0%" in stuck
    safe = verdict("full_jitter", 5, 0.7).sentence
    assert "cannot hold the target down" in safe
    assert "Assumed, not measured: a refusal costs 20%" in safe
    assert "If it refuses nobody, V is 3.50." in safe
    assert "refuses nobody" not in verdict("full_jitter", 5, 0.7, 0.2).sentence
    assert "refuses nobody" not in verdict("none", 5, 0.7).sentence
    assert "before anybody retries" in verdict("none", 5, 1.2).sentence
    assert "whole answer" in verdict("retry_after", 5, 0.7, shedding=False).sentence


def test_clients_that_never_retry_send_once() -> None:
    found = verdict("none", 5, 0.7, 0.9)
    assert (found.attempts, found.ratio) == (1, 0.9)
    assert found.vulnerability == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("policy", "attempts", "rho", "ratio", "why"),
    [
        ("sometimes", 5, 0.7, 0.2, "must be one of none, immediate"),
        ("none", 0, 0.7, 0.2, "attempts is 0"),
        ("none", 101, 0.7, 0.2, "attempts is 101"),
        ("none", 5, 0.0, 0.2, "utilisation is 0"),
        ("none", 5, math.nan, 0.2, "utilisation is nan"),
        ("none", 5, math.inf, 0.2, "utilisation is inf"),
        ("none", 5, 0.7, -0.1, "cost of a refusal is -0.1"),
        ("none", 5, 0.7, math.nan, "cost of a refusal is nan"),
    ],
)
def test_impossible_numbers_are_refused_by_name(
    policy: str, attempts: int, rho: float, ratio: float, why: str
) -> None:
    with pytest.raises(SettingsError, match=why):
        verdict(policy, attempts, rho, ratio)


def test_the_share_of_the_cpu_is_told_where_the_verdict_rests_on_it() -> None:
    """V cannot be had again from the load and the cost of a refusal alone."""
    found = verdict("immediate", 5, 0.7, 0.35, cpu_share=0.4)
    assert found.cpu_share == 0.4
    assert "at its capacity the target uses 40% of its CPU." in found.sentence
    full = verdict("immediate", 5, 0.7, 0.35)
    assert full.cpu_share == 1.0
    assert full.sentence.endswith("35.0% of an answer's CPU.")
    assert verdict("immediate", 5, 0.7, 0.35, shedding=False, cpu_share=0.4).cpu_share == 1.0
