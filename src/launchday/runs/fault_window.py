"""When the faults of an experiment start and end in the schedule of a scenario: pure."""

from __future__ import annotations

from launchday.chaos.experiment import Experiment
from launchday.errors import PreflightError
from launchday.record import Schedule


def fault_window(schedule: Schedule, experiment: Experiment) -> tuple[float, float]:
    """Start and end of the experiment's window, in seconds of the schedule.

    Raises:
        PreflightError: the scenario lacks the phase, or the window does not fit; names both.
    """
    start = _start_of_phase(schedule, experiment) + experiment.after_seconds
    end = start + experiment.duration_seconds
    if end >= schedule.duration_seconds:
        raise PreflightError(
            f"experiment {experiment.title!r} ends at {end:g} s, after the schedule of the "
            f"scenario ({schedule.duration_seconds:g} s): nobody would see the recovery"
        )
    return start, end


def _start_of_phase(schedule: Schedule, experiment: Experiment) -> float:
    if experiment.phase is None:
        return 0.0
    for phase in schedule.phases:
        if phase.name != experiment.phase:
            continue
        lasts = phase.end_seconds - phase.start_seconds
        if experiment.after_seconds >= lasts:
            raise PreflightError(
                f"experiment {experiment.title!r} starts {experiment.after_seconds:g} s into the "
                f"phase {phase.name!r}, which lasts only {lasts:g} s: make the phase longer"
            )
        return phase.start_seconds
    known = ", ".join(phase.name for phase in schedule.phases) or "none"
    raise PreflightError(
        f"experiment {experiment.title!r} starts in phase {experiment.phase!r}, which the scenario "
        f"does not have; its phases are: {known}"
    )
