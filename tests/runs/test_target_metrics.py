"""Rates of the target's counters, on the seconds of the schedule."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from launchday.record import read_record
from launchday.runs.target_metrics import TargetMetrics, divided
from tests.records import EPOCH, write_record

CALLS = "calls_total"


def metrics(path: Path, *scrapes: tuple[float, Mapping[str, float]]) -> TargetMetrics:
    write_record(path)
    lines = [json.dumps({"unix": EPOCH + at, "values": values}) for at, values in scrapes]
    (path / "metrics.jsonl").write_text("".join(line + "\n" for line in lines))
    record = read_record(path)
    assert record.schedule is not None
    return TargetMetrics(record, record.schedule, frozenset({CALLS, "limit"}))


def test_a_counter_between_two_scrapes_is_taken_to_grow_evenly(tmp_path: Path) -> None:
    found = metrics(tmp_path, (-0.5, {CALLS: 0}), (1.5, {CALLS: 20}), (3.5, {CALLS: 20}))
    rates = found.rates(CALLS)[""]
    assert rates[:4] == [10, 5, 0, None]
    assert len(rates) == found.seconds


def test_what_was_not_scraped_for_long_is_not_known(tmp_path: Path) -> None:
    found = metrics(tmp_path, (0, {CALLS: 0}), (10, {CALLS: 100}), (12, {CALLS: 120}))
    assert found.rates(CALLS)[""][9:13] == [None, 10, 10, None]


def test_a_counter_that_begins_anew_is_no_negative_rate(tmp_path: Path) -> None:
    scrapes = [(0.0, 5.0), (1.0, 7.0), (2.0, 1.0), (3.0, 4.0), (4.0, 4.0)]
    found = metrics(tmp_path, *((at, {CALLS: value}) for at, value in scrapes))
    assert found.rates(CALLS)[""][:3] == [2, None, 3]


def test_series_are_summed_up_by_the_labels_asked_for(tmp_path: Path) -> None:
    def scrape(factor: float) -> dict[str, float]:
        return {
            f'{CALLS}{{dependency="a",outcome="ok"}}': 10 * factor,
            f'{CALLS}{{dependency="a",outcome="error"}}': factor,
            f'{CALLS}{{dependency="b",outcome="ok"}}': 5 * factor,
            "limit": 30,
        }

    found = metrics(tmp_path, (0, scrape(0)), (1, scrape(1)), (2, scrape(2)))
    by = {name: values[0] for name, values in found.rates(CALLS, "dependency").items()}
    assert by == {"a": 11, "b": 5}
    ok = found.rates(CALLS, "dependency", outcome="ok")
    assert divided(ok["a"], found.rates(CALLS, "dependency")["a"])[0] == 10 / 11
    assert found.gauges("limit")[""][:2] == [30, 30]


def test_what_the_target_does_not_show_is_nothing(tmp_path: Path) -> None:
    assert metrics(tmp_path, (0, {"limit": float("nan")})).gauges("limit") == {}
