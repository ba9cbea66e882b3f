from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.chaos.experiment import (
    Experiment,
    Fault,
    Flapping,
    bandwidth,
    down,
    latency,
    timeout,
)
from launchday.chaos.faults import SIZES
from launchday.chaos.timetable import MOST_RAMP_STEPS, Action, Step, active_seconds, timetable


def steps(*faults: Fault, lasts: float = 60.0) -> tuple[Step, ...]:
    return timetable(Experiment("t", "d", faults, 0, lasts))


def seen(*faults: Fault, lasts: float = 60.0) -> list[tuple[float, int, str]]:
    return [(s.at_seconds, s.number, s.action.value) for s in steps(*faults, lasts=lasts)]


def test_a_plain_fault_lasts_for_the_whole_window() -> None:
    assert seen(down("a")) == [(0, 0, "apply"), (60, 0, "undo")]


def test_faults_start_and_end_at_times_of_their_own() -> None:
    first = down("a", start_seconds=5, duration_seconds=10)
    second = down("b", start_seconds=2)
    assert seen(first, second) == [
        (2, 1, "apply"),
        (5, 0, "apply"),
        (15, 0, "undo"),
        (60, 1, "undo"),
    ]


def test_a_fault_that_follows_another_one_starts_after_its_undo() -> None:
    first = timeout("a", duration_seconds=10)
    second = timeout("a", start_seconds=10)
    assert seen(second, first)[1:3] == [(10, 1, "undo"), (10, 0, "apply")]


def test_a_flapping_fault_ends_in_each_cycle_and_with_the_window() -> None:
    flaps = down("a", start_seconds=1, flapping=Flapping(2, 3))
    assert seen(flaps, lasts=12.0) == [
        (1, 0, "apply"),
        (3, 0, "undo"),
        (6, 0, "apply"),
        (8, 0, "undo"),
        (11, 0, "apply"),
        (12, 0, "undo"),
    ]


def test_a_latency_grows_in_size_and_a_cap_in_the_share_of_connections() -> None:
    slow = latency("a", latency_ms=400, jitter_ms=100, toxicity=0.5, ramp_seconds=1)
    sizes = [(s.at_seconds, s.attributes["latency"], s.attributes["jitter"]) for s in steps(slow)]
    assert sizes == [(0, 133, 33), (0.5, 266, 66), (1, 400, 100), (60, 400, 100)]
    assert {s.toxicity for s in steps(slow)} == {0.5}
    capped = bandwidth("a", rate_kbps=10, toxicity=0.6, ramp_seconds=1)
    assert [s.toxicity for s in steps(capped)] == pytest.approx([0.2, 0.4, 0.6, 0.6])
    assert {s.attributes["rate"] for s in steps(capped)} == {10}


@given(
    st.sampled_from(["latency", "bandwidth", "timeout"]),
    st.floats(0, 30),
    st.floats(0.1, 30),
    st.floats(0, 1),
    st.integers(0, 10_000),
)
def test_a_ramp_only_grows_and_is_whole_when_it_is_over(
    toxic: str, start: float, ramp: float, toxicity: float, size: int
) -> None:
    attributes = {
        "latency": {"latency": size, "jitter": size // 2},
        "bandwidth": {"rate": size + 1},
        "timeout": {"timeout": size},
    }[toxic]
    fault = Fault("a", toxic, attributes, toxicity=toxicity, start_seconds=start, ramp_seconds=ramp)
    found = steps(fault, lasts=100.0)
    growing = [s for s in found if s.action != Action.UNDO]
    assert 2 <= len(growing) <= MOST_RAMP_STEPS + 1
    assert growing[0].at_seconds == start
    assert growing[-1].at_seconds == pytest.approx(start + ramp)
    assert growing[-1].whole
    assert dict(growing[-1].attributes) == attributes
    assert growing[-1].toxicity == toxicity
    assert [s.at_seconds for s in found] == sorted(s.at_seconds for s in found)
    grows = SIZES.get(toxic, ())
    shares = [tuple(s.attributes[n] for n in grows) or (s.toxicity,) for s in growing]
    assert shares == sorted(shares)


@given(st.floats(0.2, 5), st.floats(0.2, 5), st.floats(0, 9))
def test_a_flapping_fault_is_applied_and_undone_in_turns(
    on: float, off: float, start: float
) -> None:
    found = steps(down("a", start_seconds=start, flapping=Flapping(on, off)), lasts=10.0)
    assert [s.action for s in found] == [Action.APPLY, Action.UNDO] * (len(found) // 2)
    assert found[0].at_seconds == start
    assert all(s.at_seconds <= 10 for s in found)
    for applied, undone in zip(found[::2], found[1::2], strict=True):
        assert 0 < undone.at_seconds - applied.at_seconds <= on + 1e-6


def test_the_planned_time_of_a_fault_is_the_sum_of_its_flaps() -> None:
    flaps = down("a", start_seconds=1, flapping=Flapping(2, 3))
    short = latency("b", latency_ms=9, start_seconds=4, duration_seconds=3, ramp_seconds=1)
    assert active_seconds(Experiment("t", "d", (flaps, short), 0, 12)) == (5, 3)
