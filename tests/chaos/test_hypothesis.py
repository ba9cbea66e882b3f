"""What a hypothesis may say, and what it says about a value."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.chaos.hypothesis import (
    OF_METRICS,
    Abort,
    Expectation,
    Hypothesis,
    Measure,
    hypothesis_from_json,
)

GOOD = Expectation("success_share", at_least=0.99)
NUMBERS = st.floats(0, 1e6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"measure": "happiness", "at_least": 1}, "measure must be one of success_share"),
        ({"measure": "success_share"}, "at_least or at_most must say what is expected"),
        ({"measure": "success_share", "at_least": 99}, "at_least must be 0 to 1, got 99"),
        ({"measure": "success_share", "at_least": True}, "at_least must be a number, got True"),
        ({"measure": "p95_seconds", "at_most": -1}, "at_most must be 0 or more, got -1"),
        ({"measure": "p95_seconds", "at_most": math.nan}, "at_most must be finite, got nan"),
        (
            {"measure": "p95_seconds", "at_most": 1, "at_least": 2},
            "at_least must not exceed at_most, got 2",
        ),
        (
            {"measure": "p95_seconds", "at_most": 1, "endpoints": "unlock"},
            r"endpoints must be a tuple of names, like \('unlock',\), got 'unlock'",
        ),
        (
            {"measure": "p95_seconds", "at_most": 1, "metric": "car_slots"},
            "metric is for measures of metrics, not p95_seconds",
        ),
        ({"measure": "metric_highest", "at_most": 1}, "metric must be like name or name"),
        (
            {"measure": "metric_highest", "at_most": 1, "metric": 'a{b="c}'},
            "metric must be like name or name",
        ),
        (
            {"measure": "metric_highest", "at_most": 1, "metric": "a", "endpoints": ("b",)},
            "endpoints are not for metric_highest",
        ),
        (
            {"measure": "p95_seconds", "at_most": 1, "baseline_factor": 0},
            "baseline_factor must be positive, got 0",
        ),
        (
            {"measure": "p95_seconds", "at_most": 1, "after_seconds": -1},
            "after_seconds must be 0 or more, got -1",
        ),
    ],
)
def test_an_expectation_that_makes_no_sense_is_refused_in_words(
    arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Expectation(**arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"steady": ()}, r"steady must be a tuple of Expectations, like \(e,\), got \(\)"),
        ({"during": GOOD}, "during must be a tuple of Expectations"),
        ({"recovered": ("fast",)}, "recovered must be a tuple of Expectations"),
        ({"recovery_seconds": 0}, "recovery_seconds must be positive, got 0"),
        ({"steady_seconds": 5}, "steady_seconds must be 10 or more, got 5"),
    ],
)
def test_a_hypothesis_that_makes_no_sense_is_refused_in_words(
    arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Hypothesis(**{"steady": (GOOD,), "during": (GOOD,), **arguments})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"success_floor": 50}, "success_floor must be 0 to 1, got 50"),
        ({"for_seconds": 0}, "for_seconds must be positive, got 0"),
        ({"error_budget_share": -0.1}, "error_budget_share must be 0 to 1, got -0.1"),
    ],
)
def test_an_abort_condition_that_makes_no_sense_is_refused_in_words(
    arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Abort(**arguments)


def test_endpoints_are_names_or_patterns() -> None:
    expectation = Expectation("good_share", endpoints=("us *", "unlock"), at_least=1)
    names = ("us state", "eu state", "unlock", "unlock_all")
    assert [expectation.concerns(name) for name in names] == [True, False, True, False]
    assert all(GOOD.concerns(name) for name in names)


@given(NUMBERS, NUMBERS, st.floats(0.01, 100), NUMBERS)
def test_a_relative_limit_only_ever_widens_the_absolute_one(
    value: float, limit: float, factor: float, before: float
) -> None:
    for side in ("at_least", "at_most"):
        limits: dict[str, Any] = {side: limit}
        metric = {"measure": "metric_highest", "metric": "a", **limits}
        absolute = Expectation(**metric)
        relative = Expectation(**metric, baseline_factor=factor)
        assert relative.holds(value, before) >= absolute.holds(value)
        assert relative.holds(factor * before, before)
        assert relative.holds(value, None) == absolute.holds(value)


def test_what_is_no_number_never_holds() -> None:
    assert not Expectation("p95_seconds", at_least=0, at_most=1).holds(math.nan)


@pytest.mark.parametrize("measure", list(Measure))
def test_a_hypothesis_survives_run_json(measure: Measure) -> None:
    about: dict[str, Any] = (
        {"metric": 'car_slots{class="a"}'} if measure in OF_METRICS else {"endpoints": ("unlock",)}
    )
    expectation = Expectation(measure.value, at_most=0.5, baseline_factor=2, **about)
    whole = Hypothesis(steady=(GOOD,), during=(expectation, GOOD), recovery_seconds=3)
    assert hypothesis_from_json(json.loads(json.dumps(asdict(whole)))) == whole
    assert whole.after == (GOOD,)
