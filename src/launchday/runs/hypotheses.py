"""Judges the hypothesis of an experiment over a record: pure, and a sentence for each part.

Only `require_steady`, the conductor's question before it injects, writes something down.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from launchday import timeline
from launchday.chaos.experiment import Experiment
from launchday.chaos.hypothesis import Expectation, Hypothesis, Measure, hypothesis_from_json
from launchday.errors import LaunchdayError, PreflightError, RecordError
from launchday.record import Record, Schedule
from launchday.runs.measuring import Measured, measure

_FIRST_SECOND = 1  # in the second before, connections are opened
_RECOVERED_FOR_SECONDS = timeline.RECOVERED_FOR_SECONDS
# What the conductor, the probes and the undoing may take; the window must not be lost over it.
_SLACK_SECONDS = 1.0
WindowName = Literal["before", "during", "after"]
_GAUGES = frozenset({Measure.METRIC_HIGHEST, Measure.METRIC_LOWEST})


class NotSteadyError(LaunchdayError):
    """The target was not steady before the faults, so none was injected."""

    exit_code = 3


class CannotTellError(LaunchdayError):
    """Nobody could tell whether the target was steady before the faults: none was injected."""

    exit_code = 2


@dataclass(frozen=True)
class Windows:
    """The whole seconds of the schedule before, during and after the faults of an experiment.

    Between `before` and `during` are those of which requests were under way when the first fault
    began; nobody can say what they are of. `settled` are those of `after` in which it must have
    recovered.
    """

    before: range
    during: range
    after: range
    settled: range


@dataclass(frozen=True)
class Judged:
    """One expectation in one window: `held` is None where it could not be judged.

    `measured` and `before` (the same, before the faults; an increase, in as long a time) are in the
    unit of the measure; `at_least` and `at_most` are the limits that were applied, relative ones
    resolved.
    """

    window: WindowName
    title: str
    measure: str
    held: bool | None
    measured: float | None
    before: float | None
    at_least: float | None
    at_most: float | None
    sentence: str


@dataclass(frozen=True)
class JudgedHypothesis:
    """The hypothesis, judged. `recovered_seconds`: from the undoing until `after` held again."""

    judged: tuple[Judged, ...]
    recovered_seconds: float | None
    allowed_seconds: float
    recovery_held: bool | None
    recovery_sentence: str

    def of(self, window: WindowName) -> list[Judged]:
        """The expectations of one window."""
        return [each for each in self.judged if each.window == window]


def hypothesis_of(record: Record) -> Hypothesis | None:
    """The hypothesis that the record says was tried. Raises RecordError: it is damaged."""
    experiment = record.info.settings.get("experiment") or {}
    found = experiment.get("hypothesis")
    if not found:
        return None
    try:
        return hypothesis_from_json(found)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"the hypothesis in run.json is damaged: {error}") from error


def windows_of(record: Record, hypothesis: Hypothesis) -> Windows | None:
    """The windows, from when the first fault was in until the last one was out; None without."""
    schedule, spans = record.schedule, timeline.fault_spans(record)
    if schedule is None or not spans:
        return None
    seen = timeline.seen_seconds(record, schedule)
    start = min(start for _, start, _ in spans)
    ends = [end for _, _, end in spans]
    end = math.inf if None in ends else max(e for e in ends if e is not None)
    first, last = math.floor(start), min(seen, math.ceil(min(end, seen)))
    wanted = math.ceil(hypothesis.steady_seconds)
    untouched = max(_FIRST_SECOND, timeline.first_touched_second(schedule, start))
    return Windows(
        before=range(max(_FIRST_SECOND, untouched - wanted), untouched),
        during=range(min(first + 1, seen), min(seen, math.floor(min(end, seen)))),
        after=range(last, seen),
        settled=range(min(seen, last + math.ceil(hypothesis.recovery_seconds)), seen),
    )


def evaluate(record: Record) -> JudgedHypothesis | None:
    """Judge the hypothesis of a record; None if its experiment has none, or nothing was injected.

    What cannot be measured (too few requests, a metric that is missing, scrapes that failed) is
    neither held nor broken.
    """
    hypothesis = hypothesis_of(record)
    windows = windows_of(record, hypothesis) if hypothesis else None
    if hypothesis is None or windows is None:
        return None
    judged = [_judge(record, "before", e, windows.before, None) for e in hypothesis.steady]
    later: tuple[tuple[WindowName, tuple[Expectation, ...], range], ...] = (
        ("during", hypothesis.during, windows.during),
        ("after", hypothesis.after, windows.settled),
    )
    for window, expectations, seconds in later:
        for expectation in expectations:
            before = measure(record, expectation, windows.before)
            judged.append(_judge(record, window, expectation, seconds, before))
    return _with_recovery(record, hypothesis, windows, judged)


def steady_by_now(record: Record, hypothesis: Hypothesis, elapsed_seconds: float) -> list[Judged]:
    """What had to hold before the faults, over the last complete seconds.

    For the conductor, right before it injects: `record` holds what was counted until then. A
    second is complete when its slowest request has timed out and was written down.
    """
    until = timeline.last_complete_second(record, elapsed_seconds)
    wanted = math.ceil(hypothesis.steady_seconds)
    seconds = range(max(_FIRST_SECOND, until - wanted), max(_FIRST_SECOND, until))
    return [_judge(record, "before", each, seconds, None) for each in hypothesis.steady]


def require_steady(
    record: Record,
    experiment: Experiment,
    elapsed_seconds: float,
    write: Callable[[dict[str, object]], None],
) -> None:
    """Let nothing be injected into a target that is not steady; notes it in the faults log.

    Raises:
        NotSteadyError: with what was not.
        CannotTellError: with what could not be measured, where nothing else was wrong.
    """
    if experiment.hypothesis is None:
        return
    judged = steady_by_now(record, experiment.hypothesis, elapsed_seconds)
    broken = [each.sentence for each in judged if each.held is False]
    unknown = [each.sentence for each in judged if each.held is None]
    if not broken and not unknown:
        return
    reasons = broken or unknown
    event = {"event": "not_steady", "experiment": experiment.title, "unix": time.time()}
    write({**event, "judged": bool(broken), "reasons": reasons})
    kind, words = (
        (NotSteadyError, "the target was not steady before the faults")
        if broken
        else (CannotTellError, "it cannot be told whether the target was steady before the faults")
    )
    raise kind(f"{words}; none was injected. {' '.join(reasons)}")


def check_room(
    title: str, hypothesis: Hypothesis, schedule: Schedule, start_seconds: float, end_seconds: float
) -> None:
    """Refuse an experiment whose schedule leaves no time to see it steady, or recovered.

    Raises:
        PreflightError: it starts too early or ends too late; says by when.
    """
    patience = schedule.request_timeout_seconds
    earliest = _FIRST_SECOND + hypothesis.steady_seconds + patience + timeline.FLUSH_SECONDS
    if start_seconds < earliest:
        raise PreflightError(
            f"experiment {title!r} starts at {start_seconds:g} s: too early to see the target "
            f"steady for {hypothesis.steady_seconds:g} s before; it takes {earliest:g} s"
        )
    needed = end_seconds + hypothesis.recovery_seconds + _RECOVERED_FOR_SECONDS + _SLACK_SECONDS
    if needed > schedule.duration_seconds:
        raise PreflightError(
            f"experiment {title!r} ends at {end_seconds:g} s: to see the target recover takes "
            f"until {needed:g} s, and the schedule of the scenario ends at "
            f"{schedule.duration_seconds:g} s"
        )


def _with_recovery(
    record: Record, hypothesis: Hypothesis, windows: Windows, judged: list[Judged]
) -> JudgedHypothesis:
    took, untold = _seconds_to_recover(record, hypothesis, windows)
    allowed = hypothesis.recovery_seconds
    if took is not None:
        sentence = f"It had recovered {took} s after the faults (allowed {allowed:g} s)."
        return JudgedHypothesis(tuple(judged), took, allowed, took <= allowed, sentence)
    seen = len(windows.after)
    if seen < allowed + _RECOVERED_FOR_SECONDS:
        sentence = f"Only {seen} s were seen after the faults: too few to tell whether it recovers."
        return JudgedHypothesis(tuple(judged), None, allowed, None, sentence)
    if untold:
        sentence = "It cannot be told when it had recovered: the target's metrics are missing."
        return JudgedHypothesis(tuple(judged), None, allowed, None, sentence)
    sentence = f"It did not recover within the {seen} s after the faults (allowed {allowed:g} s)."
    return JudgedHypothesis(tuple(judged), None, allowed, False, sentence)


def _seconds_to_recover(
    record: Record, hypothesis: Hypothesis, windows: Windows
) -> tuple[int | None, bool]:
    """Seconds from the undoing until what must hold again does, for 3 s running; None: never.

    Also whether all that could be measured held at some time when a metric could not be.
    """
    before = {id(e): measure(record, e, windows.before) for e in hypothesis.after}
    untold = False
    for start in range(windows.after.start, windows.after.stop - _RECOVERED_FOR_SECONDS + 1):
        stretch = range(start, start + _RECOVERED_FOR_SECONDS)
        found = [(e, measure(record, e, stretch, least=1)) for e in hypothesis.after]
        known = [
            e.holds(f.value, _baseline(e, _comparable(e, before[id(e)], f)))
            for e, f in found
            if f.value is not None
        ]
        if not all(known):
            continue
        if any(f.value is None and e.of_metrics for e, f in found):
            untold = True
        elif known:
            return start - windows.after.start, untold
    return None, untold


def _judge(
    record: Record,
    window: WindowName,
    expectation: Expectation,
    seconds: range,
    before: Measured | None,
) -> Judged:
    seconds = seconds[math.ceil(expectation.after_seconds) :]
    found = measure(record, expectation, seconds)
    value_before = _comparable(expectation, before, found)
    limits = expectation.limits(_baseline(expectation, value_before))
    return Judged(
        window=window,
        title=expectation.title,
        measure=expectation.measure,
        held=_held(expectation, found, _baseline(expectation, value_before)),
        measured=found.value,
        before=value_before,
        at_least=limits[0],
        at_most=limits[1],
        sentence=_sentence(window, expectation, found, value_before),
    )


def _comparable(expectation: Expectation, before: Measured | None, found: Measured) -> float | None:
    """What was measured before the faults; how much a counter would have grown in as long."""
    if before is None or before.value is None:
        return None
    if expectation.measure != Measure.METRIC_INCREASE:
        return before.value
    return before.value * found.seconds / before.seconds if found.seconds else None


def _baseline(expectation: Expectation, before: float | None) -> float | None:
    """What a relative limit is relative to; None: only the absolute one says anything."""
    # At least half of nothing is nothing: every value would hold.
    return (
        None if before is not None and before <= 0 and expectation.at_least is not None else before
    )


def _held(expectation: Expectation, found: Measured, baseline: float | None) -> bool | None:
    if found.value is None:
        return None
    if not expectation.holds(found.value, baseline):
        return False
    # What was not scraped may have been worse; an increase is the same whoever looked meanwhile.
    return None if found.why_not and expectation.measure in _GAUGES else True


_SAID: dict[WindowName, str] = {
    "before": "Before the faults",
    "during": "During the faults",
    "after": "After the faults, once recovered",
}


def _sentence(
    window: WindowName, expectation: Expectation, found: Measured, before: float | None
) -> str:
    title, kind = expectation.title, expectation.measure
    wanted = limits_in_words(expectation.limits(_baseline(expectation, before)), kind)
    if found.value is None:
        return f"{_SAID[window]}: {title} could not be judged ({found.why_not}; {wanted} wanted)."
    parts = [f"{wanted} wanted"]
    if before is not None:
        parts.append(f"{number_in_words(before, kind)} before")
    of = f" of {found.out_of}" if found.out_of > found.count else ""
    parts.append(f"{found.count}{of} {'scrapes' if expectation.of_metrics else 'requests'}")
    parts += [found.why_not] if found.why_not else []
    return (
        f"{_SAID[window]}: {title} was {number_in_words(found.value, kind)} ({'; '.join(parts)})."
    )


def limits_in_words(limits: tuple[float | None, float | None], kind: str) -> str:
    """The lowest and the highest value of a measure that hold, for people."""
    low, high = limits
    parts = [] if low is None else [f"at least {number_in_words(low, kind)}"]
    parts += [] if high is None else [f"at most {number_in_words(high, kind)}"]
    return " and ".join(parts)


def number_in_words(value: float, kind: str) -> str:
    """A value of a measure for people: `99.3 %`, `1234 ms`, `7`."""
    if kind.endswith("_share"):
        return f"{100 * value:.4g} %"
    return f"{value * 1000:.0f} ms" if kind.endswith("_seconds") else f"{value:.4g}"
