from __future__ import annotations

from pathlib import Path

import pytest

from launchday.ledger import Told, read_ledger
from launchday.load.answers import json_object
from launchday.load.http import Response
from launchday.load.ledger_book import LedgerBook
from launchday.outcomes import Outcome
from launchday.record import read_lines


def book(run: Path) -> LedgerBook:
    made = LedgerBook(run / "ledger-0.jsonl")
    made.begin()
    return made


def test_what_is_noted_is_read_back_whole_once_the_book_ended(tmp_path: Path) -> None:
    ledger = book(tmp_path)
    ledger.note("a", "reserve", Outcome.OK, 201, {"id": 7, "state": "reserved"})
    ledger.flush()
    ledger.note("b", "unlock", Outcome.SLOW, 202, {"command_id": "b", "state": {"not": "a word"}})
    ledger.note("a", "reserve", Outcome.TIMEOUT)
    ledger.end()
    read = read_ledger(tmp_path)
    assert read.told_missing is None
    assert read.told == [
        Told("a", "reserve", "ok", 201, "7", "reserved"),
        Told("b", "unlock", "slow", 202, "b"),
        Told("a", "reserve", "timeout", 0),
    ]
    times = [line["unix"] for line in read_lines(tmp_path / "ledger-0.jsonl") if "unix" in line]
    assert times == sorted(times)


def test_a_second_is_one_write_and_none_before_the_flush(tmp_path: Path) -> None:
    ledger = book(tmp_path)
    for number in range(100):
        ledger.note(f"k{number}", "reserve", Outcome.OK, 201)
    assert (tmp_path / "ledger-0.jsonl").read_bytes() == b""
    ledger.flush()
    assert len(list(read_lines(tmp_path / "ledger-0.jsonl"))) == 100
    ledger.close()


def test_a_generator_that_was_killed_is_noticed(tmp_path: Path) -> None:
    ledger = book(tmp_path)
    ledger.note("a", "reserve", Outcome.OK, 201)
    ledger.flush()
    with (tmp_path / "ledger-0.jsonl").open("a") as file:
        file.write('{"key":"b","endp')
    ledger.close()
    read = read_ledger(tmp_path)
    assert [told.key for told in read.told] == ["a"]
    assert read.told_missing == "the generator was killed before ledger-0.jsonl was whole"


def test_without_a_record_nothing_is_noted_and_no_body_need_be_parsed() -> None:
    ledger = LedgerBook()
    ledger.begin()
    assert not ledger.kept
    ledger.note("a", "reserve", Outcome.OK, 201)
    ledger.end()


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b'{"id":"x"}', {"id": "x"}), (b"[1]", None), (b"no json", None), (b"\xff", None)],
)
def test_only_a_json_object_can_promise_an_id(body: bytes, expected: object) -> None:
    response = Response(200, body)
    assert json_object(response) == expected
