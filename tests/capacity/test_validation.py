"""A plan against runs made after it: prediction, comparison, and when nothing may be said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.capacity import pipeline
from launchday.capacity.answer import Plan, Request, Status
from launchday.capacity.results import Estimate, Found
from launchday.capacity.steps import LeftOut, Measured, Objective, Step
from launchday.capacity.validation import Checked, check, predict, rates_to_drive
from launchday.capacity.windows import BETWEEN_STEPS

OBJECTIVE = Objective()


def step(rps: float, good: float | None = None, p99: float | None = 0.1, **more: Any) -> Step:
    good = rps if good is None else good
    given: dict[str, Any] = {
        "source": f"run, at {rps:g}", "offered_rps": rps, "goodput_rps": good,
        "throughput_rps": good, "concurrency": rps / 20, "mean_seconds": 0.05,
        "latency_seconds": p99,
    }  # fmt: skip
    return Step(**{**given, **more})


STEPS = (step(100.0), step(200.0), step(300.0), step(400.0, 320.0, 0.4, shed_share=0.2))


def plan(steps: tuple[Step, ...] = STEPS, proved: float | None = 300.0) -> Plan:
    estimate = None if proved is None else Estimate(proved, proved, None, 5, "proved")
    found = Found(None, estimate, "", "shed", (), 100.0, 400.0)
    return Plan(Request(), Measured(steps), found=found)


def after(*steps: Step, **more: Any) -> Measured:
    return Measured(tuple(replace(s, source=f"again, at {s.offered_rps:g}") for s in steps), **more)


def test_a_load_between_two_steps_is_predicted_by_both() -> None:
    between = predict(STEPS, OBJECTIVE, 350.0)
    assert between is not None
    assert between.goodput_rps == pytest.approx(310)
    assert between.latency_seconds == pytest.approx(0.2)  # on a logarithmic scale


def test_a_load_outside_the_tested_range_is_not_predicted() -> None:
    assert predict(STEPS, OBJECTIVE, 90.0) is None
    assert predict(STEPS, OBJECTIVE, 420.0) is None
    assert predict((), OBJECTIVE, 100.0) is None
    at_edge = predict(STEPS, OBJECTIVE, 401.0)
    assert at_edge is not None
    assert at_edge.goodput_rps == 320.0


def test_steps_that_were_held_out_or_not_steady_predict_nothing() -> None:
    steps = (
        *STEPS,
        step(250.0, 10.0, 9.0, held_out=True),
        step(260.0, 10.0, 9.0, unsteady=("it drifts",)),
    )
    assert predict(steps, OBJECTIVE, 255.0) == predict(STEPS, OBJECTIVE, 255.0)


@given(st.floats(100, 400), st.floats(100, 400))
def test_more_load_is_never_predicted_to_be_faster(one: float, other: float) -> None:
    noisy = tuple(
        replace(s, latency_seconds=v) for s, v in zip(STEPS, (0.2, 0.1, 0.3, 0.25), strict=True)
    )
    less, more = sorted((one, other))
    first, second = predict(noisy, OBJECTIVE, less), predict(noisy, OBJECTIVE, more)
    assert first is not None
    assert second is not None
    assert (first.latency_seconds or 0) <= (second.latency_seconds or 0) * (1 + 1e-9)


def test_the_mean_is_predicted_where_it_is_the_objective() -> None:
    found = predict(STEPS, replace(OBJECTIVE, quantile=None), 250.0)
    assert found is not None
    assert found.latency_seconds == pytest.approx(0.05)


def test_what_is_driven_is_the_recommended_rate_and_another() -> None:
    assert rates_to_drive(plan()) == (225.0, 300.0)
    held_out = (*STEPS, step(150.0, held_out=True), step(360.0, held_out=True))
    assert rates_to_drive(plan(held_out)) == (300.0, 360.0)
    with pytest.raises(ValueError, match="nothing is recommended"):
        rates_to_drive(plan(proved=None))


def test_a_held_out_load_of_which_the_plan_says_nothing_is_not_driven() -> None:
    steps = (*STEPS, step(150.0, held_out=True), step(800.0, held_out=True))
    assert rates_to_drive(plan(steps)) == (150.0, 300.0)


def test_the_same_target_may_be_written_with_a_slash() -> None:
    of = replace(plan(), measured=Measured(STEPS, target="http://a/"))
    assert check(of, after(step(300.0), target="http://a")).doubts == ()


def test_a_plan_that_was_right_is_validated() -> None:
    checked = check(plan(), after(step(225.0), step(300.0, 295.0, 0.12)))
    assert checked.doubts == ()
    assert [row.what for row in checked.validations] == ["goodput", "p99", "goodput", "p99"]
    assert checked.validations[2].error_share == pytest.approx(-5 / 300)
    assert checked.validations[3].error_share == pytest.approx(0.2)
    assert validated(checked) is Status.VALIDATED


def test_a_load_that_could_not_be_compared_is_named() -> None:
    parts = (
        LeftOut("again, 0-30 s", "it was late in 9 of 30 s"),
        LeftOut("again, 30-31 s", BETWEEN_STEPS),
    )
    checked = check(plan(), after(step(300.0), left_out=parts))
    assert checked.not_compared == ("again, 0-30 s: it was late in 9 of 30 s",)
    assert validated(checked) is Status.VALIDATED


def validated(checked: Checked) -> Status:
    return pipeline.with_validations(plan(), checked.validations).status


@pytest.mark.parametrize(
    "measured",
    [step(300.0, 260.0), step(300.0, 300.0, 0.51), step(300.0, 0.0, None, shed_share=1.0)],
    ids=["goodput 13 % below", "p99 above the objective", "nobody was let in"],
)
def test_a_plan_that_was_wrong_is_refuted(measured: Step) -> None:
    checked = check(plan(), after(measured))
    assert checked.doubts == ()
    assert validated(checked) is Status.REFUTED


def test_above_the_recommended_rate_only_goodput_is_compared() -> None:
    checked = check(plan(), after(step(300.0), step(380.0, 316.0, 0.9)))
    assert [row.what for row in checked.validations] == ["goodput", "p99", "goodput"]
    assert all(row.within for row in checked.validations)


def test_a_step_that_is_not_steady_refutes_but_does_not_validate() -> None:
    shaky = step(300.0, unsteady=("the backlog grows",))
    assert "the backlog grows" in check(plan(), after(shaky)).doubts[0]
    wrong = check(plan(), after(replace(shaky, goodput_rps=200.0)))
    assert wrong.doubts == ()
    assert validated(wrong) is Status.REFUTED


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        (after(step(225.0)), "no step held the recommended 300 rps: 225 rps were offered"),
        (after(), "no step held the recommended 300 rps"),
        (after(left_out=(LeftOut("again", "arrivals came late"),)), "arrivals came late"),
        (after(step(300.0), invalid=("the generator was saturated",)), "saturated"),
        (Measured(STEPS), "was made from this record"),
        (after(step(300.0), target="http://b"), "the plan is of no known target, this run of http"),
        (after(step(300.0, replicas=3)), "the plan was measured with 1, this run with 3"),
    ],
)
def test_when_nothing_may_be_said_it_is_not_validated(measured: Measured, words: str) -> None:
    checked = check(plan(), measured)
    assert checked.validations == ()
    assert words in checked.doubts[0]
    assert validated(checked) is Status.UNVALIDATED
