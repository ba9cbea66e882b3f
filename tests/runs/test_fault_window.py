"""When faults start and end in a schedule: by the name of a phase, or by time."""

from __future__ import annotations

import pytest

from launchday.chaos.experiment import Experiment, down
from launchday.errors import PreflightError
from launchday.rate_curve import Phase
from launchday.record import Schedule
from launchday.runs.fault_window import fault_window

SCHEDULE = Schedule(
    epoch_unix=1000.0,
    duration_seconds=60.0,
    seed=1,
    points=((0.0, 10.0), (60.0, 10.0)),
    phases=(Phase("quiet", 0.0, 20.0), Phase("peak", 20.0, 40.0)),
    expected_arrivals=600,
    request_timeout_seconds=1.0,
    late_after_seconds=0.01,
)


def experiment(phase: str | None, after: float, lasts: float) -> Experiment:
    return Experiment("Down", "d", (down("db"),), after, lasts, phase=phase)


@pytest.mark.parametrize(
    ("phase", "after", "window"),
    [("peak", 5, (25, 35)), ("quiet", 0, (0, 10)), (None, 7.5, (7.5, 17.5)), (None, 45, (45, 55))],
)
def test_a_window_counts_from_its_phase_or_from_the_start(
    phase: str | None, after: float, window: tuple[float, float]
) -> None:
    assert fault_window(SCHEDULE, experiment(phase, after, 10)) == window


@pytest.mark.parametrize(
    ("phase", "after", "lasts", "words"),
    [
        ("storm", 0, 1, "'storm', which the scenario does not have; its phases are: quiet, peak"),
        ("peak", 20, 1, "20 s into the phase 'peak', which lasts only 20 s"),
        ("peak", 19, 30, r"ends at 69 s, after the schedule of the scenario \(60 s\)"),
        (None, 59, 1, "nobody would see the recovery"),
    ],
)
def test_a_window_that_does_not_fit_is_refused_in_words(
    phase: str | None, after: float, lasts: float, words: str
) -> None:
    with pytest.raises(PreflightError, match=words):
        fault_window(SCHEDULE, experiment(phase, after, lasts))
