from __future__ import annotations

import json
from pathlib import Path

import pytest

from launchday.errors import RecordError
from launchday.outcomes import Outcome, outcome_of
from launchday.record import (
    AppendLog,
    Schedule,
    create_run_directory,
    read_lines,
    read_record,
)
from launchday.timeline import (
    by_second,
    kept_share,
    peak_seconds,
    quiet_seconds,
    seen_seconds,
    whole,
)
from tests.records import collapsing, write_record


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    record = read_record(write_record(tmp_path / "run"))
    assert record.complete
    assert record.schedule is not None
    assert record.schedule.phases[2].name == "peak"
    everything = whole(record)
    assert everything.offered == sum(w.offered for w in by_second(record))
    assert everything.answers_503 == everything.with_retry_after == everything.shed > 0
    assert kept_share(record) == 1.0


@pytest.mark.parametrize("ended", ["interrupted", "running", "failed"])
def test_a_generator_that_was_stopped_saw_what_it_saw_though_it_wrote_its_last_line(
    tmp_path: Path, ended: str
) -> None:
    record = read_record(write_record(tmp_path / "run", seconds=20, stopped=ended))
    assert record.complete
    assert record.schedule is not None
    assert 19 <= seen_seconds(record, record.schedule) <= 20
    assert kept_share(record) == 1.0
    at_the_end = read_record(write_record(tmp_path / "whole", seconds=52, stopped=ended))
    assert seen_seconds(at_the_end, record.schedule) == record.schedule.duration_seconds


def test_a_torn_last_line_is_passed_over_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = write_record(tmp_path / "run", seconds=20)
    before = whole(read_record(path)).offered
    with (path / "samples-0.jsonl").open("a") as file:
        file.write('{"kind": "samples", "cel')
    record = read_record(path)
    assert not record.complete
    assert whole(record).offered == before


def test_a_damaged_line_in_the_middle_is_an_error_that_names_it(tmp_path: Path) -> None:
    log = tmp_path / "x.jsonl"
    log.write_text('{"a": 1}\nbroken\n{"b": 2}\n')
    with pytest.raises(RecordError, match="line 2"):
        list(read_lines(log))


def test_a_directory_that_is_no_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no run directory"):
        read_record(tmp_path)


def test_a_record_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = write_record(tmp_path / "run")
    info = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**info, "schema": 99}))
    with pytest.raises(RecordError, match="schema 99"):
        read_record(path)


def test_a_full_disk_is_one_sentence_that_says_what_to_do() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    log = AppendLog(full)
    with pytest.raises(RecordError, match=r"No space left on device; free some space"):
        log.write({"a": "b"})
    log.close()


def test_a_run_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="choose another directory"):
        create_run_directory(tmp_path / "file", "run")


def test_peak_and_quiet_are_read_off_the_plan(tmp_path: Path) -> None:
    record = read_record(write_record(tmp_path / "run", collapsing))
    assert record.schedule is not None
    assert quiet_seconds(record, record.schedule) == range(1, 10)
    assert peak_seconds(record.schedule) == list(range(11, 31))


def test_two_stepped_peaks_are_both_peak_and_the_valley_between_is_not() -> None:
    points = ((0, 10), (8, 10), (8, 100), (12, 100), (12, 10), (22, 10), (22, 100), (26, 100))
    schedule = Schedule(0.0, 26.0, (), points, 1, 1, 1.0, 0.01)
    assert peak_seconds(schedule) == [8, 9, 10, 11, 22, 23, 24, 25]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("samples-0.jsonl", '{"kind": "samples"}'),
        ("samples-0.jsonl", "3"),
        ("samples-0.jsonl", '{"kind": "schedule"}'),
        ("faults.jsonl", "[]"),
        ("faults.jsonl", '{"link": "x"}'),
        ("metrics.jsonl", '{"x": 1}'),
        ("run.json", "[]"),
    ],
)
def test_a_damaged_record_is_one_sentence(tmp_path: Path, name: str, line: str) -> None:
    path = write_record(tmp_path / "run")
    (path / name).write_text(line + "\n")
    with pytest.raises(RecordError, match="damaged"):
        read_record(path)


@pytest.mark.parametrize(
    ("status", "reason", "retry_after", "latency", "expected"),
    [
        (200, None, False, 0.1, Outcome.OK),
        (202, None, False, 0.6, Outcome.SLOW),
        (503, "queue_timeout", True, 0.1, Outcome.SHED),
        (503, "dependency", True, 0.1, Outcome.DEPENDENCY),
        (503, "maintenance", True, 0.1, Outcome.MAINTENANCE),
        (503, None, True, 0.1, Outcome.SHED),
        (503, None, False, 0.1, Outcome.SERVER_ERROR),
        (500, None, False, 0.1, Outcome.SERVER_ERROR),
        (429, None, True, 0.1, Outcome.THROTTLED),
        (404, None, False, 0.1, Outcome.CLIENT_ERROR),
        (302, None, False, 0.1, Outcome.CLIENT_ERROR),
    ],
)
def test_outcomes_tell_the_causes_of_a_503_apart(
    status: int, reason: str | None, retry_after: bool, latency: float, expected: Outcome
) -> None:
    found = outcome_of(
        status,
        latency_seconds=latency,
        objective_seconds=0.5,
        reason=reason,
        retry_after=retry_after,
    )
    assert found is expected
