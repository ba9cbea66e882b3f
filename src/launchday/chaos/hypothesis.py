"""What must hold before, during and after the faults of an experiment: frozen data."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any


class Measure(StrEnum):
    """What an expectation is about: of the requests of its endpoints, or of a metric's series.

    Shares are of all requests that clients meant to make, retries too, 0 to 1. Latencies are
    corrected for coordinated omission: from the intended time to the answer, in seconds; a request
    that timed out counts with the client's patience.
    """

    SUCCESS_SHARE = "success_share"  # answered 2xx, within the objective or not
    GOOD_SHARE = "good_share"  # answered 2xx within the objective
    FAILED_SHARE = "failed_share"  # failed for the client, refusals excluded
    SERVER_ERROR_SHARE = "server_error_share"  # a 5xx that explains nothing: 500, 502, bare 503
    CLIENT_ERROR_SHARE = "client_error_share"  # a 4xx but 429, a 3xx: signed out, say
    TIMEOUT_SHARE = "timeout_share"  # the client gave up
    ANSWERS_503_SHARE = "answers_503_share"  # any 503, explained or not
    RETRY_SHARE = "retry_share"  # repeated a request that had failed or was refused
    P50_SECONDS = "p50_seconds"  # of what was not refused
    P95_SECONDS = "p95_seconds"
    P99_SECONDS = "p99_seconds"
    SLOWEST_SECONDS = "slowest_seconds"  # of every request, refusals too
    FAILED_P95_SECONDS = "failed_p95_seconds"  # of those that failed
    METRIC_HIGHEST = "metric_highest"  # of a gauge, in the window
    METRIC_LOWEST = "metric_lowest"
    METRIC_INCREASE = "metric_increase"  # of a counter, over the window
    METRIC_PER_SECOND = "metric_per_second"


OF_METRICS = frozenset(
    {
        Measure.METRIC_HIGHEST,
        Measure.METRIC_LOWEST,
        Measure.METRIC_INCREASE,
        Measure.METRIC_PER_SECOND,
    }
)
"""Measures of the target's metrics; all others are of what clients saw."""

LEAST_STEADY_SECONDS = 10.0
_SERIES = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*(\{(\w+="[^"]*")(,\w+="[^"]*")*\})?')


@dataclass(frozen=True)
class Expectation:
    """One thing that must hold in one window of an experiment.

    `measure` is a `Measure`; `at_least` and `at_most` are its limits in its own unit, one of them
    or both. `endpoints` are names of endpoints, or patterns with `*` (default: all). `metric` is
    what measures of metrics are about: `car_breaker_open{dependency="gateway"}`; the series that
    have these labels are added up.

    With `baseline_factor` the limit is relative to what was measured before the fault, but never
    stricter than the absolute one: at most max(at_most, factor x before), and at least
    min(at_least, factor x before). The absolute one stands alone if nothing was measured before,
    or if `at_least` would be relative to 0; an increase is compared with that of as long a time.
    `after_seconds` (default 0) is how far into its window the
    expectation begins, for what needs time to notice. `words` says it for people (default: made
    from the rest). Raises ValueError that names the argument and the value.
    """

    measure: str
    endpoints: tuple[str, ...] = ()
    metric: str = ""
    at_least: float | None = None
    at_most: float | None = None
    baseline_factor: float | None = None
    after_seconds: float = 0.0
    words: str = ""

    def __post_init__(self) -> None:
        known = [measure.value for measure in Measure]
        if self.measure not in known:
            raise ValueError(f"measure must be one of {', '.join(known)}, got {self.measure!r}")
        _check_subject(self)
        if self.at_least is None and self.at_most is None:
            raise ValueError("at_least or at_most must say what is expected, got neither")
        for name in ("at_least", "at_most"):
            _check_limit(name, getattr(self, name), self.measure)
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least must not exceed at_most, got {self.at_least!r}")
        if self.baseline_factor is not None:
            _check_positive("baseline_factor", self.baseline_factor)
        _check_seconds("after_seconds", self.after_seconds)

    @property
    def title(self) -> str:
        """What is measured, for people: `words`, or the measure and its subject."""
        if self.words:
            return self.words
        if self.of_metrics:
            return f"{self.measure.replace('_', ' ')} of {self.metric}"
        return f"{self.measure.replace('_', ' ')} of {', '.join(self.endpoints) or 'all requests'}"

    @property
    def of_metrics(self) -> bool:
        """Whether it is about the target's metrics, not about what clients saw."""
        return self.measure in OF_METRICS

    def concerns(self, endpoint: str) -> bool:
        """Whether requests to `endpoint` count."""
        return not self.endpoints or any(fnmatchcase(endpoint, name) for name in self.endpoints)

    def limits(self, before: float | None) -> tuple[float | None, float | None]:
        """The lowest and the highest value that hold, given what was measured before the fault."""
        if self.baseline_factor is None or before is None:
            return self.at_least, self.at_most
        relative = self.baseline_factor * before
        low = None if self.at_least is None else min(self.at_least, relative)
        high = None if self.at_most is None else max(self.at_most, relative)
        return low, high

    def holds(self, value: float, before: float | None = None) -> bool:
        """Whether the measured `value` is within the limits; NaN never is."""
        low, high = self.limits(before)
        return (low is None or value >= low) and (high is None or value <= high) and value == value


@dataclass(frozen=True)
class Hypothesis:
    """What must hold before (`steady`), during and after (`recovered`) the faults.

    `steady` is measured over the last `steady_seconds` (at least 10, the default) before the
    faults: if it does not hold, nothing is injected. `during` counts from the moment when the
    first fault is in until the undoing begins. `recovered` (default: `steady` once more) must hold
    within `recovery_seconds` (default 10) after the undoing, and from then on until the end of the
    schedule. Raises ValueError that names the argument and the value.
    """

    steady: tuple[Expectation, ...]
    during: tuple[Expectation, ...]
    recovered: tuple[Expectation, ...] = ()
    recovery_seconds: float = 10.0
    steady_seconds: float = LEAST_STEADY_SECONDS

    def __post_init__(self) -> None:
        for name in ("steady", "during"):
            _check_expectations(name, getattr(self, name), least=1)
        _check_expectations("recovered", self.recovered, least=0)
        _check_positive("recovery_seconds", self.recovery_seconds)
        if not LEAST_STEADY_SECONDS <= self.steady_seconds < math.inf:
            raise ValueError(
                f"steady_seconds must be {LEAST_STEADY_SECONDS:g} or more, "
                f"got {self.steady_seconds!r}"
            )

    @property
    def after(self) -> tuple[Expectation, ...]:
        """What must hold again after the faults."""
        return self.recovered or self.steady


@dataclass(frozen=True)
class Abort:
    """When an experiment ends early, its faults undone.

    Counted are requests of the classes critical_plus and critical (all, if the scenario has none
    of them) to endpoints that the experiment does not break. `success_floor` (default 0.5): the
    share of them that must succeed; below it in every second for `for_seconds` (default 10) is too
    low; 0 never is. `error_budget_share` (default None: no budget): the share of the requests of
    the whole run that may fail before the experiment ends. Raises ValueError that names the
    argument and the value.
    """

    success_floor: float = 0.5
    for_seconds: float = 10.0
    error_budget_share: float | None = None

    def __post_init__(self) -> None:
        _check_share("success_floor", self.success_floor)
        _check_positive("for_seconds", self.for_seconds)
        if self.error_budget_share is not None:
            _check_share("error_budget_share", self.error_budget_share)


def hypothesis_from_json(value: Mapping[str, Any]) -> Hypothesis:
    """The inverse of `dataclasses.asdict`, as run.json holds it. Raises ValueError or TypeError."""
    windows = {
        name: tuple(
            Expectation(**{**each, "endpoints": tuple(each["endpoints"])}) for each in value[name]
        )
        for name in ("steady", "during", "recovered")
    }
    return Hypothesis(
        **windows,
        recovery_seconds=value["recovery_seconds"],
        steady_seconds=value["steady_seconds"],
    )


def _check_subject(expectation: Expectation) -> None:
    endpoints, metric = expectation.endpoints, expectation.metric
    # `endpoints=("unlock")` is what everybody writes once.
    if not isinstance(endpoints, tuple) or not all(isinstance(e, str) and e for e in endpoints):
        raise ValueError(f"endpoints must be a tuple of names, like ('unlock',), got {endpoints!r}")
    if not expectation.of_metrics and metric:
        raise ValueError(
            f"metric is for measures of metrics, not {expectation.measure}: {metric!r}"
        )
    if expectation.of_metrics and endpoints:
        raise ValueError(f"endpoints are not for {expectation.measure}, got {endpoints!r}")
    if expectation.of_metrics and not _SERIES.fullmatch(metric):
        raise ValueError(f'metric must be like name or name{{label="value"}}, got {metric!r}')


def _check_limit(name: str, value: float | None, measure: str) -> None:
    if value is None:
        return
    _check_number(name, value)
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value!r}")
    if measure.endswith("_share"):
        _check_share(name, value)
    elif measure not in OF_METRICS:
        _check_seconds(name, value)


def _check_number(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} must be a number, got {value!r}")


def _check_share(name: str, value: float) -> None:
    _check_number(name, value)
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be 0 to 1, got {value!r}")


def _check_seconds(name: str, value: float) -> None:
    _check_number(name, value)
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be 0 or more, got {value!r}")


def _check_positive(name: str, value: float) -> None:
    _check_number(name, value)
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive, got {value!r}")


def _check_expectations(name: str, value: object, *, least: int) -> None:
    whole = isinstance(value, tuple) and all(isinstance(each, Expectation) for each in value)
    if not whole or len(value) < least:  # type: ignore[arg-type]  # a tuple, if it is whole
        raise ValueError(f"{name} must be a tuple of Expectations, like (e,), got {value!r}")
