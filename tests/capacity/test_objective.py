"""The rate that an objective allows: found, proved, bounded, or refused in words."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from launchday.capacity.load_levels import distinct_loads, folds_back, levels_of
from launchday.capacity.objective import find
from launchday.capacity.simulate import mmc, step
from launchday.capacity.steps import Batch, Objective, Step
from launchday.histogram import LogHistogram

OBJECTIVE = Objective(0.99, 0.5)
LOADS = (50, 100, 150, 200, 250, 300, 350, 400)


def measured(rps: float, seconds: float = 0.1, shed: float = 0.0, errors: float = 0.0) -> Step:
    """A step of a launchday record: 60 s, every request as long as the other."""
    count = round(rps)
    refused, failed = round(count * shed), round(count * errors)
    histogram = LogHistogram()
    histogram.record(seconds, count - refused - failed)
    batch = Batch(1.0, count, count - refused - failed, refused, failed, histogram)
    return replace(figures(rps, seconds, shed, errors), batches=(batch,) * 60, requests=60 * count)


def figures(rps: float, seconds: float = 0.1, shed: float = 0.0, errors: float = 0.0) -> Step:
    """A step of another tool: figures only."""
    return Step(
        f"step at {rps:g}",
        rps,
        rps * (1 - shed - errors),
        rps,
        rps * seconds,
        seconds / 2,
        seconds,
        shed_share=shed,
        error_share=errors,
    )


def test_latency_binds_where_it_is_missed_first() -> None:
    found = find([measured(rps, rps / 490) for rps in LOADS], OBJECTIVE)
    assert found.binding == "latency"
    assert found.crossing is not None
    assert found.crossing.value == pytest.approx(245, rel=0.02)
    assert found.proved is not None
    assert found.proved.value == 200
    assert found.proved_source == "step at 200"
    assert (found.tested_low_rps, found.tested_high_rps) == (50, 400)


@pytest.mark.parametrize("binding", ["shed", "errors"])
def test_what_is_refused_or_fails_binds_where_that_is_missed_first(binding: str) -> None:
    steps = [measured(rps) for rps in LOADS[:5]]
    steps += [measured(rps, **{binding: 0.2}) for rps in LOADS[5:]]
    found = find(steps, OBJECTIVE)
    assert found.binding == binding
    assert found.crossing is not None
    assert 250 <= found.crossing.value <= 251
    assert found.proved is not None
    assert found.proved.value == 250


def test_an_objective_that_is_never_met_is_refused_with_what_was_measured() -> None:
    found = find([measured(rps, 0.8) for rps in LOADS], OBJECTIVE)
    assert found.crossing is None
    assert found.proved is None
    assert found.refused is not None
    assert found.refused.startswith("never met: p99 is 8")
    assert "at 50.0 rps (at most 500 ms) already" in found.refused


def test_an_objective_that_is_always_met_gives_a_rate_that_is_at_least_so() -> None:
    found = find([measured(rps) for rps in LOADS], OBJECTIVE)
    assert found.crossing is None
    assert found.binding == ""
    assert found.proved is not None
    assert found.proved.value == 400
    assert found.refused is not None
    assert found.refused.startswith("always met:")
    assert found.refused.endswith("the capacity is at least 400.0 rps")


def test_fewer_than_six_distinct_loads_are_refused() -> None:
    found = find([measured(rps) for rps in (100, 101, 102, 200, 300, 400, 500)], OBJECTIVE)
    assert found.crossing is None
    assert found.refused is not None
    assert found.refused.startswith("5 distinct loads can be used")
    assert find([], OBJECTIVE).refused is not None


def test_too_few_requests_prove_nothing_and_it_says_how_many_it_takes() -> None:
    found = find([measured(rps) for rps in (5, 10, 15, 20, 25, 30)], OBJECTIVE)
    assert found.proved is None
    assert "the largest step has 1800 requests, it takes 2995 or more" in found.why_not_proved


def test_a_lower_step_that_surely_misses_caps_what_is_recommended() -> None:
    steps = [measured(rps, shed=0.5 if rps == 150 else 0.0) for rps in LOADS]
    found = find(steps, OBJECTIVE)
    assert found.proved is not None
    assert found.proved.value == 100


def test_held_out_and_unsteady_steps_are_not_used() -> None:
    steps = [measured(rps, rps / 500) for rps in LOADS]
    odd = replace(measured(120, 0.9), unsteady=("the backlog grows",))
    held = replace(measured(130, 0.9), held_out=True)
    assert find([*steps, odd, held], OBJECTIVE) == find(steps, OBJECTIVE)


def test_an_overloaded_step_says_where_the_edge_is_though_it_is_unsteady() -> None:
    steps = [measured(rps) for rps in LOADS]
    over = replace(measured(450, 5.0), unsteady=("the backlog grows",))
    found = find([*steps, over], OBJECTIVE)
    assert found.crossing is not None
    assert 400 < found.crossing.value < 450
    assert found.proved is not None
    assert found.proved.value == 400


def test_a_mean_objective_counts_errors_too() -> None:
    mean = Objective(None, 0.2)
    assert find([measured(rps, rps / 500) for rps in LOADS], mean).binding == "latency"
    assert find([measured(rps, errors=rps / 1000) for rps in LOADS], mean).binding == "errors"


def test_figures_of_another_tool_are_taken_at_their_word_and_that_is_said() -> None:
    found = find([figures(rps, rps / 500) for rps in LOADS], OBJECTIVE)
    assert found.crossing is not None
    assert found.crossing.value == pytest.approx(250)
    assert found.proved is not None
    assert found.proved.value == 250
    assert "without bounds" in found.proved.method


def test_a_closed_loop_beyond_its_peak_is_put_in_order_by_what_is_in_flight() -> None:
    rates = (100, 180, 240, 280, 300, 280, 240, 200)
    steps = [
        Step(f"{n}", rps, rps, rps, 10.0 * n, 0.1 * n, 0.1 * n)
        for n, rps in enumerate(rates, start=1)
    ]
    assert folds_back(steps)
    found = find(steps, Objective(0.99, 0.55))
    assert found.crossing is not None
    # 300 rps met it with five in flight: what is less with more in flight is no better answer.
    assert found.crossing.value == 300
    assert found.proved is not None
    assert found.proved.value == 300
    assert find(list(reversed(steps)), Objective(0.99, 0.55)) == found


def test_a_closed_loop_that_falls_is_never_recommended_more_than_it_sustains() -> None:
    """With 64 in flight 500 rps keep the objective, but so do 800 with 16."""
    rows = {1: 100, 2: 195, 4: 370, 8: 600, 16: 800, 32: 700, 64: 500, 128: 300}
    steps = [
        Step(f"{n}", float(x), float(x), float(x), float(n), n / x, 0.006 * n)
        for n, x in rows.items()
    ]
    found = find(steps, OBJECTIVE)
    assert found.crossing is not None
    assert found.proved is not None
    assert found.proved.value == found.crossing.value == 800


def test_a_shedder_does_not_fold_back() -> None:
    steps = [replace(measured(rps, shed=max(0.0, 1 - 200 / rps)), concurrency=20) for rps in LOADS]
    assert not folds_back(steps)


def test_steps_of_one_load_are_one_level_and_close_ones_one_distinct_load() -> None:
    levels = levels_of([figures(rps) for rps in (100, 101, 102.9, 110)])
    assert [level.rps for level in levels] == [100.5, 102.9, 110]
    assert distinct_loads(levels) == 2


def test_the_ladder_rises_with_its_rungs_and_names_what_is_never_or_always_met() -> None:
    found = find([measured(rps, rps / 500) for rps in LOADS], Objective(0.99, 0.4))
    assert [rung.seconds for rung in found.ladder] == [0.1, 0.25, 0.4, 0.5, 1.0]
    rates = [rung.rps.value for rung in found.ladder if rung.rps]
    assert rates == sorted(rates)
    assert "always met" in found.ladder[-1].words
    assert "never met" in found.ladder[0].words


def test_the_order_of_steps_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    steps = [step(mmc(20, 0.1), rps, 30, rng) for rps in (60, 100, 140, 160, 180, 190, 195)]
    found = find(steps, Objective(0.99, 0.6))
    assert find(steps[::-1], Objective(0.99, 0.6)) == found


def test_the_edge_of_an_mm20_is_found_and_its_interval_holds_it() -> None:
    rng = np.random.default_rng(2)
    loads = (40, 80, 120, 150, 170, 175, 180, 185, 190, 195, 200)
    found = find([step(mmc(20, 0.1), rps, 60, rng) for rps in loads], Objective(0.99, 0.6))
    assert found.crossing is not None
    assert found.crossing.value == pytest.approx(188.71, rel=0.05)
    assert (found.crossing.low or 0.0) <= 188.71 <= (found.crossing.high or math.inf)
    assert found.proved is not None
    assert found.proved.value <= 188.71
