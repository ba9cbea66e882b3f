"""What a worker that was killed left in the record, and what of its arrivals is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from launchday.load.plan import Account
from launchday.load.samples import SampleBook
from launchday.record import Schedule, read_lines

_FATES = ("started", "dropped", "lost", "late")


def accounts_in(record: Path | None, worker: int, planned: Schedule) -> dict[int, Account] | None:
    """What a worker's samples log says became of its arrivals, by second.

    None if there is no log of this test, as on a machine that is not the worker's.

    Raises:
        RecordError: it is damaged before its last line.
    """
    lines = read_lines(record / f"samples-{worker}.jsonl") if record else iter(())
    first: Mapping[str, Any] = next(lines, {})
    if first.get("epoch_unix") != planned.epoch_unix:
        return None
    counts: dict[int, Counter[str]] = {}
    for line in lines:
        for row in line.get("arrivals", ()):
            fates = {fate: row[fate] for fate in _FATES}
            counts.setdefault(row["second"], Counter()).update(fates)
    return {second: Account(**fates) for second, fates in counts.items()}


def record_lost(record: Path | None, planned: Schedule, lost: Mapping[int, int]) -> None:
    """Write the lost arrivals of each second to samples-master.jsonl; no file if there are none.

    Raises:
        RecordError: it cannot be written.
    """
    counts = {second: count for second, count in lost.items() if count > 0}
    if record is None or not counts:
        return
    book = SampleBook(record / "samples-master.jsonl")
    book.begin(replace(planned, expected_arrivals=0, workers=0))
    for second, count in counts.items():
        book.lost(second, count)
    book.end()
