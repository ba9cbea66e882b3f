"""What a worker that was killed left in the record, and what of its arrivals is lost."""

from __future__ import annotations

from pathlib import Path

from launchday.load.lost import accounts_in, record_lost
from launchday.load.plan import Account
from launchday.load.samples import SampleBook
from launchday.record import Record, RunInfo, Schedule, absorb_samples_line, read_lines

PLANNED = Schedule(1000.5, 10.0, (), ((0, 5), (10, 5)), 25, 1, 1.0, 0.01, 50, 2)


def killed_worker(record: Path) -> None:
    book = SampleBook(record / "samples-3.jsonl")
    book.begin(PLANNED)
    book.arrival(0.5, started=True)
    book.flush()
    book.arrival(0.6, started=True)
    book.arrival(1.5, started=False)
    book.lost(2.5, 4)
    book.flush()
    book.arrival(3.0, started=True)  # never written
    book.close()
    with (record / "samples-3.jsonl").open("a") as file:
        file.write('{"kind":"samples","cells":[],"arr')


def test_what_was_flushed_counts_and_a_torn_line_does_not(tmp_path: Path) -> None:
    killed_worker(tmp_path)
    assert accounts_in(tmp_path, 3, PLANNED) == {
        0: Account(started=2),
        1: Account(dropped=1),
        2: Account(lost=4),
    }


def test_a_log_of_another_test_or_none_at_all_says_nothing(tmp_path: Path) -> None:
    killed_worker(tmp_path)
    later = Schedule(**{**vars(PLANNED), "epoch_unix": 2000.0})
    assert accounts_in(tmp_path, 3, later) is None
    assert accounts_in(tmp_path, 4, PLANNED) is None
    assert accounts_in(None, 3, PLANNED) is None


def test_only_what_is_lost_is_recorded_and_by_nobody_who_makes_arrivals(tmp_path: Path) -> None:
    record_lost(tmp_path, PLANNED, {})
    record_lost(None, PLANNED, {1: 1})
    assert not list(tmp_path.iterdir())
    record_lost(tmp_path, PLANNED, {4: 3, 5: -1})
    record = Record(tmp_path, RunInfo("x", "x", "", 0.0), [], 0, {}, {}, [], [])
    for line in read_lines(tmp_path / "samples-master.jsonl"):
        absorb_samples_line(record, line)
    assert {second: a.lost for second, a in record.arrivals.items()} == {4: 3}
    (schedule,) = record.schedules
    assert (schedule.workers, schedule.expected_arrivals) == (0, 0)
    assert record.finished_workers == 1
