"""When faults were in, from the events of a record."""

from __future__ import annotations

from pathlib import Path

from launchday.record import read_record
from launchday.timeline import fault_spans
from tests.records import EPOCH, write_record


def event(name: str, second: float, link: str = "gateway") -> dict[str, object]:
    return {"event": name, "link": link, "fault": "down", "unix": EPOCH + second}


def test_a_fault_that_comes_and_goes_has_a_span_each_time(tmp_path: Path) -> None:
    faults = (
        event("planned", 0),
        event("applied", 10),
        event("applied", 11, "database"),
        event("undone", 12),
        event("applied", 15),
        event("undone", 17),
        event("updated", 18, "database"),
    )
    record = read_record(write_record(tmp_path / "run", seconds=1, faults=faults))
    assert fault_spans(record) == [
        ("down on gateway", 10, 12),
        ("down on database", 11, None),
        ("down on gateway", 15, 17),
    ]
