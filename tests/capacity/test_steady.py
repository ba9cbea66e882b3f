"""What is no steady state is named in words; chance is not."""

from __future__ import annotations

import numpy as np
import pytest

from launchday.capacity.simulate import mmc, step
from launchday.capacity.steady import why_unsteady


def reasons(
    rates: list[float],
    *,
    offered: list[float] | None = None,
    in_flight: list[float] | None = None,
    concurrency: float = 10.0,
    mean_seconds: float = 0.1,
) -> tuple[str, ...]:
    return why_unsteady(
        rates,
        offered or rates,
        in_flight or [concurrency] * len(rates),
        concurrency,
        100.0,
        mean_seconds,
    )


def test_a_level_step_is_steady() -> None:
    assert reasons([100.0] * 60) == ()


def test_windows_that_differ_by_more_than_a_tenth_are_named_with_their_rates() -> None:
    (reason,) = reasons([100.0] * 40 + [130.0] * 20)
    assert "differ by 27%" in reason
    assert "100.0, 100.0, 130.0" in reason


def test_windows_of_few_requests_may_differ_by_chance() -> None:
    rng = np.random.default_rng(1)
    few = [float(value) for value in rng.poisson(1.0, 60)]
    assert reasons(few) == ()


def test_a_growing_backlog_is_named() -> None:
    (reason,) = reasons([100.0] * 60, in_flight=[10.0 + 2 * second for second in range(60)])
    assert "the backlog grows by 2.00 requests each second" in reason


def test_a_shrinking_backlog_is_none() -> None:
    assert reasons([100.0] * 60, in_flight=[200.0 - 2 * second for second in range(60)]) == ()


@pytest.mark.parametrize(("concurrency", "wrong"), [(10.4, False), (11.5, True), (8.5, True)])
def test_littles_law_must_hold_within_5_percent(concurrency: float, wrong: bool) -> None:
    found = reasons([100.0] * 600, concurrency=concurrency)
    assert bool(found) == wrong
    assert all("Little's law" in reason for reason in found)


def test_requests_that_never_finished_are_named() -> None:
    (reason,) = reasons([97.0] * 60, offered=[100.0] * 60)
    assert "only 5820 of 6000 intended requests finished: 97.0%" in reason


def test_the_few_that_are_open_at_the_end_did_not_fall_behind() -> None:
    assert reasons([1.0] * 60, offered=[1.0] * 55 + [2.0] * 5) == ()


def test_a_step_without_seconds_or_answers_is_not_steady() -> None:
    assert "fewer than three seconds" in reasons([100.0])[0]
    assert "nothing was finished" in reasons([0.0] * 30, offered=[0.0] * 30)[0]


@pytest.mark.parametrize(
    ("rate_rps", "most"), [(5, 1), (100, 1), (180, 1)], ids=["5 rps", "half busy", "90 % busy"]
)
def test_a_queue_below_its_limit_is_steady_in_nearly_every_run(rate_rps: float, most: int) -> None:
    rng = np.random.default_rng(3)
    steps = [step(mmc(20, 0.1), rate_rps, 60, rng) for _ in range(15)]
    assert sum(not one.steady for one in steps) <= most


def test_an_overloaded_queue_is_not_steady() -> None:
    rng = np.random.default_rng(4)
    steps = [step(mmc(20, 0.1), 215, 60, rng) for _ in range(5)]
    assert not any(one.steady for one in steps)
