from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launchday.capacity.loads import measure
from launchday.capacity.steps import Measured, Objective
from launchday.errors import RecordError
from launchday.record import METRICS_FILE, Record, read_record
from tests.capacity.staircase import RATES, write_steps

OBJECTIVE = Objective()


def measured(path: Path, **given: Any) -> Measured:
    return measure([read_record(write_steps(path, **given))], OBJECTIVE)


def reasons(found: Measured) -> str:
    return "; ".join(left.reason for left in found.left_out)


def test_a_step_in_which_the_generator_was_late_is_left_out_alone(tmp_path: Path) -> None:
    late = dict.fromkeys(range(100, 120), 0.2)
    found = measured(tmp_path / "run", late=late)
    assert [step.offered_rps for step in found.steps] == list(RATES[:-1])
    assert "the generator was saturated: it was late in 20 of 20 s" in reasons(found)
    assert found.invalid == ()


def test_a_saturated_core_is_named(tmp_path: Path) -> None:
    late = dict.fromkeys(range(100, 120), 0.2)
    health = {second: {"cpu_share": 0.97} for second in range(100, 121)}
    found = measured(tmp_path / "run", late=late, health=health)
    assert "with up to 97% of a core" in reasons(found)


def test_a_generator_that_was_late_most_of_the_time_makes_everything_invalid(
    tmp_path: Path,
) -> None:
    found = measured(tmp_path / "run", late=dict.fromkeys(range(40, 120), 0.2))
    (why,) = found.invalid
    assert "4 of 6 steps count for nothing" in why
    assert "the generator was saturated" in why


def test_lateness_that_the_objective_does_not_notice_is_no_reason(tmp_path: Path) -> None:
    record = read_record(write_steps(tmp_path / "run"))
    for arrivals in record.arrivals.values():
        arrivals.lateness.record(0.02, arrivals.started // 20)
    found = measure([record], OBJECTIVE)
    assert found.left_out == ()
    strict = measure([record], Objective(seconds=0.1))
    assert "late in 20 of 20 s" in strict.invalid[0]


def test_dropped_arrivals_leave_a_step_out(tmp_path: Path) -> None:
    found = measured(tmp_path / "run", dropped={25: 10})
    assert "did not start 10 of 2000 arrivals (10 dropped, 0 lost with a worker)" in reasons(found)
    assert len(found.steps) == 5


def test_a_clock_that_was_set_leaves_the_step_out(tmp_path: Path) -> None:
    found = measured(tmp_path / "run", health={30: {"clock_step_seconds": -0.5}})
    assert "the clock of a generator was set by -0.50 s" in reasons(found)
    assert len(found.steps) == 5


def test_a_generator_that_slept_leaves_the_step_out(tmp_path: Path) -> None:
    record = read_record(write_steps(tmp_path / "run"))
    record.health["0"] = [s for s in record.health["0"] if not 45 < s.second < 55]
    found = measure([record], OBJECTIVE)
    assert "generator process 0 said nothing for 10 s" in reasons(found)


def test_a_record_without_health_is_judged_by_its_arrivals(tmp_path: Path) -> None:
    record = read_record(write_steps(tmp_path / "run"))
    record.health.clear()
    assert len(measure([record], OBJECTIVE).steps) == 6


def test_a_part_of_the_load_that_is_missing_is_found(tmp_path: Path) -> None:
    record = read_record(write_steps(tmp_path / "run"))
    for second in range(60, 80):
        record.arrivals[second].scheduled //= 2
        record.arrivals[second].started //= 2
    assert "a part of the generator is missing" in reasons(measure([record], OBJECTIVE))


def test_different_targets_are_invalid_and_named(tmp_path: Path) -> None:
    one = read_record(write_steps(tmp_path / "one", info={"target": "http://a:1"}))
    two = read_record(write_steps(tmp_path / "two", info={"target": "http://b:1"}))
    (why,) = measure([one, two], OBJECTIVE).invalid
    assert why == "the records are of different targets: http://a:1; http://b:1"


def local(path: Path, port: int, **settings: Any) -> Record:
    own = {"slots": 4, "target_port": 0, **settings}
    info = {"target": f"http://127.0.0.1:{port}", "settings": {"local": own}}
    return read_record(write_steps(path, info=info))


def test_local_stacks_are_the_same_target_if_their_settings_are(tmp_path: Path) -> None:
    one, two = local(tmp_path / "one", 1111), local(tmp_path / "two", 2222)
    assert measure([one, two], OBJECTIVE).invalid == ()
    other = local(tmp_path / "three", 3333, slots=8)
    assert "different targets" in measure([one, other], OBJECTIVE).invalid[0]


def test_mixed_replicas_are_invalid(tmp_path: Path) -> None:
    one, two = local(tmp_path / "one", 1, replicas=1), local(tmp_path / "two", 2, replicas=3)
    found = measure([one, two], OBJECTIVE)
    assert found.invalid == ("the records are of 1 and 3 replicas: plan them apart",)
    assert {step.replicas for step in found.steps} == {1, 3}


def test_a_run_without_a_schedule_is_invalid(tmp_path: Path) -> None:
    record = read_record(write_steps(tmp_path / "run"))
    record.schedules.clear()
    found = measure([record], OBJECTIVE)
    assert found.steps == ()
    assert found.invalid == ("run has no schedule: it made no request",)


def in_target(per_second: float) -> Any:
    """Metrics of a target with that many requests in flight."""
    name = 'shed_service_seconds_sum{class="critical"}'
    return lambda second: {name: per_second * second, "shed_limit": 30.0}


def test_a_target_that_holds_more_than_this_run_asked_breaks_littles_law(tmp_path: Path) -> None:
    points = ((0.0, 100.0), (60.0, 100.0))
    fair = measured(tmp_path / "fair", points=points, metrics=in_target(5.0))
    assert fair.invalid == ()
    foul = measured(tmp_path / "foul", points=points, metrics=in_target(10.0))
    assert "Little's law: the target had 10.0 requests in flight" in foul.invalid[0]
    assert foul.steps == ()


def test_requests_that_wait_in_front_of_the_target_break_nothing(tmp_path: Path) -> None:
    points = ((0.0, 100.0), (60.0, 100.0))
    found = measured(tmp_path / "run", points=points, metrics=in_target(2.0))
    assert len(found.steps) == 1
    assert found.steps[0].steady


def test_requests_that_waited_in_vain_do_not_break_littles_law(tmp_path: Path) -> None:
    """A target that refuses after a wait was taken for one that something else loads."""

    def metrics(second: int) -> dict[str, float]:
        waits = 'shed_queue_wait_seconds_sum{class="critical",outcome="%s"}'
        held = in_target(4.0)(second)
        return {**held, waits % "admitted": 1.0 * second, waits % "rejected": 9.0 * second}

    found = measured(tmp_path / "run", points=((0.0, 100.0), (60.0, 100.0)), metrics=metrics)
    assert found.left_out == ()
    assert len(found.steps) == 1


def test_a_torn_last_line_of_metrics_is_passed_over(tmp_path: Path) -> None:
    path = write_steps(tmp_path / "run", metrics=lambda s: {"process_cpu_seconds_total": 0.5 * s})
    with (path / METRICS_FILE).open("a") as log:
        log.write('{"unix":17000001')
    found = measure([read_record(path)], OBJECTIVE)
    assert found.steps[0].utilisation["CPU"] == pytest.approx(0.5)


def test_damaged_metrics_are_refused_with_the_line(tmp_path: Path) -> None:
    path = write_steps(tmp_path / "run")
    record = read_record(path)
    (path / METRICS_FILE).write_text('{"unix":1700000000.0,"values":{}}\nnothing\n')
    with pytest.raises(RecordError, match="line 2"):
        measure([record], OBJECTIVE)
