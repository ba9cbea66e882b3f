"""Maintenance windows on a fake clock: when the doors are closed, and when clients come back."""

from __future__ import annotations

import math
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday import Maintenance, MaintenanceWindow
from launchday.metric_names import CRITICALITIES

START = 1_800_000_000.0
END = START + 300
SENTENCE = "Charging stays on; the app is back at noon"

moments = st.floats(0, 4e9)
clock_readings = st.floats(allow_nan=True, allow_infinity=False)


class Clock:
    def __init__(self, now: float = START - 600) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def window(start: float = START, end: float = END, **more: Any) -> MaintenanceWindow:
    return MaintenanceWindow(start, end, SENTENCE, **more)


@st.composite
def windows(draw: st.DrawFn) -> list[MaintenanceWindow]:
    edges = sorted(draw(st.lists(moments, min_size=2, max_size=10, unique=True)))
    pairs = zip(edges[::2], edges[1::2], strict=False)
    return [window(start, end, ends_by_itself=draw(st.booleans())) for start, end in pairs]


def test_a_window_is_announced_then_closed_then_over() -> None:
    clock = Clock()
    maintenance = Maintenance(clock=clock)
    assert maintenance.phase == "none"
    maintenance.schedule(window())
    seen = []
    for clock.now in (START - 1, START, END - 0.001, END):
        shown = maintenance.snapshot()
        seen.append((shown.phase.value, shown.window is None, shown.seconds_left))
    left_at_last = pytest.approx(0.001, abs=1e-4)
    assert seen == [
        ("announced", False, 1),
        ("closed", False, 300),
        ("closed", False, left_at_last),
        ("none", True, None),
    ]


def test_a_window_that_has_begun_closes_the_doors_at_once() -> None:
    maintenance = Maintenance(clock=Clock(START + 10))
    maintenance.schedule(window())
    assert maintenance.phase == "closed"


def test_an_early_end_opens_the_doors_and_the_next_window_still_comes() -> None:
    clock = Clock(START + 10)
    maintenance = Maintenance(clock=clock)
    tomorrow = window(START + 86_400, END + 86_400)
    maintenance.schedule(tomorrow)
    maintenance.schedule(window())
    assert maintenance.snapshot().later == (tomorrow,)
    assert maintenance.end() == window()
    assert (maintenance.phase, maintenance.snapshot().window) == ("announced", tomorrow)
    with pytest.raises(ValueError, match="no window closes the doors now"):
        maintenance.end()
    clock.now = START + 5
    assert maintenance.phase == "announced", "a clock set back does not close them again"


def test_an_extension_moves_the_end_and_what_clients_are_told() -> None:
    clock = Clock(END - 1)
    maintenance = Maintenance(clock=clock, spread_seconds=1)
    maintenance.schedule(window())
    later = maintenance.extend(END + 120)
    assert later.ends_at_unix == END + 120
    assert maintenance.retry_after_seconds(later, clock.now) in (121, 122)
    clock.now = END
    assert maintenance.phase == "closed"
    with pytest.raises(ValueError, match=r"new end must be after .*, not 2027-01-15T08:05:00Z"):
        maintenance.extend(END)
    maintenance.schedule(window(END + 200, END + 300))
    with pytest.raises(ValueError, match="must not overlap"):
        maintenance.extend(END + 201)
    assert maintenance.snapshot().window == later, "a refused extension changes nothing"
    clock.now = END + 120
    with pytest.raises(ValueError, match="no window closes the doors now"):
        maintenance.extend(END + 130)


def test_a_window_that_overruns_stays_closed_until_somebody_ends_it() -> None:
    clock = Clock(END + 3600)
    maintenance = Maintenance(clock=clock, spread_seconds=10)
    maintenance.replace_windows([window(ends_by_itself=False)])
    shown = maintenance.snapshot()
    assert (shown.phase, shown.seconds_left) == ("overrun", None)
    told = {maintenance.retry_after_seconds(window(), clock.now) for _ in range(500)}
    assert told == set(range(30, 41)), "a short guess, spread"
    with pytest.raises(ValueError, match="new end must be after 2027-01-15T09:05:00Z"):
        maintenance.extend(END + 3600)
    maintenance.extend(END + 3700)
    assert maintenance.phase == "closed"
    maintenance.end()
    assert maintenance.phase == "none"


def test_a_window_that_overruns_into_the_next_ends_with_it() -> None:
    clock = Clock(END + 100)
    maintenance = Maintenance(clock=clock)
    following = window(END + 60, END + 200)
    maintenance.replace_windows([window(ends_by_itself=False), following])
    assert maintenance.closed_by(clock.now) == following, "whose end is known"
    clock.now = END + 200
    assert maintenance.phase == "overrun"
    clock.now = END + 100
    assert maintenance.end() == following
    assert maintenance.phase == "none"


def test_only_a_window_that_has_not_begun_can_be_cancelled() -> None:
    clock = Clock()
    maintenance = Maintenance(clock=clock)
    maintenance.schedule(window())
    maintenance.cancel(window())
    assert maintenance.phase == "none"
    with pytest.raises(ValueError, match="not planned"):
        maintenance.cancel(window())
    maintenance.schedule(window())
    clock.now = START
    with pytest.raises(ValueError, match="has begun: end it"):
        maintenance.cancel(window())


def test_overlaps_are_refused_whole_and_neighbours_are_not() -> None:
    maintenance = Maintenance(clock=Clock())
    maintenance.schedule(window())
    maintenance.schedule(window(END, END + 60))
    kept = maintenance.windows
    words = r"overlap: 2027-01-15T08:04:59Z to .* begins before 2027-01-15T08:00:00Z to .* ends"
    with pytest.raises(ValueError, match=words):
        maintenance.replace_windows([window(END - 1, END + 1), window()])
    assert maintenance.windows == kept
    with pytest.raises(ValueError, match="was over at 2027-01-15T07:49:00Z"):
        maintenance.schedule(window(START - 700, START - 660))


def test_windows_read_again_from_a_database_change_nothing_that_is_the_same() -> None:
    maintenance = Maintenance(clock=Clock())
    maintenance.replace_windows([window(), window(START - 7000, START - 6000)])
    assert maintenance.windows == (window(),), "one that is over is left out"
    kept = maintenance.windows
    maintenance.replace_windows([window()])
    assert maintenance.windows is kept


@given(windows(), st.lists(clock_readings, max_size=20), st.integers(), st.none() | st.integers(1))
def test_whatever_the_clock_says_every_answer_is_true(
    planned: list[MaintenanceWindow], readings: list[float], seed: int, spread: int | None
) -> None:
    spread = None if spread is None else min(spread, 3600)
    clock = Clock(0)
    maintenance = Maintenance(clock=clock, spread_seconds=spread, random=Random(seed))
    maintenance.replace_windows(planned)
    edges = [edge for each in planned for edge in (each.starts_at_unix, each.ends_at_unix)]
    for clock.now in [*readings, *edges, *reversed(edges)]:
        shown = maintenance.snapshot()
        closing = maintenance.closed_by(clock.now)
        assert (shown.phase in ("closed", "overrun")) == (closing is not None)
        assert (shown.phase == "none") == (shown.window is None)
        covered = [each for each in planned if each.starts_at_unix <= clock.now < each.ends_at_unix]
        if covered:
            assert [closing] == covered
        if closing is None:
            continue
        after = maintenance.retry_after_seconds(closing, clock.now)
        assert type(after) is int
        assert after >= 1
        left_seconds = closing.ends_at_unix - clock.now
        assert left_seconds <= 0 or math.ceil(left_seconds) <= after <= left_seconds + 3601


@pytest.mark.parametrize(("length_seconds", "spread"), [(5, 1), (300, 30), (86_400, 60)])
def test_the_default_spread_is_a_tenth_of_the_window_within_bounds(
    length_seconds: int, spread: int
) -> None:
    maintenance = Maintenance(clock=Clock(START), random=Random(1))
    closing = window(START, START + length_seconds)
    told = {maintenance.retry_after_seconds(closing, START) for _ in range(2000)}
    assert told == set(range(length_seconds, length_seconds + spread + 1))


@given(st.integers(60, 3600), st.integers())
def test_clients_who_obey_come_after_the_end_and_not_all_at_once(length: int, seed: int) -> None:
    random = Random(seed)
    maintenance = Maintenance(clock=Clock(START), random=random)
    closing = window(START, START + length)
    refused_at = [START + random.random() * length * 0.999 for _ in range(3000)]
    back_at = [at + maintenance.retry_after_seconds(closing, at) for at in refused_at]
    assert min(back_at) >= closing.ends_at_unix
    spread = min(length / 10, 60)
    assert max(back_at) < closing.ends_at_unix + spread + 2
    busiest = max(Counter(int(at) for at in back_at).values())
    assert busiest / len(back_at) < 2 / spread, "a surge, but spread"


def test_an_order_to_come_back_given_in_one_instant_is_spread_too() -> None:
    maintenance = Maintenance(clock=Clock(START), random=Random(3))
    told = [maintenance.retry_after_seconds(window(), START + 7.25) for _ in range(31_000)]
    counts = Counter(told)
    assert len(counts) == 31
    assert max(counts.values()) < 1.2 * min(counts.values())


def test_the_same_seed_tells_the_same() -> None:
    one, two = (Maintenance(clock=Clock(START), random=Random(5)) for _ in range(2))
    draws = [[m.retry_after_seconds(window(), START) for _ in range(50)] for m in (one, two)]
    assert draws[0] == draws[1]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ((END, START, "x"), r"ends_at_unix must be after .*T08:05:00Z\), not .*T08:00:00Z"),
        ((START, START, "x"), "ends_at_unix must be after starts_at_unix"),
        ((math.nan, END, "x"), "starts_at_unix must be seconds .* not nan"),
        ((START, math.inf, "x"), "ends_at_unix must be seconds .* not inf"),
        ((START * 1000, END * 1000, "x"), r"not milliseconds.* not 1800000000000\.0"),
        ((-1, END, "x"), "from 0 to 253402300799, not -1"),
        ((True, END, "x"), "starts_at_unix .* not True"),
        ((START, END, " "), "sentence must be a text .* not ' '"),
        ((START, END, None), "sentence .* not None"),
        ((START, END, "x" * 301), "sentence .* of 1 to 300 characters, not 'xxx"),
        ((START, END, "x", frozenset({"vip"})), r"critical_plus, critical, .*'vip'"),
        ((START, END, "x", "critical"), "open_classes must be a frozenset .* not 'critical'"),
        ((START, END, "x", frozenset(), "no"), "ends_by_itself must be True or False, not 'no'"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(fields: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MaintenanceWindow(*fields)


@pytest.mark.parametrize("spread_seconds", [0, 3601, 1.5, True])
def test_a_spread_that_spreads_nothing_is_refused(spread_seconds: Any) -> None:
    with pytest.raises(ValueError, match=f"spread_seconds .* 1 to 3600, not {spread_seconds}"):
        Maintenance(spread_seconds=spread_seconds)


def test_every_criticality_may_stay_open() -> None:
    assert window(open_classes=frozenset(CRITICALITIES)).open_classes == set(CRITICALITIES)


def test_the_end_of_all_time_can_be_shown() -> None:
    maintenance = Maintenance(clock=Clock(253402300798.5))
    maintenance.schedule(window(0, 253402300799))
    with pytest.raises(ValueError, match="ends_at_unix must be seconds"):
        maintenance.extend(253402300800)
    assert maintenance.phase == "closed"
