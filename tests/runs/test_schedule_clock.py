from __future__ import annotations

import time

import pytest

from launchday.runs.schedule_clock import ScheduleClock


@pytest.mark.parametrize("step_seconds", [-8.0, 100.0])
def test_a_step_of_the_clock_moves_nothing(
    monkeypatch: pytest.MonkeyPatch, step_seconds: float
) -> None:
    clock = ScheduleClock(time.time() - 50)
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() + step_seconds)
    assert 50 <= clock.elapsed_seconds() < 57
