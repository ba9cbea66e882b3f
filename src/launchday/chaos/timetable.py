"""When each fault of an experiment is applied, changed and undone: a pure function of its data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from launchday.chaos.experiment import Experiment
from launchday.chaos.faults import SIZES, Fault, Flapping

RAMP_STEP_SECONDS = 0.5
MOST_RAMP_STEPS = 40


class Action(StrEnum):
    """What a step does with its fault."""

    APPLY = "apply"
    UPDATE = "update"
    UNDO = "undo"


@dataclass(frozen=True)
class Step:
    """One thing to do, `at_seconds` from the start of the experiment's window.

    `number` is the fault's place in the experiment, from 0. After the step the toxic has these
    `attributes` and this `toxicity`; an undo has those of the whole fault.
    """

    at_seconds: float
    number: int
    fault: Fault
    action: Action
    attributes: Mapping[str, int]
    toxicity: float

    @property
    def order(self) -> tuple[float, bool, int]:
        """Sorts steps as they are done: at one moment undo comes first, then by number."""
        return self.at_seconds, self.action is not Action.UNDO, self.number

    @property
    def whole(self) -> bool:
        """Whether the fault is in its full size after this step."""
        size = (dict(self.attributes), self.toxicity)
        return self.action != Action.UNDO and size == (
            dict(self.fault.attributes),
            self.fault.toxicity,
        )


def timetable(experiment: Experiment) -> tuple[Step, ...]:
    """Every step of `experiment` in order; at one moment, undo comes first, then by number.

    A ramp over r seconds has n = ceil(r / 0.5) updates, at most 40, at the times k r/n for k = 1
    to n; the toxic starts with the share 1/(n+1) of its size and has (k+1)/(n+1) after update k.
    """
    steps = [
        step
        for number, fault in enumerate(experiment.faults)
        for step in _of_fault(number, fault, fault.ends_seconds(experiment.duration_seconds))
    ]
    return tuple(sorted(steps, key=lambda step: step.order))


def active_seconds(experiment: Experiment) -> tuple[float, ...]:
    """How long each fault of `experiment` is to be in, in its order, in seconds."""
    seconds = [0.0] * len(experiment.faults)
    for step in timetable(experiment):
        if step.action is Action.APPLY:
            seconds[step.number] -= step.at_seconds
        elif step.action is Action.UNDO:
            seconds[step.number] += step.at_seconds
    return tuple(seconds)


def _of_fault(number: int, fault: Fault, end_seconds: float) -> Iterator[Step]:
    if fault.flapping:
        for start, end in _flaps(fault.flapping, fault.start_seconds, end_seconds):
            yield _step(start, number, fault, Action.APPLY)
            yield _step(end, number, fault, Action.UNDO)
        return
    count = min(MOST_RAMP_STEPS, math.ceil(fault.ramp_seconds / RAMP_STEP_SECONDS))
    yield _step(fault.start_seconds, number, fault, Action.APPLY, 1 / (count + 1))
    for update in range(1, count + 1):
        at = fault.start_seconds + fault.ramp_seconds * update / count
        yield _step(at, number, fault, Action.UPDATE, (update + 1) / (count + 1))
    yield _step(end_seconds, number, fault, Action.UNDO)


def _flaps(flapping: Flapping, start: float, end: float) -> Iterator[tuple[float, float]]:
    cycle = flapping.on_seconds + flapping.off_seconds
    for number in itertools.count():
        on = start + number * cycle
        if on >= end:
            return
        yield on, min(end, on + flapping.on_seconds)


def _step(at: float, number: int, fault: Fault, action: Action, share: float = 1.0) -> Step:
    attributes, toxicity = fault.attributes, fault.toxicity
    sizes = SIZES.get(fault.toxic, ())
    if share < 1 and sizes:
        attributes = {
            name: int(value * share) if name in sizes else value
            for name, value in attributes.items()
        }
    elif share < 1:
        toxicity = toxicity * share
    return Step(at, number, fault, action, attributes, toxicity)
