"""Who comes and what the options may be: pure functions, no Locust."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from _backend import Backend
from _connected_car import ConnectedCar
from _journeys import JOURNEYS
from _scenario import Mix, Scenario, parse_shares, plan_of
from hypothesis import given
from hypothesis import strategies as st

from launchday.load.arrivals import random_for, schedule
from launchday.load.curves import CURVES, Phase, RateCurve

SURGE = RateCurve(
    points=((0, 10), (50, 10), (50, 100), (100, 100)),
    phases=(Phase("quiet", 0, 50), Phase("peak", 50, 75), Phase("peak_2", 75, 100)),
)
MIX = Mix(
    SURGE,
    shares={"look": 1},
    in_phase={"peak": {"reserve": 3, "unlock": 1}},
    all_the_time={"poll": 20.0, "telemetry": 5.0},
)


def played(mix: Mix, seed: int) -> list[tuple[float, str]]:
    return [
        (arrival.due_seconds, mix.journey(arrival.due_seconds, random_for(seed, arrival)))
        for arrival in schedule(mix.whole, seed=seed)
    ]


def test_who_comes_all_the_time_comes_no_more_often_in_the_surge() -> None:
    counts = {
        quiet: Counter(name for due, name in played(MIX, seed=3) if (due < 50) is quiet)
        for quiet in (True, False)
    }
    for part in counts.values():  # 50 s each; the bounds are six standard deviations wide
        assert abs(part["poll"] - 1000) < 6 * 1000**0.5
        assert abs(part["telemetry"] - 250) < 6 * 250**0.5
    assert abs(counts[True]["look"] - 500) < 6 * 500**0.5
    assert abs(counts[False]["reserve"] - 3750) < 6 * 3750**0.5
    assert counts[False]["look"] == counts[True]["reserve"] == 0, "each phase has its own shares"


def test_the_shares_of_a_phase_are_also_those_of_its_repetitions() -> None:
    late = {name for due, name in played(MIX, seed=4) if due >= 75}
    assert late == {"reserve", "unlock", "poll", "telemetry"}


@given(seed=st.integers(0, 2**31), due_seconds=st.floats(0, 100))
def test_the_journey_is_a_function_of_the_time_and_the_randomness_of_the_arrival(
    seed: int, due_seconds: float
) -> None:
    journey = MIX.journey(due_seconds, Random(seed))
    assert journey == MIX.journey(due_seconds, Random(seed))
    assert journey in MIX.journeys


def test_the_whole_curve_is_the_surge_and_what_comes_all_the_time() -> None:
    assert MIX.whole.total == pytest.approx(SURGE.total + 25 * 100)
    assert MIX.whole.phases == SURGE.phases
    assert Mix(SURGE, shares={"look": 1}).whole == SURGE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be like look=3,unlock=1"),
        ("look", "must be like look=3,unlock=1"),
        ("look=much", "must be like look=3,unlock=1"),
        ("lok=3", "no journey 'lok', there are: look"),
        ("look=-1,unlock=2", "weights must be at least 0"),
        ("look=nan", "weights must be at least 0"),
        ("look=inf", "weights must be at least 0"),
        ("look=0,unlock=0", "one above 0"),
    ],
)
def test_shares_that_make_no_sense_are_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        parse_shares("--shares", text)
    assert repr(text) in str(refused.value)


def options(**changes: object) -> Namespace:
    given = {
        **{each.name: each.default for each in CURVES["launch_day"].parameters},
        "shares": "look=1,reserve=2", "pollers": 30, "reporting_cars": 60, "retry_policy": "none",
        "retry_budget": 0.0, "pull_share": 0.0, "restart_share": 0.0, "patience_seconds": 5.0,
        "backend": "", "region": "us", "fleet_seed": 1, "fleet_size": 10,
    }  # fmt: skip
    return Namespace(**{**given, **changes})


SCENARIO = Scenario(curve="launch_day", shares={"look": 1})


def test_the_plan_holds_what_the_options_say() -> None:
    plan = plan_of(SCENARIO, options(baseline_rps=50.0, retry_budget=0.1))
    assert plan.mix.curve.rate(0) == 50
    assert plan.mix.all_the_time == {"poll": 1.0, "telemetry": 1.0}
    assert isinstance(plan.backend, ConnectedCar)
    assert plan.budget is not None


@pytest.mark.parametrize(("order_seed", "seed", "same"), [(0, "7", 7), (3, "7", 3), (0, None, 0)])
def test_the_order_of_a_breakpoint_follows_from_the_seed_of_the_run(
    order_seed: int, seed: str | None, same: int
) -> None:
    definition = CURVES["breakpoint"]
    given: dict[str, object] = {each.name: each.default for each in definition.parameters}
    given["order"] = "random"
    chosen = Namespace(**{**given, "order_seed": order_seed, "seed": seed})
    scenario = Scenario(curve="breakpoint", shares={"look": 1}, seeded="order_seed")
    assert scenario.curve_of(chosen) == definition.curve({**given, "order_seed": same})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pull_share": 1.5}, "--pull-share is 1.5; it must be between 0 and 1"),
        ({"restart_share": -0.1}, "--restart-share is -0.1"),
        ({"pull_share": 0.6, "restart_share": 0.6}, "at most 1 together"),
        ({"retry_budget": float("nan")}, "--retry-budget is nan"),
        ({"patience_seconds": -1.0}, "--patience-seconds is -1"),
        ({"pollers": -1}, "--pollers is -1"),
        ({"reporting_cars": -1}, "--reporting-cars is -1"),
        ({"retry_policy": "often"}, "'often'; it must be one of: none, immediate, exponential"),
        ({"region": "de"}, "--region is 'de'; it must be one of: us, eu, cn"),
        ({"baseline_rps": -3.0}, "baseline_rps must be above 0, got -3"),
        ({"shares": "fly=1"}, "no journey 'fly'"),
        ({"backend": "shop"}, "must be FILE.py:CLASS"),
        ({"backend": "_no_such_file.py:Shop"}, "must be FILE.py:CLASS"),
        ({"backend": "_connected_car.py:Shop"}, "_connected_car.py has no Backend 'Shop'"),
        ({"backend": "_connected_car.py:Request"}, "has no Backend 'Request'"),
    ],
)
def test_an_option_that_is_not_allowed_is_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the words are compared below
        plan_of(SCENARIO, options(**changes))
    assert words in str(refused.value)


def test_a_backend_that_lacks_what_a_journey_needs_is_refused_before_there_is_load(
    tmp_path: Path,
) -> None:
    shop = tmp_path / "half_a_shop.py"
    shop.write_text(
        "from _backend import Backend, Request\n\n\nclass Shop(Backend):\n"
        "    def state(self, account):\n        return Request('GET', '/', 'look')\n"
    )
    only_look = {"backend": f"{shop}:Shop", "shares": "look=1", "pollers": 0, "reporting_cars": 0}
    assert plan_of(SCENARIO, options(**only_look)).mix.journeys == {"look"}
    for more, needed in (
        ({"shares": "look=1,reserve=2"}, "'reserve' needs Shop.reserve"),
        ({"pollers": 5}, "'poll' needs Shop.poll"),
    ):
        with pytest.raises(ValueError, match=needed):
            plan_of(SCENARIO, options(**{**only_look, **more}))


def test_a_file_that_cannot_be_imported_is_one_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "broken_shop.py"
    broken.write_text("import no_such_module\n")
    with pytest.raises(ValueError, match=r"broken_shop\.py cannot be imported \(ModuleNotFound"):
        plan_of(SCENARIO, options(backend=f"{broken}:Shop"))


def test_the_reference_backend_has_all_that_the_journeys_need() -> None:
    for journey in JOURNEYS.values():
        assert getattr(ConnectedCar, journey.needs) is not getattr(Backend, journey.needs)


def test_who_waits_and_comes_again_stays_longer() -> None:
    patient = plan_of(SCENARIO, options(retry_policy="retry_after"))
    assert plan_of(SCENARIO, options()).longest_seconds(1.0) == 1.0
    assert patient.longest_seconds(1.0) == 6.0
    assert plan_of(SCENARIO, options(restart_share=0.5)).longest_seconds(1.0) == 7.0
