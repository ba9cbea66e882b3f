from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.capacity.loads import measure
from launchday.capacity.seconds import by_second, mean_of, spread
from launchday.capacity.steps import Objective
from launchday.counts import Cell
from launchday.errors import SettingsError
from launchday.outcomes import Outcome
from launchday.record import read_record
from tests.capacity.staircase import RATES, plateau, write_steps
from tests.records import fault_events

OBJECTIVE = Objective()


def test_every_step_of_a_staircase_becomes_a_step(tmp_path: Path) -> None:
    found = measure([read_record(write_steps(tmp_path / "run"))], OBJECTIVE)
    assert [step.offered_rps for step in found.steps] == list(RATES)
    assert found.left_out == ()
    assert found.invalid == ()
    for step in found.steps:
        assert step.steady, step.unsteady
        assert step.goodput_rps == step.throughput_rps == step.offered_rps
        assert step.latency_seconds == pytest.approx(0.05, rel=0.01)
        assert step.concurrency == pytest.approx(step.offered_rps * 0.05, rel=0.01)
        assert sum(batch.offered for batch in step.batches) == step.requests
        assert sum(batch.seconds for batch in step.batches) == step.seconds
        assert all(batch.offered >= 100 for batch in step.batches)
    assert found.steps[1].source == "run all, 20-40 s"


def test_a_plateau_is_seen_as_goodput_and_as_what_was_shed(tmp_path: Path) -> None:
    found = measure([read_record(write_steps(tmp_path / "run", plateau(150)))], OBJECTIVE)
    top = found.steps[-1]
    assert top.offered_rps == 300
    assert top.goodput_rps == top.throughput_rps == 150
    assert top.shed_share == 0.5
    assert top.concurrency == pytest.approx(150 * 0.05, rel=0.01)


def test_errors_and_timeouts_are_no_throughput(tmp_path: Path) -> None:
    def failing(_: int, offered: int) -> Mapping[Outcome, tuple[int, float]]:
        half = offered // 2
        return {Outcome.OK: (half, 0.05), Outcome.TIMEOUT: (half, 1.0)}

    (step, *_) = measure([read_record(write_steps(tmp_path / "run", failing))], OBJECTIVE).steps
    assert step.throughput_rps == step.goodput_rps == 25
    assert step.error_share == 0.5
    assert step.latency_seconds == pytest.approx(1.0, rel=0.01)
    assert any("intended requests finished" in reason for reason in step.unsteady)


@pytest.mark.parametrize(
    ("seconds", "good"), [(0.5, 40), (0.2, 30), (2.0, 50)], ids=["own", "stricter", "looser"]
)
def test_good_is_counted_by_the_objective_of_the_plan(
    tmp_path: Path, seconds: float, good: int
) -> None:
    def mixed(_: int, offered: int) -> Mapping[Outcome, tuple[int, float]]:
        return {Outcome.OK: (30, 0.1), Outcome.SLOW: (10, 0.9)}

    record = read_record(write_steps(tmp_path / "run", mixed, points=((0.0, 50.0), (20.0, 50.0))))
    for second in range(20):
        # Another endpoint, between the stricter objective and the run's own.
        other = Cell(10)
        other.corrected.record(0.4, 10)
        other.service.record(0.4, 10)
        record.cells[second, "other", "critical", Outcome.OK] = other
    (step,) = measure([record], Objective(seconds=seconds)).steps
    assert step.goodput_rps == good


def test_an_objective_for_the_mean_counts_every_good_answer_and_gives_the_mean(
    tmp_path: Path,
) -> None:
    def mixed(_: int, offered: int) -> Mapping[Outcome, tuple[int, float]]:
        return {Outcome.OK: (offered // 2, 0.1), Outcome.SLOW: (offered // 2, 0.7)}

    record = read_record(write_steps(tmp_path / "run", mixed))
    (step, *_) = measure([record], Objective(quantile=None, seconds=0.45)).steps
    assert step.goodput_rps == 50
    assert step.latency_seconds == pytest.approx(0.4, rel=0.01)


def test_seconds_of_a_fault_are_left_out_with_what_they_may_have_touched(tmp_path: Path) -> None:
    path = write_steps(tmp_path / "run", faults=fault_events("planned", "applied", "undone"))
    found = measure([read_record(path)], OBJECTIVE)
    reasons = {left.source: left.reason for left in found.left_out}
    assert "a fault was in: latency 400 ms on gateway" in reasons["run, 14-21 s"]
    assert found.steps[0].source == "run all, 0-14 s"
    assert found.steps[1].source == "run all, 21-40 s"


def test_a_fault_that_was_never_undone_takes_the_rest(tmp_path: Path) -> None:
    path = write_steps(tmp_path / "run", faults=fault_events("planned", "applied"))
    found = measure([read_record(path)], OBJECTIVE)
    assert [step.source for step in found.steps] == ["run all, 0-14 s"]


def test_a_steep_ramp_is_cut_into_windows_that_are_unsteady(tmp_path: Path) -> None:
    points = ((0.0, 50.0), (40.0, 250.0), (60.0, 250.0))
    found = measure([read_record(write_steps(tmp_path / "run", points=points))], OBJECTIVE)
    *ramp, held = found.steps
    assert len(ramp) == 4
    assert all("ramp" in step.source and not step.steady for step in ramp)
    assert "the planned rate changes from" in " ".join(ramp[0].unsteady)
    assert held.steady


def test_a_gentle_ramp_is_as_good_as_a_step(tmp_path: Path) -> None:
    points = ((0.0, 200.0), (30.0, 240.0))
    found = measure([read_record(write_steps(tmp_path / "run", points=points))], OBJECTIVE)
    assert len(found.steps) == 3
    assert all(step.steady for step in found.steps)


def test_what_is_too_short_is_left_out_and_said(tmp_path: Path) -> None:
    points = ((0.0, 50.0), (20.0, 50.0), (21.0, 100.0), (41.0, 100.0), (41.0, 150.0), (44.0, 150.0))
    found = measure([read_record(write_steps(tmp_path / "run", points=points))], OBJECTIVE)
    assert [step.offered_rps for step in found.steps] == [50, 100]
    assert len(found.left_out) == 2


def test_a_pause_is_no_load(tmp_path: Path) -> None:
    points = ((0.0, 50.0), (20.0, 50.0), (20.0, 0.0), (40.0, 0.0), (40.0, 90.0), (60.0, 90.0))
    found = measure([read_record(write_steps(tmp_path / "run", points=points))], OBJECTIVE)
    assert [step.offered_rps for step in found.steps] == [50, 90]
    assert {left.reason for left in found.left_out} == {"no arrivals were planned"}


def test_the_warm_up_of_a_step_is_cut(tmp_path: Path) -> None:
    def cold(second: int, offered: int) -> Mapping[Outcome, tuple[int, float]]:
        return {Outcome.OK: (offered, 0.4 if second < 12 else 0.05)}

    points = ((0.0, 100.0), (60.0, 100.0))
    record = read_record(write_steps(tmp_path / "run", cold, points=points))
    (step,) = measure([record], OBJECTIVE).steps
    assert step.seconds < 50
    assert step.latency_seconds == pytest.approx(0.05, rel=0.01)


def test_a_run_that_was_killed_still_gives_its_finished_steps(tmp_path: Path) -> None:
    path = write_steps(tmp_path / "run", until=50)
    with (path / "samples-0.jsonl").open("a") as log:
        log.write('{"kind":"samples","cel')
    found = measure([read_record(path)], OBJECTIVE)
    assert [step.offered_rps for step in found.steps] == [50, 100, 150]
    assert found.invalid == ()


def test_the_digest_is_of_the_contents_and_not_of_place_or_order(tmp_path: Path) -> None:
    one = read_record(write_steps(tmp_path / "here" / "run"))
    same = read_record(write_steps(tmp_path / "there" / "run"))
    other = read_record(write_steps(tmp_path / "other", plateau(100)))
    digest = measure([one, other], OBJECTIVE).digest
    assert digest == measure([other, same], OBJECTIVE).digest
    assert digest != measure([one], OBJECTIVE).digest
    assert len(digest) == 64


def test_the_same_run_twice_is_refused_and_named(tmp_path: Path) -> None:
    one = read_record(write_steps(tmp_path / "here" / "run"))
    copy = read_record(write_steps(tmp_path / "there" / "run"))
    for records in ([one, one], [one, copy]):
        with pytest.raises(SettingsError, match="give each record once"):
            measure(records, OBJECTIVE)


def test_metrics_need_not_be_in_memory(tmp_path: Path) -> None:
    path = write_steps(tmp_path / "run", metrics=lambda s: {"process_cpu_seconds_total": 0.2 * s})
    record = read_record(path, metrics=False)
    assert record.metrics == []
    assert measure([record], OBJECTIVE) == measure([read_record(path)], OBJECTIVE)
    assert measure([record], OBJECTIVE).steps[0].utilisation["CPU"] == pytest.approx(0.2)


def test_no_record_is_refused() -> None:
    with pytest.raises(SettingsError, match="no record"):
        measure([], OBJECTIVE)


@given(st.lists(st.floats(min_value=1e-6, max_value=30.0), min_size=1, max_size=5))
def test_a_request_is_open_as_long_as_it_takes_and_finishes_once(took: list[float]) -> None:
    at = np.arange(len(took))
    finished, in_flight = spread(at, np.array(took), np.ones(len(took)))
    assert sum(finished) == pytest.approx(len(took))
    assert sum(in_flight) == pytest.approx(sum(took))
    assert min(finished) >= 0
    assert min(in_flight) >= -1e-9


def test_answers_that_take_longer_than_a_second_finish_later(tmp_path: Path) -> None:
    def slow(second: int, offered: int) -> Mapping[Outcome, tuple[int, float]]:
        return {Outcome.SLOW: (offered if second == 5 else 0, 2.5)}

    seconds = by_second(read_record(write_steps(tmp_path / "run", slow)), OBJECTIVE)
    finished = [round(seconds[at].finished) for at in range(5, 10)]
    assert finished[:2] == [0, 0]
    assert sum(finished) == RATES[0]
    assert mean_of(seconds[4].admitted) is None
