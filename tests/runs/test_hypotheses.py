"""The hypothesis of an experiment, judged over records whose numbers are known."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from launchday.chaos.experiment import Experiment, latency
from launchday.chaos.hypothesis import Expectation, Hypothesis
from launchday.errors import LaunchdayError, PreflightError
from launchday.outcomes import Outcome
from launchday.record import Record, read_record
from launchday.runs.hypotheses import (
    CannotTellError,
    NotSteadyError,
    check_room,
    evaluate,
    require_steady,
    steady_by_now,
)
from launchday.runs.report import render_report
from launchday.runs.steady_watch import SteadyWatch
from launchday.runs.verdict import Verdict, judge
from tests.records import CURVE, EPOCH, write_record

# The fault is in from 31.5 s to 36.5 s of the 52 s that tests.records plays.
FAULT_IN, FAULT_OUT = 31.5, 36.5
STEADY = (Expectation("success_share", at_least=0.95),)
HOLDS = Hypothesis(
    steady=STEADY,
    during=(Expectation("success_share", endpoints=("state",), at_least=0.4),),
    recovery_seconds=5,
)
Lines = Mapping[int, Mapping[str, float] | str]


def half_fails(second: int, offered: int) -> Mapping[Outcome, tuple[int, float]]:
    """Half of the requests fail while the fault is in, and for 2 s more."""
    failed = offered // 2 if FAULT_IN < second < FAULT_OUT + 2 else 0
    return {Outcome.OK: (offered - failed, 0.06), Outcome.DEPENDENCY: (failed, 0.3)}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return read_record(write_record(tmp_path_factory.mktemp("played") / "run", half_fails))


def one_is_cut(second: int, offered: int) -> Mapping[Outcome, tuple[int, float]]:
    """One request of second 30 is still under way when the fault begins, and is cut short."""
    return {Outcome.OK: (offered - (second == 30), 0.06), Outcome.CONNECTION: (second == 30, 0.6)}


def recorded(
    played: Record,
    hypothesis: Hypothesis = HOLDS,
    metrics: Lines | None = None,
    more: tuple[dict[str, Any], ...] = (),
) -> Record:
    fault = {"experiment": "Half", "link": "gateway", "fault": "latency 400 ms"}
    at = {"planned": 0.0, "applied": FAULT_IN, "verified": FAULT_IN, "undone": FAULT_OUT}
    events = [
        {"event": name, **fault, "unix": EPOCH + second, "effect": True}
        for name, second in at.items()
    ]
    experiment = Experiment(
        title="Half",
        description="",
        faults=(latency("gateway", latency_ms=400),),
        after_seconds=0,
        duration_seconds=5,
        hypothesis=hypothesis,
    )
    lines = [
        {"unix": EPOCH + second + 0.5, "values": {}, "error": values}
        if isinstance(values, str)
        else {"unix": EPOCH + second + 0.5, "values": values}
        for second, values in (metrics or {}).items()
    ]
    return replace(
        played,
        info=replace(played.info, settings={"experiment": asdict(experiment)}),
        faults=[*events, *more],
        metrics=lines,
        cells=deepcopy(played.cells),
    )


def verdict_of(*arguments: Any, **options: Any) -> Verdict:
    return judge(recorded(*arguments, **options))


def test_a_hypothesis_that_holds_is_told_with_every_number(played: Record) -> None:
    verdict = verdict_of(played)
    assert verdict.exit_code == 0, verdict.reasons
    said = " ".join(verdict.reasons)
    assert "success share of state was 50.43 % (at least 40 % wanted; 100 % before;" in said
    assert "recovered 2 s after the faults (allowed 5 s)" in said
    assert verdict.hypothesis is not None
    assert [(e.window, e.held) for e in verdict.hypothesis.judged] == [
        ("before", True),
        ("during", True),
        ("after", True),
    ]


def test_a_request_that_was_under_way_when_the_fault_began_is_of_no_window(tmp_path: Path) -> None:
    """In the catalogue's region_down one of second 12 was cut at 13.02 s: a false breach."""
    cut = read_record(write_record(tmp_path / "run", one_is_cut))
    every = (Expectation("success_share", at_least=1.0),)
    always = Hypothesis(steady=every, during=every, recovery_seconds=5)
    judged = judge(recorded(cut, always))
    assert (judged.exit_code, judged.hypothesis is not None) == (0, True), judged.reasons


def test_the_rules_of_every_run_do_not_judge_what_the_hypothesis_judges(played: Record) -> None:
    with_it = verdict_of(played)
    record = recorded(played)
    without = judge(replace(record, info=replace(record.info, settings={})))
    assert with_it.exit_code == 0
    assert "errors" in {check.name for check in without.checks if check.held is False}
    assert "From 30 s to 42 s the hypothesis" in with_it.reasons[0]


def test_a_503_without_retry_after_is_a_breach_also_during_the_faults(played: Record) -> None:
    record = recorded(played)
    for (_, _, _, outcome), cell in record.cells.items():
        if outcome == Outcome.DEPENDENCY:
            cell.retry_after = 0
    assert {c.name for c in judge(record).checks if c.held is False} == {"retry-after"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"during": (Expectation("success_share", at_least=0.6),)},
            "success share of all requests was 50.43 % (at least 60 % wanted",
        ),
        (
            {"during": (Expectation("failed_p95_seconds", at_most=0.2),)},
            "failed p95 seconds of all requests was 298 ms (at most 200 ms wanted",
        ),
        (
            {"recovered": (Expectation("failed_share", at_most=0.0),), "recovery_seconds": 1.0},
            "recovered 2 s after the faults (allowed 1 s)",
        ),
        (
            {"recovered": (Expectation("p50_seconds", at_most=0.01),)},
            "did not recover within the 15 s after the faults (allowed 5 s)",
        ),
    ],
)
def test_what_does_not_hold_is_a_breach_in_words(
    played: Record, changes: dict[str, Any], words: str
) -> None:
    verdict = verdict_of(played, replace(HOLDS, **changes))
    assert verdict.exit_code == 1
    assert any(words in reason for reason in verdict.reasons), verdict.reasons


def test_a_limit_relative_to_what_was_before_never_is_stricter_than_the_absolute_one(
    played: Record,
) -> None:
    during = (
        Expectation("failed_p95_seconds", at_most=0.001, baseline_factor=10),  # before: 0
        Expectation("p50_seconds", at_most=0.001, baseline_factor=10),
        Expectation("p50_seconds", at_most=1.0, baseline_factor=0.1),
    )
    outcome = evaluate(recorded(played, replace(HOLDS, during=during)))
    assert outcome is not None
    judged = outcome.of("during")
    assert [each.held for each in judged] == [False, True, True]
    assert [each.at_most for each in judged] == [
        0.001,
        pytest.approx(0.6, rel=0.02),
        1.0,
    ]


QUEUE = 'car_slots_waiting{region="us"}'
ELSEWHERE = 'car_slots_waiting{region="eu"}'
SCRAPED: Lines = {
    second: {QUEUE: 9.0 if second == 33 else 1.0, "car_requests_total": 10.0 * second}
    for second in range(52)
}


@pytest.mark.parametrize(
    ("expectation", "held", "measured"),
    [
        (Expectation("metric_highest", metric="car_slots_waiting", at_most=9), True, 9.0),
        (Expectation("metric_highest", metric="car_slots_waiting", at_most=8), False, 9.0),
        (Expectation("metric_lowest", metric=QUEUE, at_least=1), True, 1.0),
        (Expectation("metric_increase", metric="car_requests_total", at_most=40), True, 40.0),
        (Expectation("metric_per_second", metric="car_requests_total", at_least=11), False, 10.0),
        (Expectation("metric_highest", metric=ELSEWHERE, at_most=9), None, None),
        (Expectation("metric_highest", metric="car_slots", at_most=9), None, None),
    ],
)  # fmt: skip
def test_metrics_are_measured_in_the_window(
    played: Record, expectation: Expectation, held: bool | None, measured: float | None
) -> None:
    record = recorded(played, replace(HOLDS, during=(expectation,)), metrics=SCRAPED)
    outcome = evaluate(record)
    assert outcome is not None
    (judged,) = outcome.of("during")
    assert (judged.held, judged.measured) == (held, measured)


QUEUES = Expectation("metric_highest", metric="car_slots_waiting", at_most=9)
FAILED: Lines = {**SCRAPED, 34: "ReadTimeout"}
NEVER: Lines = {}
ALL_FAILED: Lines = dict.fromkeys(range(52), "ConnectError")


@pytest.mark.parametrize(
    ("during", "metrics", "words"),
    [
        (QUEUES, FAILED, "1 of 4 scrapes failed"),
        (QUEUES, ALL_FAILED, "4 of 4 scrapes of the target's metrics failed"),
        (QUEUES, NEVER, "could not be judged (the target's metrics were not scraped"),
        (replace(QUEUES, metric="car_queue"), SCRAPED, "the target has no such metric"),
        (Expectation("failed_share", endpoints=("unlock",), at_most=1), {}, "no requests"),
        (Expectation("failed_share", at_most=1, after_seconds=60), {}, "no requests"),
    ],
)
def test_what_cannot_be_judged_never_holds(
    played: Record, during: Expectation, metrics: Lines, words: str
) -> None:
    hypothesis = replace(HOLDS, during=(during,))
    verdict = verdict_of(played, hypothesis, metrics=metrics)
    assert (verdict.exit_code, verdict.outcome.value) == (2, "inconclusive")
    assert any(words in reason for reason in verdict.reasons), verdict.reasons


def test_what_is_broken_is_a_breach_also_when_something_else_cannot_be_judged(
    played: Record,
) -> None:
    during = (QUEUES, Expectation("success_share", at_least=0.9))
    assert verdict_of(played, replace(HOLDS, during=during)).exit_code == 1


def test_not_steady_before_by_the_whole_record_is_exit_3(played: Record) -> None:
    steady = (Expectation("p50_seconds", at_most=0.01),)
    verdict = verdict_of(played, replace(HOLDS, steady=steady))
    assert verdict.exit_code == 3
    assert "Before the faults: p50 seconds of all requests was 60 ms" in " ".join(verdict.reasons)


@pytest.mark.parametrize(
    ("steady", "error"),
    [
        (Expectation("p50_seconds", at_most=0.01), NotSteadyError),
        (Expectation("failed_share", endpoints=("unlock",), at_most=1), CannotTellError),
        (Expectation("failed_share", at_most=0), None),
    ],
)
def test_the_conductor_injects_only_into_what_is_steady(
    played: Record, steady: Expectation, error: type[LaunchdayError] | None
) -> None:
    record = recorded(played)
    experiment = Experiment(
        title="Half",
        description="",
        faults=(latency("gateway", latency_ms=400),),
        after_seconds=0,
        duration_seconds=5,
        hypothesis=replace(HOLDS, steady=(steady,)),
    )
    events: list[dict[str, object]] = []
    if error is None:
        require_steady(record, experiment, 30.0, events.append)
        assert events == []
        return
    with pytest.raises(error, match="none was injected"):
        require_steady(record, experiment, 30.0, events.append)
    assert [event["event"] for event in events] == ["not_steady"]
    held_back = replace(record, faults=[{**events[0]}], info=replace(record.info, ended="failed"))
    assert judge(held_back).exit_code == error.exit_code


def test_seconds_that_are_not_complete_yet_are_not_asked(played: Record) -> None:
    # 35.9 s into the schedule the last complete second is 33, since a request may take 1 s.
    record = recorded(played)
    judged = steady_by_now(record, HOLDS, 33.9)
    assert judged[0].measured == 1.0
    assert (steady_by_now(record, HOLDS, 38.0)[0].measured or 1.0) < 1.0


def test_a_watch_judges_each_second_once_also_while_the_fault_is_in(played: Record) -> None:
    record, watch = recorded(played), SteadyWatch(HOLDS)
    assert [each.held for each in watch.judged(record, 33.9)] == [True]
    assert watch.judged(record, 33.95) == []
    assert [each.held for each in watch.judged(record, 40.5)] == [False]
    assert [each.held for each in watch.judged(record, 1.5)] == []  # a clock that was set back


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (12.0, 20.0, "too early to see the target steady for 10 s before; it takes 13 s"),
        (20.0, 45.0, "to see the target recover takes until 54 s"),
        (13.0, 40.0, None),
    ],
)
def test_a_schedule_without_time_to_see_it_is_refused(
    played: Record, start: float, end: float, words: str | None
) -> None:
    schedule = recorded(played).schedule
    assert schedule is not None
    assert schedule.duration_seconds == CURVE.duration_seconds == 52
    if words is None:
        check_room("Half", HOLDS, schedule, start, end)
        return
    with pytest.raises(PreflightError, match="Half") as error:
        check_room("Half", HOLDS, schedule, start, end)
    assert words in str(error.value)


def test_an_aborted_experiment_is_a_breach_with_its_reason(played: Record) -> None:
    event = {"event": "aborted", "experiment": "Half", "unix": EPOCH + 36, "reason": "only 3 %"}
    verdict = verdict_of(played, more=(event,))
    assert verdict.exit_code == 1
    assert verdict.reasons[1:] == ("The experiment was aborted, its faults undone: only 3 %.",)


@pytest.mark.parametrize(("aborted", "exit_code"), [(True, 1), (False, 2)])
def test_faults_that_an_abort_came_before_are_no_excuse_and_others_that_are_missing_are(
    played: Record, aborted: bool, exit_code: int
) -> None:
    events: list[dict[str, object]] = [
        {"event": "planned", "link": "database", "fault": "down", "unix": EPOCH},
        # Again and again does not stand in for the other.
        *({**event, "unix": EPOCH + 34} for event in played.faults if event["event"] == "applied"),
        {"event": "undone", "link": "gateway", "fault": "latency 400 ms", "unix": EPOCH + 35},
    ]
    if aborted:
        events.append({"event": "aborted", "unix": EPOCH + 36, "reason": "only 3 %"})
    verdict = verdict_of(played, more=tuple(events))
    assert verdict.exit_code == exit_code, verdict.reasons
    wanted = "only 3 %" if aborted else "1 of 2 planned fault(s) were applied."
    assert wanted in " ".join(verdict.reasons)


def test_the_report_has_a_row_for_each_expectation(played: Record) -> None:
    record = recorded(played, replace(HOLDS, during=(QUEUES,)))
    report = render_report(record, judge(record))
    assert "What had to hold" in report
    assert "<td>metric highest of car_slots_waiting</td>" in report
    assert "<td>not judged</td>" in report
    assert '<td>time to recover</td><td class="n">2 s</td>' in report
