"""What the live benchmarks of planning make of a plan; the runs themselves take minutes."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import bottlenecks, live_plan
from benchmarks._live_runs import Done
from launchday.capacity.steps import Step


def plan(resource: str = "", refused: str | None = None) -> dict[str, Any]:
    return {"refused": refused, "bottleneck": {"resource": resource, "sentence": "so it is"}}


LATE = "generator: the p99 of the arrivals' lateness was above 10 ms"


@pytest.mark.parametrize(
    ("planted", "document", "right"),
    [
        ("cpu", plan("CPU"), True),
        ("cpu", plan("worker slots"), False),
        ("pool", plan("worker slots"), True),
        ("lock", plan(""), True),
        ("lock", plan("CPU"), False),
        ("downstream", plan("downstream: gateway"), True),
        ("downstream", plan(""), False),
        ("generator", plan(refused=LATE), True),
        ("generator", plan("generator"), True),
        ("generator", plan("CPU"), False),
        ("generator", {"refused": None, "bottleneck": None}, False),
    ],
)
def test_what_is_named_is_compared_with_what_was_planted(
    planted: str, document: dict[str, Any], right: bool
) -> None:
    found = bottlenecks.named(planted, document)
    assert found.right is right
    assert not found.void


def test_a_late_generator_is_void_where_it_was_not_planted() -> None:
    found = [
        bottlenecks.named("cpu", plan(refused=LATE)),
        bottlenecks.named("cpu", plan("CPU")),
        bottlenecks.named("lock", plan("CPU")),
    ]
    assert found[0].void
    result = bottlenecks.summary(found)
    assert (result["named_right"], result["counted"], result["void"]) == (1, 2, 1)
    assert bottlenecks.judge(result) == 1
    assert bottlenecks.judge(bottlenecks.summary(found[:1])) == 2
    assert bottlenecks.judge(bottlenecks.summary(found[1:2])) == 0
    assert "WRONG lock" in bottlenecks.table(result)


def step(concurrency: float, throughput: float) -> Step:
    return Step("", throughput, throughput, throughput, concurrency, 0.05, 0.1)


def law(concurrency: float) -> float:
    others = concurrency - 1
    return 20 * concurrency / (1 + 0.03 * others + 1e-3 * concurrency * others)


def test_lower_steps_predict_those_a_little_beyond_them() -> None:
    loads = [1.2**k for k in range(1, 11)]
    sound = live_plan.with_beyond(
        live_plan.Case("io_bound", 100.0), tuple(step(n, law(n)) for n in loads)
    )
    assert len(sound.compared) == 4  # the next of six, seven, eight and nine
    assert sound.held
    odd = [step(n, law(n) * (0.7 if n == loads[-1] else 1.0)) for n in loads]
    case = live_plan.with_beyond(live_plan.Case("io_bound", 100.0), tuple(odd))
    assert not case.held
    result = live_plan.summary([case])
    assert result["largest_error_beyond"] == pytest.approx(0.3, abs=0.01)
    assert result["largest_goodput_error"] is None
    assert live_plan.judge(result) == 1


def document(*errors: float) -> dict[str, Any]:
    rows = [
        {
            "what": "goodput", "rps": 100.0, "predicted": 100.0, "measured": 100 * (1 + error),
            "error_share": error, "within": abs(error) <= 0.1,
        }
        for error in errors
    ]  # fmt: skip
    return {"refused": None, "found": {"proved": {"value": 100.0}}, "validations": rows}


def test_a_case_holds_if_every_number_does() -> None:
    cases = [live_plan.case_of("io_bound", document(0.01, -0.02), "")]
    result = live_plan.summary(cases)
    assert result["largest_goodput_error"] == 0.02
    assert live_plan.judge(result) == 0
    cases.append(live_plan.case_of("bimodal", document(0.3), ""))
    assert live_plan.judge(live_plan.summary(cases)) == 1
    assert "+30.0%" in live_plan.table(live_plan.summary(cases))


def test_a_case_without_a_comparison_is_void_and_says_why() -> None:
    refused = live_plan.case_of("io_bound", {"refused": "only 3 loads"}, "")
    late = live_plan.case_of("io_bound", document(), "could not tell: late\n")
    assert (refused.void, late.void) == ("only 3 loads", "could not tell: late")
    assert live_plan.judge(live_plan.summary([refused])) == 2


def test_replicas_are_compared_with_what_was_offered_and_with_the_objective() -> None:
    case = live_plan.Case("replicas", 60.0)
    steps = tuple(
        Step("run", rps, good, good, 9.0, 0.05, p99)
        for rps, good, p99 in ((135.0, 135.0, 0.2), (180.0, 150.0, 0.6))
    )
    found = live_plan.compare_replicas(case, steps)
    assert [row.within for row in found.compared] == [True, True, False, False]
    assert not found.held
    assert live_plan.compare_replicas(case, ()).void


def test_a_command_without_json_is_an_error_with_its_last_words() -> None:
    with pytest.raises(RuntimeError, match="ended with 2: launchday: no target"):
        _ = Done(2, "", "first\nlaunchday: no target\n").document
