from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from launchday.errors import RecordError
from launchday.ledger import Executed, Stored, read_ledger

ASKED = {"kind": "asked", "since_unix": 0, "exclusive": True}
THING = {"kind": "stored", "what": "reservation", "key": "a", "id": "1", "state": None}
COMMAND = {"kind": "executed", "key": "b", "vin": "V", "command": "unlock"}


def write(path: Path, *lines: Mapping[str, Any]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_targets_side_is_read_and_what_has_no_key_is_counted(tmp_path: Path) -> None:
    keyless = {**THING, "key": None}
    end = {"kind": "end", "lines": 3}
    write(tmp_path / "stored.jsonl", ASKED, THING, keyless, COMMAND, end)
    ledger = read_ledger(tmp_path)
    assert ledger.stored == [Stored("reservation", "a", "1")]
    assert ledger.executed == [Executed("b", "V", "unlock")]
    assert (ledger.without_key, ledger.exclusive, ledger.stored_missing) == (1, True, None)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "before the target was asked"),
        ([ASKED, THING], "breaks off"),
        ([ASKED, THING, {"kind": "end", "lines": 2}], "not as many lines"),
        ([{"kind": "missing", "reason": "it refused"}], "it refused"),
    ],
)
def test_a_side_that_is_not_whole_says_why(
    tmp_path: Path, lines: list[Mapping[str, Any]], words: str
) -> None:
    write(tmp_path / "stored.jsonl", *lines)
    assert words in (read_ledger(tmp_path).stored_missing or "")


def test_a_worker_whose_ledger_is_not_here_is_missed(tmp_path: Path) -> None:
    write(tmp_path / "ledger-0.jsonl", {"kind": "end", "lines": 0})
    write(tmp_path / "samples-0.jsonl")
    assert read_ledger(tmp_path).told_missing is None
    write(tmp_path / "samples-1.jsonl")
    assert read_ledger(tmp_path).told_missing == "only 1 of 2 generator processes kept a ledger"


@pytest.mark.parametrize("name", ["ledger-0.jsonl", "stored.jsonl"])
@pytest.mark.parametrize("line", ["[]", '{"key": "a"}', '{"kind": "stored"}', "no json"])
def test_a_damaged_ledger_is_one_sentence(tmp_path: Path, name: str, line: str) -> None:
    (tmp_path / name).write_text(line + "\n")
    with pytest.raises(RecordError, match=r"is damaged|is no JSON"):
        read_ledger(tmp_path)
