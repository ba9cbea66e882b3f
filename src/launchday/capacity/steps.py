"""What every part of planning takes in: loads that were held, and what they are held to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from launchday.histogram import LogHistogram


@dataclass(frozen=True)
class Objective:
    """What a request may take and how many may be turned away or fail.

    `quantile` of the latency of admitted requests must not exceed `seconds`; None: their mean.
    `most_shed_share` and `most_error_share` are shares of what was offered.
    """

    quantile: float | None = 0.99
    seconds: float = 0.5
    most_shed_share: float = 0.001
    most_error_share: float = 0.001


@dataclass(frozen=True)
class Batch:
    """A few seconds of a step; `latency` is that of admitted requests, from their intended time."""

    seconds: float
    offered: int
    good: int
    shed: int
    errors: int
    latency: LogHistogram


@dataclass(frozen=True)
class Step:
    """One load, held for a while against a known number of replicas.

    `source` says where it comes from (a run and its seconds, a file and its line). Rates are per
    second and of the whole target. `concurrency` is what was in flight (Little: X · R), measured at
    the client. `latency_seconds` is at the objective's quantile (None: unknown), `low_` and
    `high_seconds` its 95 % interval. `batches` are empty for what other tools measured.
    `utilisation` is the mean of each resource of the target, 0 to 1 of one unit; `units` how many
    of it there are. `unsteady` says why the step is no steady state; it is empty for a steady one.
    `held_out` steps are left out of fits, to check them. `call_seconds` is how long a call to each
    dependency of the target takes on average, `calls_per_request` how many a request makes.
    """

    source: str
    offered_rps: float
    goodput_rps: float
    throughput_rps: float
    concurrency: float
    mean_seconds: float | None
    latency_seconds: float | None
    seconds: float = 0.0
    requests: int = 0
    shed_share: float = 0.0
    error_share: float = 0.0
    low_seconds: float | None = None
    high_seconds: float | None = None
    replicas: int = 1
    run_id: str = ""
    batches: tuple[Batch, ...] = ()
    utilisation: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, float] = field(default_factory=dict)
    unsteady: tuple[str, ...] = ()
    held_out: bool = False
    call_seconds: Mapping[str, float] = field(default_factory=dict)
    calls_per_request: Mapping[str, float] = field(default_factory=dict)

    @property
    def steady(self) -> bool:
        """Whether it may be used for fits and proofs."""
        return not self.unsteady


@dataclass(frozen=True)
class LeftOut:
    """Something that was measured and is no measurement of capacity, and why."""

    source: str
    reason: str


@dataclass(frozen=True)
class Measured:
    """Steps of one target, sorted by nothing; what was left out; why nothing may be said at all.

    `invalid` holds the reasons for which the measurement as a whole counts for nothing (a
    saturated generator, mixed replicas, …); empty: it counts. `digest` is a SHA-256 of what was
    read, so that a number can be traced to it.
    """

    steps: tuple[Step, ...]
    left_out: tuple[LeftOut, ...] = ()
    invalid: tuple[str, ...] = ()
    target: str = ""
    digest: str = ""
