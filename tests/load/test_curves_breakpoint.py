"""The steps with which a capacity is measured: how high, in which order, how often."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from launchday.load.curves import CURVES, RateCurve

SMALL: dict[str, Any] = {"from_rps": 10, "to_rps": 80, "steps": 4}


def made(**changes: Any) -> RateCurve:
    return CURVES["breakpoint"].curve({**SMALL, **changes})


def held(curve: RateCurve, *kinds: str) -> list[tuple[str, float]]:
    """The phases of these kinds in the order in which they come, and their rates."""
    found = []
    for phase in curve.phases:
        if phase.name.partition("_")[0] in kinds:
            arrivals = curve.cumulative(phase.end_seconds) - curve.cumulative(phase.start_seconds)
            length = phase.end_seconds - phase.start_seconds
            found.append((phase.name, round(arrivals / length, 6)))
    return found


def steps(curve: RateCurve) -> list[tuple[str, float]]:
    return held(curve, "step", "peak")


def rates(curve: RateCurve) -> list[float]:
    return [rate for _, rate in steps(curve)]


def test_steps_go_up_by_equal_factors_or_by_equal_distances() -> None:
    names = ["step_1", "step_2", "step_3", "peak"]
    assert steps(made()) == list(zip(names, [10, 20, 40, 80], strict=True))
    equal = made(to_rps=40, spacing="equal")
    assert steps(equal) == list(zip(names, [10, 20, 30, 40], strict=True))


def test_as_it_is_recommended_there_are_eight_steps_and_it_lasts_three_to_four_minutes() -> None:
    curve = CURVES["breakpoint"].curve()
    factors = [high / low for low, high in pairwise(rates(curve))]
    assert len(factors) + 1 >= 8
    assert factors == pytest.approx([factors[0]] * len(factors))
    assert 180 <= curve.duration_seconds <= 240


def test_up_and_down_comes_back_by_the_same_steps() -> None:
    curve = made(order="up_and_down")
    assert rates(curve) == [10, 20, 40, 80, 40, 20, 10]
    assert [name for name, _ in steps(curve)].index("peak") == 3


def test_a_random_order_is_that_of_its_seed_and_begins_with_the_lowest() -> None:
    orders = {seed: rates(made(order="random", order_seed=seed, steps=9)) for seed in range(8)}
    assert orders[3] == rates(made(order="random", order_seed=3, steps=9))
    assert len({tuple(order) for order in orders.values()}) == 8
    for order in orders.values():
        assert sorted(order) == rates(made(steps=9))
        assert order[0] == 10
    assert dict(steps(made(order="random")))["peak"] == 80


@pytest.mark.parametrize("order", ["up", "random", "up_and_down"])
def test_replicates_near_the_edge_are_apart_and_come_after_a_rest(order: str) -> None:
    curve = made(order=order, edge_rps=60, replicates=3)
    assert held(curve, "edge") == [("edge_1", 60), ("edge_2", 60), ("edge_3", 60)]
    assert [rate for _, rate in held(curve, "rest")] == [10, 10, 10]
    names = [phase.name for phase in curve.phases]
    for name in ("edge_1", "edge_2", "edge_3"):
        before = names[: names.index(name)]
        assert before[-2].startswith("rest_")
    assert len(rates(curve)) == (7 if order == "up_and_down" else 4)


def test_the_edge_may_be_one_of_the_steps() -> None:
    curve = made(edge_rps=80, replicates=2)
    assert [name for name, rate in held(curve, "peak", "edge")] == ["peak", "edge_1", "edge_2"]


def test_a_ramp_lasts_as_long_as_the_steps_and_holds_the_highest_rate() -> None:
    curve = made(form="ramp", step_seconds=20)
    assert [(p.name, p.start_seconds, p.end_seconds) for p in curve.phases] == [
        ("ramp", 0, 80),
        ("peak", 80, 100),
    ]
    assert (curve.rate(0), curve.rate(40), curve.rate(90)) == (10, 45, 80)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"order": "down"}, "order must be one of up, random, up_and_down, got 'down'"),
        ({"order": 1}, "order must be one of up, random, up_and_down, got 1"),
        ({"to_rps": 10}, "to_rps must be above from_rps .10., got 10"),
        ({"edge_rps": 9}, "edge_rps must be between from_rps and to_rps .10 and 80., got 9"),
        ({"edge_rps": 81}, "edge_rps must be between"),
        ({"form": "ramp", "order": "random"}, "form must be steps with another order than up"),
        ({"form": "ramp", "edge_rps": 20}, "form must be steps with .* edge_rps"),
        ({"steps": 1}, "steps must be between 2 and 100, got 1"),
        ({"replicates": 0}, "replicates must be between 1 and 100, got 0"),
    ],
)
def test_what_makes_no_staircase_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        made(**values)
