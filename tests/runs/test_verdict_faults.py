"""Faults that were not there, not seen or met nobody are never green: the verdict on a record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from launchday.record import Record, read_record
from launchday.runs import fault_checks
from launchday.runs.verdict import judge
from tests.records import COMPLETE_FAULT, EPOCH, write_record

Event = Mapping[str, Any]


def of(
    link: str, *events: str, at: float = 15, lasts: float = 5, **more: object
) -> tuple[Event, ...]:
    """Events of one fault on `link`, which is in for `lasts` seconds."""
    seconds = {"undone": at + lasts}
    return tuple(
        {
            "event": event,
            "link": link,
            "fault": f"fault of {link}",
            "unix": EPOCH + seconds.get(event, at),
            **more,
        }
        for event in events
    )


def verdict(tmp_path: Path, *faults: Event) -> tuple[int, str]:
    judged = judge(read_record(write_record(tmp_path / "run", faults=faults)))
    return judged.exit_code, " ".join(judged.reasons)


def record(tmp_path: Path, *faults: Event) -> Record:
    return read_record(write_record(tmp_path / "run", faults=faults))


WHOLE = ("planned", "applied", "verified", "undone")


def test_a_fault_that_no_probe_looked_for_is_4(tmp_path: Path) -> None:
    code, said = verdict(tmp_path, *of("gw", "planned", "applied", "undone"))
    assert (code, "No probe has looked for" in said, "fault of gw on gw" in said) == (4, True, True)


def test_a_fault_that_no_probe_looked_for_is_4_beside_one_that_was_seen(tmp_path: Path) -> None:
    unseen = of("db", "planned", "applied", "undone")
    code, said = verdict(tmp_path, *of("gw", *WHOLE, effect=True), *unseen)
    assert (code, "fault of db on db" in said) == (4, True)


def test_an_effect_that_nobody_could_tell_is_4(tmp_path: Path) -> None:
    assert verdict(tmp_path, *of("gw", *WHOLE, effect=None))[0] == 4


def test_a_flapping_fault_does_not_stand_in_for_one_that_was_never_applied(tmp_path: Path) -> None:
    flaps = of("gw", *WHOLE, effect=True) + of("gw", "applied", "undone", at=21) * 2
    code, said = verdict(tmp_path, *flaps, *of("db", "planned"))
    assert code == 2
    assert "1 of 2 planned fault(s) were applied. Not applied: fault of db on db." in said


def test_one_undone_twice_does_not_stand_in_for_one_that_is_still_there(tmp_path: Path) -> None:
    left = of("db", "planned", "applied", "verified", effect=True)
    undone = of("gw", *WHOLE, "undone", effect=True)
    code, said = verdict(tmp_path, *undone, *left)
    assert (code, "fault of db on db" in said, "fault of gw" in said) == (5, True, False)


def test_a_fault_that_another_one_hid_is_said_to_be_hidden(tmp_path: Path) -> None:
    hidden = of("db", *WHOLE, effect=None, reason="hidden by timeout: only read back")
    found = fault_checks.had_effect(record(tmp_path, *of("gw", *WHOLE, effect=True), *hidden))
    assert found.held
    assert "saw the effect of 1 fault(s); another fault hid fault of db on db" in found.sentence


@pytest.mark.parametrize(("lasts", "code"), [(3.9, 2), (4.1, 0)])
def test_a_fault_that_was_in_for_much_less_than_planned_is_2(
    tmp_path: Path, lasts: float, code: int
) -> None:
    planned = of("gw", "planned", active_seconds=5.0)
    rest = of("gw", "applied", "verified", "undone", lasts=lasts, effect=True)
    found, said = verdict(tmp_path, *planned, *rest)
    assert found == code
    assert ("was in for 3.9 s of the 5.0 s that were planned" in said) == (code == 2)


def test_a_fault_that_somebody_took_away_early_is_4_and_not_just_too_short(tmp_path: Path) -> None:
    planned = of("gw", "planned", active_seconds=5.0)
    rest = of("gw", "applied", "verified", "undone", lasts=1, effect=False, reason="taken away")
    code, said = verdict(tmp_path, *planned, *rest)
    assert (code, "taken away" in said) == (4, True)


USED = {"event": "used", "link": "gateway", "counted": True, "live": True, "unix": EPOCH + 20}


@pytest.mark.parametrize(
    ("used", "held", "words"),
    [
        ({"bytes_of_others": 0, "watched_seconds": 14.0}, False, "Nobody but launchday used"),
        ({"bytes_of_others": 9, "watched_seconds": 14.0}, True, "sent 9 bytes through gateway"),
        ({"bytes_of_others": 0, "watched_seconds": 2.0}, None, "for only 2.0 s"),
        (
            {"bytes_of_others": 0, "watched_seconds": 14.0, "live": False},
            None,
            "counts a connection when it ends",
        ),
        ({"counted": False}, None, "no counters (start it with -proxy-metrics)"),
    ],
    ids=["nobody", "somebody", "too short", "counted late", "no counters"],
)
def test_a_link_that_nobody_used_is_4_and_one_of_which_nobody_knows_is_said_so(
    tmp_path: Path, used: Event, held: bool | None, words: str
) -> None:
    events = (*COMPLETE_FAULT, {**USED, **used})
    (check,) = fault_checks.met_traffic(record(tmp_path, *events))
    assert (check.held, words in check.sentence) == (held, True)
    assert verdict(tmp_path / "again", *events)[0] == (4 if held is False else 0)
