"""Curves from the stages of a load test: Locust's and k6's."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from launchday.rate_curve import Phase, RateCurve

_LENGTH = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_STAGE = re.compile(rf"({_LENGTH.pattern}):(\d+(?:\.\d+)?)")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_K6_EXECUTOR = "ramping-arrival-rate"
_K6_LIKE = "it must be like 30s, 1m30s or 500ms"
# Of a scenario of k6: who arrives, and with how many users, but not when.
_K6_OTHERS = {"preAllocatedVUs", "maxVUs", "gracefulStop", "exec", "env", "tags"}


def curve_from_stages(stages: Sequence[Mapping[str, object]], *, per_user_rps: float) -> RateCurve:
    """The arrivals that Locust's stages mean if every user makes `per_user_rps` of them a second.

    Stages are as in Locust's documentation of LoadTestShape: `duration` in seconds *from the start
    of the test*, `users`, and `spawn_rate` in users a second, up or down; a stage that is too short
    for its spawn rate is left where it got to. Phases are `stage_1`, `stage_2` ...; the one with
    the highest mean rate is `peak`. Of `user_classes` nothing is used.

    Raises:
        ValueError: a stage lacks a key or has an unknown one, a value makes no sense, or durations
            do not grow.
    """
    if not (math.isfinite(per_user_rps) and per_user_rps > 0):
        raise ValueError(f"per_user_rps must be above 0, got {per_user_rps!r}")
    at, users = 0.0, 0.0
    points, ends = [(0.0, 0.0)], [0.0]
    for number, stage in enumerate(stages, 1):
        end, wanted, spawn_rate = _locust_stage(number, stage, at)
        there = at + abs(wanted - users) / spawn_rate
        if there > end:
            users += math.copysign(spawn_rate * (end - at), wanted - users)
        else:
            users = wanted
            points.append((there, users * per_user_rps))
        points.append((end, users * per_user_rps))
        ends.append(end)
        at = end
    return _staged(points, ends)


def curve_from_k6(text: str) -> RateCurve:
    """The curve of k6's stages: `30s:100,1m:500` means to 100/s in 30 s, then to 500/s in 1 min.

    Each stage is a straight line from where the one before ended, the first from 0 (k6's
    ramping-arrival-rate); `0s:500` is a step. Phases are named as by `curve_from_stages`.

    Raises:
        ValueError: a stage is not of that form, or there is no arrival.
    """
    at = 0.0
    points, ends = [(0.0, 0.0)], [0.0]
    for number, stage in enumerate(text.split(","), 1):
        found = _STAGE.fullmatch(stage.strip())
        if not found:
            raise ValueError(
                f"stage {number} is {stage.strip()!r}; it must be DURATION:RATE, like 30s:100, "
                "1m30s:250.5 or 500ms:0"
            )
        at += _seconds(found[1])
        points.append((at, float(found[2])))
        ends.append(at)
    return _staged(points, ends)


def is_k6(document: object) -> bool:
    """Whether a JSON document holds k6's stages (`target`) and not Locust's (`users`)."""
    if isinstance(document, Mapping):
        return "stages" in document
    stages = document if isinstance(document, list) else []
    return any(
        isinstance(each, Mapping) and ("target" in each or isinstance(each.get("duration"), str))
        for each in stages
    )


def curve_from_k6_json(document: object) -> RateCurve:
    """The curve of k6's stages as k6 has them in JSON: a list, or a table with the key `stages`.

    Read as the executor ramping-arrival-rate reads them: each stage is a straight line to its
    `target`, arrivals in a `timeUnit` (1s), the first from `startRate` (0); `duration` is a text
    like 30s or 1m30s. https://grafana.com/docs/k6/latest/using-k6/scenarios/executors/
    ramping-arrival-rate. What says how many users k6 has is not used.

    Raises:
        ValueError: the document is of another executor or of another form, a stage lacks a key or
            has an unknown one, a value makes no sense, or there is no arrival.
    """
    table = document if isinstance(document, Mapping) else {"stages": document}
    _check_keys("it", table, {"stages", "startRate", "timeUnit", "executor", *_K6_OTHERS})
    if table.get("executor", _K6_EXECUTOR) != _K6_EXECUTOR:
        raise ValueError(
            f"executor is {table['executor']!r}: only {_K6_EXECUTOR!r} says how many arrive"
        )
    stages = table.get("stages")
    if not isinstance(stages, list):
        raise ValueError(f"stages must be a list, got {stages!r}")
    unit_seconds = _k6_seconds("timeUnit", table.get("timeUnit", "1s"))
    if unit_seconds == 0:
        raise ValueError("timeUnit must be above 0, got 0")
    start = _number("startRate", table.get("startRate", 0))
    at = 0.0
    points, ends = [(0.0, start / unit_seconds)], [0.0]
    for number, stage in enumerate(stages, 1):
        if not isinstance(stage, Mapping):
            raise ValueError(f"stage {number} must have duration and target, got {stage!r}")
        _check_keys(f"stage {number}", stage, {"duration", "target"})
        at += _k6_seconds(f"stage {number}: duration", stage.get("duration"))
        target = _number(f"stage {number}: target", stage.get("target"))
        points.append((at, target / unit_seconds))
        ends.append(at)
    return _staged(points, ends)


def _check_keys(what: str, table: Mapping[str, object], known: set[str]) -> None:
    if unknown := set(table) - known:
        raise ValueError(f"{what} has the unknown key {min(unknown)!r}")


def _k6_seconds(name: str, text: object) -> float:
    if not isinstance(text, str) or not _LENGTH.fullmatch(text.strip()):
        raise ValueError(f"{name} is {text!r}; {_K6_LIKE}")
    return _seconds(text)


def _seconds(length: str) -> float:
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION.findall(length))


def _locust_stage(
    number: int, stage: Mapping[str, object], start: float
) -> tuple[float, float, float]:
    """Its end, users and spawn rate."""
    if not isinstance(stage, Mapping):
        raise ValueError(f"stage {number} must have duration, users and spawn_rate, got {stage!r}")
    needed = ("duration", "users", "spawn_rate")
    _check_keys(f"stage {number}", stage, {*needed, "user_classes"})
    numbers = [_number(f"stage {number}: {key}", stage.get(key)) for key in needed]
    end, users, spawn_rate = numbers
    if end <= start:
        raise ValueError(
            f"stage {number}: duration must be above {start:g}, where the stage before ends "
            f"(Locust counts it from the start of the test), got {end:g}"
        )
    if spawn_rate == 0:
        raise ValueError(f"stage {number}: spawn_rate must be above 0, got 0")
    return end, users, spawn_rate


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} must be a number, got {value!r}")
    if not 0 <= value <= sys.float_info.max:  # also a whole number with hundreds of digits
        raise ValueError(f"{name} must be finite and at least 0, got {value!r}")
    return float(value)


def _staged(points: list[tuple[float, float]], ends: list[float]) -> RateCurve:
    """The curve with a phase for each stage that takes time."""
    if ends[-1] <= 0:
        raise ValueError("the stages take no time")
    curve = RateCurve(tuple(points))
    spans = [span for span in pairwise(ends) if span[1] > span[0]]
    means = [
        (curve.cumulative(end) - curve.cumulative(start)) / (end - start) for start, end in spans
    ]
    peak = means.index(max(means))
    phases = (
        Phase("peak" if i == peak else f"stage_{i + 1}", start, end)
        for i, (start, end) in enumerate(spans)
    )
    return replace(curve, phases=tuple(phases))
