"""What a refusal costs: found where the target refused enough, else nobody can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.capacity.refusal_cost import refusal_cost
from launchday.capacity.resources import CPU
from launchday.capacity.steps import Step

LOADS = (40.0, 80.0, 120.0, 160.0, 240.0, 320.0, 400.0)
CAPACITY = 200.0


def staircase(
    answer: float, refusal: float, loads: Sequence[float] = LOADS, noise: float = 0.0, seed: int = 1
) -> list[Step]:
    """Steps of a target with two cores, 2 % of one busy when idle, that refuses above capacity."""
    rng = np.random.default_rng(seed)
    steps = []
    for load in loads:
        answered = min(load, CAPACITY)
        busy = 0.02 + answer * answered + refusal * (load - answered)
        steps.append(
            Step(
                source=f"{load:g}",
                offered_rps=load,
                goodput_rps=answered,
                throughput_rps=answered,
                concurrency=1.0,
                mean_seconds=0.05,
                latency_seconds=0.1,
                shed_share=1 - answered / load,
                utilisation={CPU: busy / 2 * (1 + noise * rng.standard_normal())},
                units={CPU: 2.0},
            )
        )
    return steps


@given(answer=st.floats(1e-4, 4e-3), k=st.floats(0.0, 1.0))
def test_exact_counters_give_the_exact_cost(answer: float, k: float) -> None:
    found = refusal_cost(staircase(answer, k * answer))
    assert found is not None
    assert found.value == pytest.approx(k, abs=1e-6)
    assert found.n == len(LOADS)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    found = [refusal_cost(staircase(3e-3, 6e-4, noise=0.01, seed=seed)) for seed in range(200)]
    known = [each for each in found if each is not None]
    assert len(known) == 200
    held = sum((k.low or 0) <= 0.2 <= (k.high or 0) for k in known)
    assert held >= 0.9 * len(known)


@pytest.mark.parametrize(
    "loads", [LOADS[:4], LOADS[:5], (160.0, 320.0, 400.0), (100.0, 100.0, 100.0, 300.0, 300.0)]
)
def test_without_enough_of_both_nobody_can_tell(loads: tuple[float, ...]) -> None:
    assert refusal_cost(staircase(3e-3, 6e-4, loads)) is None


def test_without_the_cpu_or_with_too_much_noise_nobody_can_tell() -> None:
    blind = [replace(step, utilisation={}) for step in staircase(3e-3, 6e-4)]
    assert refusal_cost(blind) is None
    assert refusal_cost(staircase(3e-3, 6e-4, noise=0.5)) is None


def test_steps_that_are_held_out_do_not_count() -> None:
    steps = staircase(3e-3, 6e-4)
    odd = replace(steps[5], utilisation={CPU: 1.0}, held_out=True)
    found = refusal_cost([*steps[:5], odd, steps[6]])
    assert found is not None
    assert found.value == pytest.approx(0.2, abs=1e-6)
