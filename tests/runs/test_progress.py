from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from launchday.record import METRICS_FILE
from launchday.runs.progress import LiveRecord
from tests.records import EPOCH, write_record


def test_progress_says_how_far_to_trust_the_generator(tmp_path: Path) -> None:
    path = write_record(
        tmp_path / "run", dropped=2, lateness={18: 0.05}, health={24: {"cpu_share": 0.9}},
        seconds=25,
    )  # fmt: skip
    with closing(LiveRecord(path)) as live:
        live.poll()
        assert live.record.schedule is not None
        look = live.progress(live.record.schedule, EPOCH + 20.5, None)
        assert look.lateness_p99_seconds == pytest.approx(0.05, rel=0.02)
        assert look.generator_cpu_share == 0.9
        assert look.not_started == 25 * 2
        later = live.progress(live.record.schedule, EPOCH + 25.5, None)
        assert later.lateness_p99_seconds == pytest.approx(0.001, rel=0.02)


def test_progress_follows_each_worker_of_a_growing_record(tmp_path: Path) -> None:
    path = write_record(tmp_path / "run", seconds=5)
    second = write_record(tmp_path / "other", seconds=5, health={4: {"cpu_share": 0.8}})
    with closing(LiveRecord(path)) as live:
        live.poll()
        alone = live.progress(live.record.schedules[0], EPOCH + 5, None)
        (second / "samples-0.jsonl").rename(path / "samples-1.jsonl")
        live.poll()
        both = live.progress(live.record.schedules[0], EPOCH + 5, None)
    assert sorted(live.record.health) == ["0", "1"]
    assert alone.generator_cpu_share == 0.2
    assert both.generator_cpu_share == 0.8
    assert both.not_started == 0


def test_before_the_first_second_nothing_is_claimed(tmp_path: Path) -> None:
    with closing(LiveRecord(write_record(tmp_path / "run", seconds=0))) as live:
        live.poll()
        look = live.progress(live.record.schedules[0], EPOCH, None)
    assert (look.lateness_p99_seconds, look.generator_cpu_share) == (None, None)


def test_the_metrics_of_the_target_are_followed_line_by_line(tmp_path: Path) -> None:
    path = write_record(tmp_path / "run", seconds=0)
    with closing(LiveRecord(path)) as live, (path / METRICS_FILE).open("a") as log:
        for text in (
            '{"unix": 1, "values": {"a": 1}}\n{"unix"',
            ': 2, "values": {}, "error": "x"}\n',
        ):
            log.write(text)
            log.flush()
            live.poll()
    assert [line["unix"] for line in live.record.metrics] == [1, 2]
    assert live.record.metrics[1]["error"] == "x"
