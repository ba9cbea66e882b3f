"""Void measurements are made again, and true failures are not hidden by that."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.void import ATTEMPTS, PAUSE_SECONDS, Ticks, measure, stolen_and_wanted

QUIET, STOLEN = 0, 50


class Machine:
    def __init__(self, *stolen: int, passes_at: int | None = None) -> None:
        self.stolen = list(stolen)
        self.ticks: Ticks = (0, 0)
        self.passes_at = passes_at
        self.calls = 0
        self.paused: list[float] = []

    def once(self) -> None:
        self.ticks = (self.ticks[0] + self.stolen[self.calls], self.ticks[1] + 100)
        self.calls += 1
        assert self.calls == self.passes_at

    def measure(self) -> None:
        measure(self.once, lambda: self.ticks, self.paused.append)


def test_a_failure_on_a_machine_that_was_there_counts_at_once() -> None:
    machine = Machine(QUIET)
    with pytest.raises(AssertionError):
        machine.measure()
    assert machine.calls == 1


def test_a_failure_on_a_stolen_machine_is_measured_again_until_it_holds() -> None:
    machine = Machine(STOLEN, STOLEN, STOLEN, passes_at=3)
    machine.measure()
    assert machine.calls == 3
    assert machine.paused == [PAUSE_SECONDS] * 2


def test_a_failure_that_stays_when_the_machine_is_back_counts() -> None:
    machine = Machine(STOLEN, QUIET)
    with pytest.raises(AssertionError):
        machine.measure()
    assert machine.calls == 2


def test_what_was_always_void_is_skipped_and_says_why() -> None:
    machine = Machine(*[STOLEN] * ATTEMPTS)
    with pytest.raises(pytest.skip.Exception, match="stole 50% of the processor"):
        machine.measure()


def test_what_holds_on_a_stolen_machine_holds() -> None:
    machine = Machine(STOLEN, passes_at=1)
    machine.measure()
    assert machine.calls == 1


def test_the_line_of_proc_stat_is_read_as_proc_5_says(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  10 1 20 1000 500 3 4 7 99 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    assert stolen_and_wanted(stat) == (7, 45)
    assert stolen_and_wanted(tmp_path / "none") == (0, 0)
