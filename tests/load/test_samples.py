from __future__ import annotations

import json
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday import timeline
from launchday.counts import Arrivals, Cell, CellKey, HealthSample
from launchday.histogram import LogHistogram
from launchday.load.breath import Breath
from launchday.load.retry import GaveUp
from launchday.load.samples import SampleBook
from launchday.outcomes import Outcome
from launchday.record import (
    Record,
    RunInfo,
    Schedule,
    absorb_samples_line,
    read_lines,
    read_record,
    worker_of,
    write_run_info,
)
from launchday.timeline import arrivals_of, expected_arrivals, whole
from tests.load.samples_writer import ARRIVALS_A_FLUSH
from tests.records import IDLE, write_record

SCHEDULE = Schedule(0.0, 60.0, (), ((0, 10), (60, 10)), 10, 1, 1.0, 0.01)


def read(*logs: Path) -> Record:
    record = Record(logs[0].parent, RunInfo("r", "s", "t", 0.0), [], 0, {}, {}, [], [])
    for log in logs:
        for line in read_lines(log):
            absorb_samples_line(record, line, worker_of(log))
    return record


def ask(book: SampleBook, second: float, outcome: Outcome = Outcome.OK, **more: object) -> None:
    values = {
        "corrected_seconds": 0.2,
        "service_seconds": 0.1,
        "answered_503": False,
        "retry_after": False,
        "response_bytes": 7,
        **more,
    }
    book.request(second, "state", "critical", outcome, **values)  # type: ignore[arg-type] # passed on


def test_everything_that_is_counted_is_read_back(tmp_path: Path) -> None:
    book = SampleBook(tmp_path / "samples-0.jsonl")
    book.begin(SCHEDULE)
    book.arrival(1.2, started=True, late=True, queued=True, lateness_seconds=0.02)
    book.arrival(1.9, started=False)
    book.lost(1.0, 3)
    ask(book, 1.2)
    ask(book, 1.3, retry=True)
    book.flush()
    book.health(IDLE)
    book.end()
    record = read(tmp_path / "samples-0.jsonl")
    counted = record.arrivals[1]
    assert (counted.scheduled, counted.started, counted.late) == (5, 1, 1)
    assert (counted.dropped, counted.queued, counted.lost) == (1, 1, 3)
    assert counted.lateness.quantile(1.0) == pytest.approx(0.02, rel=0.02)
    cell = record.cells[1, "state", "critical", "ok"]
    assert (cell.count, cell.retries, cell.response_bytes) == (2, 1, 14)
    assert cell.corrected.quantile(0.5) == pytest.approx(0.2, rel=0.02)
    assert cell.service.quantile(0.5) == pytest.approx(0.1, rel=0.02)
    assert record.health == {"0": [IDLE]}
    assert record.complete


def test_a_flush_tells_what_it_wrote_and_totals_go_on(tmp_path: Path) -> None:
    book = SampleBook()
    book.arrival(0.5, started=True, lateness_seconds=0.001)
    assert book.flush() == Arrivals(1, 1, lateness=one(0.001))
    book.arrival(0.6, started=True, lateness_seconds=0.1)
    assert book.flush() == Arrivals(1, 1, lateness=one(0.1))
    assert book.flush() == Arrivals()
    assert (book.totals.started, book.totals.lateness.total) == (2, 2)


def one(seconds: float) -> LogHistogram:
    histogram = LogHistogram()
    histogram.record(seconds)
    return histogram


def test_what_was_flushed_survives_kill_9(tmp_path: Path) -> None:
    write_run_info(tmp_path, RunInfo("r", "s", "t", 0.0))
    log = tmp_path / "samples-0.jsonl"
    command = [sys.executable, "-m", "tests.load.samples_writer", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        flushed = 0
        while flushed < 20:
            flushed = int(writer.stdout.readline())
        writer.kill()
        flushed = max([flushed, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    assert writer.returncode == -9
    record = read_record(tmp_path)
    assert not record.complete
    for second in range(flushed):
        assert record.arrivals[second].scheduled == ARRIVALS_A_FLUSH
        assert record.arrivals[second].dropped == 1
        assert timeline.window(record, [second]).offered == ARRIVALS_A_FLUSH
    assert whole(record).offered <= ARRIVALS_A_FLUSH * len(record.arrivals)


def test_every_place_at_which_a_line_may_be_torn_keeps_the_lines_before(tmp_path: Path) -> None:
    log = tmp_path / "samples-0.jsonl"
    book = SampleBook(log)
    book.begin(SCHEDULE)
    ask(book, 0.0)
    book.flush()
    safe = log.stat().st_size
    ask(book, 1.0)
    book.flush()
    book.close()
    written = log.read_bytes()
    for cut in range(safe, len(written) - 1):
        log.write_bytes(written[:cut])
        assert whole(read(log)).offered == 1
    log.write_bytes(written)
    assert whole(read(log)).offered == 2


def test_a_record_of_launchday_0_1_is_read(tmp_path: Path) -> None:
    path = write_record(tmp_path / "run")
    info = json.loads((path / "run.json").read_text())
    for name in ("lateness_p99_seconds", "late_seconds_share", "unstarted_share"):
        del info["rules"][name]
    (path / "run.json").write_text(json.dumps({**info, "schema": 1}))
    before = read_record(path)
    lines = [json.loads(line) for line in (path / "samples-0.jsonl").read_text().splitlines()]
    (path / "samples-0.jsonl").write_text("".join(map(as_before, lines)))
    old = read_record(path)
    assert whole(old).offered == whole(before).offered > 0
    assert arrivals_of(old).scheduled == expected_arrivals(old) == expected_arrivals(before)
    assert old.health == {}
    assert arrivals_of(old).lateness.total == 0


def as_before(line: dict[str, object]) -> str:
    """The line as launchday 0.1 wrote it."""
    if line["kind"] == "health":
        return ""
    new = {"retries", "queued", "lost", "lateness", "arrivals_of_all", "workers"}
    text = json.dumps(line)
    kept = json.loads(text, object_hook=lambda o: {k: v for k, v in o.items() if k not in new})
    return json.dumps(kept) + "\n"


def test_the_schedule_of_all_is_what_was_planned_whoever_joined_or_left(tmp_path: Path) -> None:
    record = read_record(write_record(tmp_path / "run"))
    share = record.schedules[0].expected_arrivals
    assert expected_arrivals(record) == share
    joined = Schedule(0.0, 60.0, (), ((0, 10), (60, 10)), 99, 1, 1.0, 0.01, arrivals_of_all=1234)
    record.schedules.append(joined)
    assert expected_arrivals(record) == 1234


def test_a_flush_that_is_killed_in_a_pause_loses_nothing(tmp_path: Path) -> None:
    class Killed(BaseException):
        """As gevent.GreenletExit."""

    pauses = 0

    def pause() -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 3:
            raise Killed

    log = tmp_path / "samples-0.jsonl"
    book = SampleBook(log, pause)
    book.begin(SCHEDULE)
    for second in range(10):
        book.arrival(second, started=True)
        ask(book, second)
    with pytest.raises(Killed):
        book.flush()
    assert whole(read(log)).offered == 3
    ask(book, 10)
    book.end()
    record = read(log)
    assert [cell.count for cell in record.cells.values()] == [1] * 11
    assert arrivals_of(record).started == 10


def test_others_run_while_a_busy_second_is_written(tmp_path: Path) -> None:
    turns = 0

    def other() -> None:
        nonlocal turns
        while True:
            gevent.sleep(0.0001)
            turns += 1

    book = SampleBook(tmp_path / "samples-0.jsonl", Breath())
    book.begin(SCHEDULE)
    for number in range(20_000):
        latency = 0.001 * (1 + number % 500)
        ask(book, number % 400, corrected_seconds=latency, service_seconds=latency)
    running = gevent.spawn(other)
    book.flush()
    running.kill()
    book.close()
    assert turns >= 3


arrival = st.tuples(
    st.integers(0, 3),
    st.sampled_from(["started", "late", "queued", "dropped", "lost"]),
    st.floats(0, 2),
)
request = st.tuples(st.integers(0, 3), st.sampled_from(list(Outcome)), st.floats(0, 2))
worker_days = st.lists(
    st.tuples(st.lists(arrival, max_size=8), st.lists(request, max_size=8)), min_size=1, max_size=3
)


def write_worker(
    log: Path, arrivals: list[tuple[int, str, float]], requests: list[tuple[int, Outcome, float]]
) -> None:
    book = SampleBook(log)
    book.begin(SCHEDULE)
    count(book, arrivals, requests)
    book.end()


def count(
    book: SampleBook,
    arrivals: list[tuple[int, str, float]],
    requests: list[tuple[int, Outcome, float]],
) -> None:
    for number, (second, what, lateness) in enumerate(arrivals):
        if what == "lost":
            book.lost(second)
        else:
            book.arrival(
                second,
                started=what != "dropped",
                late=what == "late",
                queued=what == "queued",
                lateness_seconds=lateness,
            )
        if number % 3 == 2:
            book.flush()
    for second, outcome, latency in requests:
        ask(book, second, outcome, corrected_seconds=latency, service_seconds=latency / 2)


@settings(deadline=None, max_examples=50)
@given(worker_days)
def test_merging_the_records_of_workers_is_exact_in_any_order(
    tmp_path_factory: pytest.TempPathFactory,
    days: list[tuple[list[tuple[int, str, float]], list[tuple[int, Outcome, float]]]],
) -> None:
    directory = tmp_path_factory.mktemp("record")
    logs = [directory / f"samples-{number}.jsonl" for number in range(len(days))]
    for log, (arrivals, requests) in zip(logs, days, strict=True):
        write_worker(log, arrivals, requests)
    one_log = directory / "samples-all.jsonl"
    all_arrivals = [a for arrivals, _ in days for a in arrivals]
    write_worker(one_log, all_arrivals, [r for _, requests in days for r in requests])
    wanted = read(one_log)
    for order in permutations(logs):
        merged = read(*order)
        assert merged.cells == wanted.cells
        assert merged.arrivals == wanted.arrivals
        found = arrivals_of(merged)
        assert found.scheduled == found.started + found.dropped + found.lost == len(all_arrivals)
        assert merged.finished_workers == len(days)


def test_a_follower_is_told_what_each_flush_writes() -> None:
    class Told:
        def __init__(self) -> None:
            self.requests = 0
            self.started = 0
            self.cpu: list[float] = []

        def arrivals(self, arrivals: Arrivals) -> None:
            self.started += arrivals.started

        def cell(self, key: CellKey, cell: Cell) -> None:
            self.requests += cell.count

        def health(self, sample: HealthSample) -> None:
            self.cpu.append(sample.cpu_share)

        def gave_up(self, reason: GaveUp) -> None:
            """No flush tells of it."""

    told, book = Told(), SampleBook()
    book.follow(told)
    for second in range(3):
        book.arrival(second, started=True)
        ask(book, second)
        book.flush()
        book.health(IDLE)
    assert (told.requests, told.started, told.cpu) == (3, 3, [0.2] * 3)
