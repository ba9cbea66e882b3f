"""What the options of `launchday plan` ask for; what has no effect together is refused."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from launchday.capacity.answer import Request
from launchday.capacity.cost import parse_price
from launchday.capacity.forecast import Forecast, parse, parse_users
from launchday.capacity.growth import parse_growth
from launchday.capacity.replicas import check_settings
from launchday.capacity.retry_verdict import ATTEMPTS, POLICIES
from launchday.capacity.steps import Measured, Objective
from launchday.errors import SettingsError

Given = TypeVar("Given")
Read = TypeVar("Read")
_NUMBER = r"([0-9]+\.?[0-9]*|\.[0-9]+)"
_SLO = re.compile(rf"(?:(mean)|p{_NUMBER})\s*=\s*{_NUMBER}\s*(ms|s)", re.IGNORECASE)
_SHARE = re.compile(rf"{_NUMBER}\s*(%?)")
_HELD_OUT_WITHIN = 0.05
_SLO_EXAMPLES = "like p99=500ms, p99.9=1s or mean=0.2s"


@dataclass(frozen=True)
class Asked:
    """The options as they were given; None, "" or () where nothing was."""

    inputs: tuple[Path, ...]
    slo: str | None
    shed: str | None
    errors: str | None
    forecast: str | None
    from_users: str | None
    zones: int | None
    growth: str | None
    replicas_now: int | None
    price: str | None
    utilisation: float | None
    attempts_per_request: float | None
    retry_policy: str | None
    retry_attempts: int | None
    refusal_ratio: float | None
    held_out: tuple[float, ...]
    from_kind: str | None
    column: tuple[str, ...]
    output: Path | None
    png: bool
    seed: int
    validate: bool
    against: tuple[Path, ...]
    target: str | None
    metrics: str | None
    local: bool
    validate_seconds: float | None
    runs: Path | None


def objective_of(asked: Asked, recorded_seconds: float | None) -> Objective:
    """The objective; by default the p99 within what the runs were judged by, or 500 ms.

    Raises:
        SettingsError: names the option, its value and what is allowed.
    """
    objective = Objective(seconds=recorded_seconds or Objective().seconds)
    if asked.slo is not None:
        quantile, seconds = parse_slo(asked.slo)
        objective = replace(objective, quantile=quantile, seconds=seconds)
    if asked.shed is not None:
        objective = replace(objective, most_shed_share=parse_share("--shed", asked.shed))
    if asked.errors is not None:
        objective = replace(objective, most_error_share=parse_share("--errors", asked.errors))
    return objective


def parse_slo(text: str) -> tuple[float | None, float]:
    """`p99=500ms` as a quantile (None: the mean) and seconds. Raises SettingsError."""
    match = _SLO.fullmatch(text.strip())
    if not match:
        raise SettingsError(f"--slo is {text!r}: it must be {_SLO_EXAMPLES}")
    seconds = float(match[3]) / (1000 if match[4].lower() == "ms" else 1)
    quantile = None if match[1] else float(match[2]) / 100
    if quantile is not None and not 0.5 <= quantile <= 0.9999:
        raise SettingsError(f"--slo is {text!r}: the percentile must be from p50 to p99.99")
    if not 0 < seconds <= 3600:
        raise SettingsError(f"--slo is {text!r}: the time must be above 0 and at most an hour")
    return quantile, seconds


def parse_share(option: str, text: str) -> float:
    """`0.1%` or `0.001` as a share. Raises SettingsError."""
    match = _SHARE.fullmatch(text.strip())
    share = float(match[1]) / (100 if match[2] else 1) if match else math.nan
    if not 0 <= share < 1:
        raise SettingsError(f"{option} is {text!r}: it must be like 0.1% or 0.001, below 100%")
    return share


def request_of(asked: Asked, objective: Objective, shedding: bool) -> Request:
    """What is asked of planning; `shedding`: whether the target refuses at all.

    Raises:
        SettingsError: a value is not allowed, or an option has no effect without another.
    """
    _refuse_without_effect(asked)
    if asked.refusal_ratio is not None and not shedding:
        raise SettingsError(
            "--refusal-ratio has no effect: the target of these records refuses nobody, so every "
            "attempt costs a whole answer"
        )
    now = asked.replicas_now
    request = Request(
        objective=objective,
        forecast=_forecast(asked),
        zones=asked.zones or 1,
        growth=_read("--growth", parse_growth, asked.growth),
        replicas_now=now,
        price=_read("--price", parse_price, asked.price),
        retry_policy=_policy(asked.retry_policy),
        retry_attempts=asked.retry_attempts or ATTEMPTS,
        shedding=shedding,
        seed=asked.seed,
    )
    checked = {
        "utilisation": _read("--utilisation", _utilisation, asked.utilisation),
        "amplification": _read("--attempts-per-request", _attempts, asked.attempts_per_request),
        "refusal_ratio": _read("--refusal-ratio", _ratio, asked.refusal_ratio),
    }
    given: dict[str, Any] = {name: value for name, value in checked.items() if value is not None}
    return replace(request, **given)


def _utilisation(share: float) -> float:
    check_settings(zones=1, lost_zones=1, utilisation=share, attempts=1.0)
    return share


def _attempts(attempts: float) -> float:
    check_settings(zones=1, lost_zones=1, utilisation=1.0, attempts=attempts)
    return attempts


def _ratio(ratio: float) -> float:
    if not (math.isfinite(ratio) and ratio >= 0):
        raise SettingsError(f"a refusal costs {ratio:g} of an answer: it must be a number from 0")
    return ratio


def _read(option: str, read: Callable[[Given], Read], given: Given | None) -> Read | None:
    """What `read` makes of an option; its complaint names the option as it was typed."""
    try:
        return None if given is None else read(given)
    except SettingsError as error:
        raise SettingsError(f"{option}: {error}") from error


def _forecast(asked: Asked) -> Forecast | None:
    if asked.forecast is not None and asked.from_users is not None:
        raise SettingsError("--forecast and --from-users both say what is expected: give one")
    if asked.from_users is not None:
        return _read("--from-users", partial(parse_users, seed=asked.seed), asked.from_users)
    return parse(asked.forecast, "--forecast") if asked.forecast is not None else None


def _policy(name: str | None) -> str:
    if name is None or name in POLICIES:
        return name or ""
    near = difflib.get_close_matches(name, POLICIES, 1)
    hint = f"did you mean {near[0]}? It must be" if near else "it must be"
    raise SettingsError(f"--retry-policy is {name!r}: {hint} one of {', '.join(POLICIES)}")


def _refuse_without_effect(asked: Asked) -> None:
    expected = asked.forecast is not None or asked.from_users is not None
    needs_forecast = {
        "--zones": asked.zones,
        "--growth": asked.growth,
        "--replicas-now": asked.replicas_now,
        "--price": asked.price,
        "--attempts-per-request": asked.attempts_per_request,
    }
    _refuse(needs_forecast, expected, "--forecast (or --from-users)")
    _refuse({"--column": asked.column or None}, asked.from_kind is not None, "--from csv")
    driving = {
        "--target": asked.target,
        "--metrics": asked.metrics,
        "--local": asked.local or None,
        "--validate-seconds": asked.validate_seconds,
        "--runs": asked.runs,
    }
    _refuse(driving, asked.validate, "--validate")
    if asked.retry_policy == "none" and asked.retry_attempts is not None:
        raise SettingsError("--retry-attempts has no effect with --retry-policy none")
    if asked.from_kind is not None and (asked.validate or asked.against):
        option = "--validate" if asked.validate else "--against"
        raise SettingsError(
            f"{option} has no effect with --from: a file of another tool does not say which "
            "requests are to be sent; plan from records of `launchday run`"
        )
    if asked.validate and asked.against:
        raise SettingsError("--validate makes the records that --against names: give one of them")


def _refuse(options: Mapping[str, object], has_effect: bool, without: str) -> None:
    for option, value in options.items():
        if value is not None and not has_effect:
            raise SettingsError(f"{option} has no effect without {without}: leave it out")


def columns_of(asked: Asked) -> dict[str, str]:
    """`--column throughput=txn_rate` as what is meant to the header of the file."""
    columns: dict[str, str] = {}
    for text in asked.column:
        name, equals, column = (part.strip() for part in text.partition("="))
        if not equals or not name or not column:
            raise SettingsError(f"--column {text!r} must be NAME=COLUMN, like throughput=txn_rate")
        if name in columns:
            raise SettingsError(f"--column {name} is given twice: {columns[name]!r}, {column!r}")
        columns[name] = column
    return columns


def without_held_out(measured: Measured, rates: tuple[float, ...]) -> Measured:
    """Mark the steps at these rates as held out; replicates of a rate together.

    Raises:
        SettingsError: there is no step within 5 % of a rate.
    """
    steps = list(measured.steps)
    for place, rate in enumerate(rates):
        if not (math.isfinite(rate) and rate > 0):
            raise SettingsError(f"--held-out is {rate:g}: it must be a rate above 0")
        if rate in rates[:place]:
            raise SettingsError(f"--held-out {rate:g} is given twice")
        near = [
            place
            for place, step in enumerate(steps)
            if abs(step.offered_rps - rate) <= _HELD_OUT_WITHIN * rate
        ]
        if not near:
            there = ", ".join(f"{each:.4g}" for each in sorted({s.offered_rps for s in steps}))
            raise SettingsError(f"--held-out is {rate:g}: no step is near it; there are {there}")
        for place in near:
            steps[place] = replace(steps[place], held_out=True)
    return replace(measured, steps=tuple(steps))
