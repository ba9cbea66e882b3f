"""Each way in which a generator can be dishonest: inconclusive, never better, with the knob."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.counts import Arrivals
from launchday.outcomes import Outcome
from launchday.record import Record, RunInfo, Schedule, read_record
from launchday.runs.compare import side_by_side, summarise
from launchday.runs.conclude import conclude
from launchday.runs.report import render_report
from launchday.runs.validity import checks, honesty
from launchday.runs.verdict import Verdict, VerdictOutcome, judge
from tests.records import IDLE, collapsing, shedding, write_record

Spoil = Callable[[Record], Record]
PEAK = range(11, 31)


def failing(verdict: Verdict) -> list[str]:
    return [check.name for check in verdict.checks if check.held is False]


def late(seconds: range, cpu_share: float = 0.2, stall: float = 0.0) -> Spoil:
    """Arrivals of these seconds start 50 ms late."""

    def spoil(record: Record) -> Record:
        for second in seconds:
            found = record.arrivals[second]
            found.lateness.counts.clear()
            found.lateness.record(0.05, found.started)
        record.health["0"] = [
            replace(
                sample,
                cpu_share=cpu_share if sample.second in seconds else 0.2,
                loop_stall_seconds=stall if sample.second in seconds else 0.0,
                lateness_p99_seconds=0.05 if sample.second in seconds else 0.001,
            )
            for sample in record.health["0"]
        ]
        return record

    return spoil


def queued(record: Record) -> Record:
    for second in PEAK:
        record.arrivals[second].queued = 200
    return late(PEAK)(record)


def not_started(dropped: int, lost: int) -> Spoil:
    def spoil(record: Record) -> Record:
        found = record.arrivals[20]
        found.started -= dropped + lost
        found.dropped, found.lost = dropped, lost
        return record

    return spoil


def unaccounted(arrivals: int) -> Spoil:
    def spoil(record: Record) -> Record:
        first = record.schedules[0]
        more = first.expected_arrivals + arrivals
        return replace(record, schedules=[replace(first, arrivals_of_all=more)])

    return spoil


def of_workers(workers: int, ended: int, masters: int = 0) -> Spoil:
    def spoil(record: Record) -> Record:
        first = replace(record.schedules[0], workers=workers)
        shares = [first, *[replace(first, expected_arrivals=0)] * (workers - 1)]
        shares += [replace(first, expected_arrivals=0, workers=0)] * masters
        return replace(record, schedules=shares, finished_workers=ended + masters)

    return spoil


def unseen_worker(record: Record) -> Record:
    """A worker that was killed before it wrote its first line."""
    return replace(record, schedules=[replace(record.schedules[0], workers=2)])


def sampled(**changes: object) -> Spoil:
    def spoil(record: Record) -> Record:
        record.health["0"][15] = replace(IDLE, second=15, **changes)  # type: ignore[arg-type] # passed on
        return record

    return spoil


def failing_connection(spoil: Spoil) -> Spoil:
    def both(record: Record) -> Record:
        cell = next(iter(record.cells.values()))
        record.cells[14, "state", "critical", Outcome.CONNECTION.value] = replace(cell, count=1)
        return spoil(record)

    return both


@pytest.mark.parametrize(
    ("spoil", "check", "words"),
    [
        (late(PEAK, cpu_share=0.97), "generator CPU", "used 97% of a core. Use --processes 2"),
        (late(PEAK), "arrivals on time", "20 of 52 seconds (at most 25%); in the worst it was 50"),
        (late(PEAK, stall=0.3), "arrivals on time", "for up to 300 ms (garbage collection: 0 ms)"),
        (queued, "arrivals on time", "4000 arrivals waited for a user: let the pool be larger"),
        (not_started(20, 0), "arrivals started", "20 dropped, 0 lost with a worker (at most 0.1%)"),
        (not_started(20, 0), "arrivals started", "requests_per_journey"),
        (not_started(0, 20), "arrivals started", "Find out why a worker went away"),
        (unaccounted(1), "ledger closes", "of 1 the record does not say what became of them"),
        (unaccounted(-1), "ledger closes", "1 too many: two workers ran the same share"),
        (of_workers(4, 3), "workers", "1 of 4 generator processes did not write their last line"),
        (unseen_worker, "workers", "1 of 2 generator processes did not write their last line"),
        (sampled(clock_step_seconds=3.2), "clock", "set by +3.20 s during the run"),
        (sampled(clock_step_seconds=-0.06), "clock", "set by -0.06 s during the run"),
        (sampled(sockets_refused=7), "generator sockets", "7 requests refused by its own system"),
        (
            failing_connection(sampled(open_files=1024)),
            "generator sockets",
            "1024 of 1024 open files",
        ),
        (failing_connection(sampled(ports_used=28200)), "generator sockets", "ip_local_port_range"),
    ],
)  # fmt: skip
def test_each_dishonesty_is_inconclusive_and_says_which_knob_to_turn(
    tmp_path: Path, spoil: Spoil, check: str, words: str
) -> None:
    verdict = judge(spoil(read_record(write_record(tmp_path / "run"))))
    assert (verdict.outcome, verdict.exit_code) == (VerdictOutcome.INCONCLUSIVE, 2)
    assert check in failing(verdict)
    assert any(words in reason for reason in verdict.reasons), verdict.reasons


@pytest.mark.parametrize(
    "spoil",
    [
        late(range(11, 24)),  # a quarter of the seconds: bad luck, and it makes nothing look better
        not_started(12, 0),  # 0.1 % of 12 145
        of_workers(4, 4),
        of_workers(2, 2, masters=1),
        sampled(clock_step_seconds=0.01),  # a clock that is slewed
        sampled(cpu_share=1.0),  # busy, and on time all the same
        sampled(open_files=1024),  # a pool just below its limit
        sampled(open_files=None, open_files_limit=None, ports_used=None, ports=None),
        failing_connection(sampled(open_files=100)),
    ],
)
def test_what_spoils_nothing_decides_nothing(tmp_path: Path, spoil: Spoil) -> None:
    record = spoil(read_record(write_record(tmp_path / "run")))
    assert all(check.held is not False for check in checks(record, honesty(record)))


def test_a_dishonest_run_is_never_better_than_a_breach(tmp_path: Path) -> None:
    breached = read_record(write_record(tmp_path / "run", collapsing))
    assert judge(breached).exit_code == 1
    assert judge(late(PEAK)(breached)).exit_code == 2


def test_one_late_second_is_not_enough_however_short_the_run(tmp_path: Path) -> None:
    record = read_record(write_record(tmp_path / "run"))
    record.arrivals = {second: record.arrivals[second] for second in (1, 2, 3)}
    record = late(range(1, 2))(record)
    found = honesty(record)
    assert (found.judged_seconds, found.late_seconds) == (3, (1,))
    assert "arrivals on time" not in [c.name for c in checks(record, found) if c.held is False]


def test_seconds_with_a_few_arrivals_are_not_judged_by_one_that_was_late() -> None:
    info = RunInfo("r", "s", "t", 0.0)
    schedule = Schedule(0.0, 60.0, (), ((0, 10), (60, 10)), 60 * 10, 1, 1.0, 0.01)
    record = Record(Path(), info, [schedule], 1, {}, {}, [], [])
    for second in range(60):
        counted = record.arrivals[second] = Arrivals(10, 10)
        counted.lateness.record(0.05, 10)
    found = honesty(record)
    assert found.judged_seconds == 0
    judged = {check.name: check.held for check in checks(record, found)}
    assert judged["arrivals on time"] is None
    assert judged["generator CPU"] is None


def test_a_record_without_the_generators_numbers_is_judged_as_before(tmp_path: Path) -> None:
    record = read_record(write_record(tmp_path / "run"))
    old = replace(record, health={})
    for counted in old.arrivals.values():
        counted.lateness.counts.clear()
    verdict = judge(old)
    assert verdict.exit_code == 0
    html = render_report(old, verdict)
    assert 'data-panel="arrivals"' in html
    assert 'data-panel="cpu"' not in html
    assert 'data-panel="lateness"' not in html
    assert "it is of an older launchday" in html
    unjudged = {check.name for check in verdict.checks if check.held is None}
    assert {"arrivals on time", "generator CPU", "generator sockets", "clock"} <= unjudged
    assert failing(judge(replace(old, schedules=[replace(old.schedules[0], arrivals_of_all=1)])))


def test_the_rules_can_be_stricter_and_laxer(tmp_path: Path) -> None:
    record = late(range(11, 15))(read_record(write_record(tmp_path / "run")))
    assert judge(record).exit_code == 0
    strict = replace(record.info.rules, late_seconds_share=0.05)
    assert judge(replace(record, info=replace(record.info, rules=strict))).exit_code == 2
    lax = replace(strict, lateness_p99_seconds=0.1)
    assert judge(replace(record, info=replace(record.info, rules=lax))).exit_code == 0


@settings(deadline=None, max_examples=100)
@given(
    started=st.integers(0, 50),
    dropped=st.integers(0, 50),
    lost=st.integers(0, 50),
    off_by=st.integers(-3, 3),
)
def test_the_ledger_closes_to_the_unit(started: int, dropped: int, lost: int, off_by: int) -> None:
    scheduled = started + dropped + lost
    schedule = Schedule(
        0.0, 60.0, (), ((0, 10), (60, 10)), 0, 1, 1.0, 0.01, arrivals_of_all=scheduled + off_by
    )
    info = RunInfo("r", "s", "t", 0.0, ended="completed")
    record = Record(Path(), info, [schedule], 1, {}, {}, [], [])
    record.arrivals[0] = Arrivals(scheduled, started, 0, dropped, 0, lost)
    found = honesty(record)
    assert found.unaccounted == off_by
    held = {check.name: check.held for check in checks(record, found)}
    assert held["ledger closes"] is (off_by == 0)


def test_the_report_answers_whether_the_generator_was_honest(tmp_path: Path) -> None:
    record, _ = conclude(write_record(tmp_path / "good"))
    html = (record.path / "report.html").read_text()
    assert "Was the generator honest?" in html
    assert "Yes. The generator started 100.0% of the arrivals in time" in html
    record, _ = conclude(write_record(tmp_path / "bad", dropped=20))
    html = (record.path / "report.html").read_text()
    assert "No. The generator started" in html
    assert "let the pool be larger" in html


def test_the_verdict_as_json_carries_the_generators_numbers(tmp_path: Path) -> None:
    path = write_record(tmp_path / "run", dropped=1, lateness={20: 0.05})
    conclude(path)
    written = json.loads((path / "verdict.json").read_text())["generator"]
    assert written == json.loads(json.dumps(asdict(honesty(read_record(path)))))
    assert (written["expected"], written["dropped"], written["unaccounted"]) == (12145, 52, 0)
    assert written["late_seconds"] == [20]
    assert written["cpu_share"] == IDLE.cpu_share


def test_the_side_by_side_says_how_late_the_generator_was(tmp_path: Path) -> None:
    record = read_record(write_record(tmp_path / "run", shedding))
    summary = summarise(record, judge(record))
    assert summary is not None
    row = dict(side_by_side([summary]))["generator kept its schedule"]
    assert row == ["100.0% of arrivals in time, p99 1.0 ms late"]
