"""What planning says: every number with its interval, how it was found and from how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A number with a 95 % interval.

    `low` and `high` are None where there is no interval; `high` may be infinite (a peak that need
    not exist). `n` is how many independent things it rests on, `method` how it was found.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    method: str


@dataclass(frozen=True)
class UslFit:
    """X(N) = γN / (1 + α(N-1) + βN(N-1)), N in flight (Gunther).

    `peak_concurrency` √((1-α)/β) and `peak_rps`, infinite or γ/α without a peak. `flags` are words
    of `usl_flags`; `refused` says why there is no trustworthy model (then the numbers are shown,
    not used). `aicc` by model name (usl, amdahl, linear, log_usl), smaller is better; `best` the
    smallest. `no_peak_share`: share of bootstrap resamples without a peak. `robust` is the soft-L1
    twin (α, β, γ). `residuals` in the order of the points, `band` (N, low, high) of the mean.
    """

    alpha: Estimate
    beta: Estimate
    gamma: Estimate
    peak_concurrency: Estimate
    peak_rps: Estimate
    limit_rps: float
    points: tuple[tuple[float, float], ...]
    residuals: tuple[float, ...]
    robust: tuple[float, float, float]
    aicc: Mapping[str, float]
    best: str
    no_peak_share: float
    r_squared: float
    band: tuple[tuple[float, float, float], ...]
    flags: tuple[str, ...] = ()
    refused: str | None = None


@dataclass(frozen=True)
class Rung:
    """A step of the ladder of objectives: the rate at which the quantile crosses `seconds`.

    `always_met`: it did not, up to the highest load.
    """

    seconds: float
    rps: Estimate | None
    words: str
    always_met: bool = False


@dataclass(frozen=True)
class Found:
    """The rate that the objective allows, per target as tested.

    `crossing` is the point estimate (isotonic on log latency): None with `refused` = "never met"
    or "always met …" in words. `proved` is the highest steady step whose upper bounds met every
    criterion: what is recommended; `proved_source` names it. `binding` is what is missed first
    above it: "latency", "shed", "errors", or "" where nothing was missed. `why_not_proved` says
    in words why `proved` is None, where measuring longer or lower would change that.
    """

    crossing: Estimate | None
    proved: Estimate | None
    proved_source: str
    binding: str
    ladder: tuple[Rung, ...]
    tested_low_rps: float
    tested_high_rps: float
    refused: str | None = None
    why_not_proved: str = ""


@dataclass(frozen=True)
class Demand:
    """What one request takes of one resource (utilisation law U = X · D / m).

    `seconds` of one unit; `saturates_rps` = m · U* / D. `at_limit`: its utilisation at the highest
    tested step below the knee.
    """

    resource: str
    seconds: Estimate
    units: float
    saturates_rps: Estimate
    highest_utilisation: float
    words: str

    def utilisation_at(self, rps: float) -> float:
        """U = (background + X · D) / m, at least 0: it is 1 where the resource is full."""
        room = (self.saturates_rps.value - rps) * self.seconds.value / self.units
        return max(0.0, 1 - room)


@dataclass(frozen=True)
class Bottleneck:
    """Which resource gives out first. `resource` is "" where none of the measured explains it."""

    resource: str
    second: str
    demands: tuple[Demand, ...]
    sentence: str


@dataclass(frozen=True)
class Replicas:
    """How many replicas carry a rate: n, n + 1, and in zones of which one may be lost."""

    forecast_rps: float
    replicas: int
    with_spare: int
    zones: int
    per_zone: int
    across_zones: int
    sentence: str


@dataclass(frozen=True)
class WhatIf:
    """A row of the what-if table: an objective and a surge, and the replicas that they need."""

    objective_seconds: float
    surge: float
    forecast_rps: float
    per_replica_rps: float | None
    replicas: int | None
    words: str


@dataclass(frozen=True)
class Growth:
    """A quarter ahead: what is forecast then, what it needs, and whether today's replicas do."""

    quarter: int
    rps: Estimate
    replicas: int
    enough: bool


@dataclass(frozen=True)
class RetryVerdict:
    """Whether retries can hold the target down: V > 1 means that a stuck state exists.

    V = ρ max(1, c · max_p[1-(1-p)^A + k · a(p) · (1-p)]), a(p) = (1-(1-p)^A)/p (reference, 3.4).
    `ratio` is k: CPU of a refusal by CPU of an answer, None if not known (then k = 0.2 is assumed).
    `cpu_share` is c, how much of its CPU the target uses at its capacity: 1 where it is not known.
    """

    policy: str
    attempts: int
    utilisation: float
    ratio: float | None
    vulnerability: float
    stuck: bool
    largest_recoverable_surge: float | None
    sentence: str
    cpu_share: float = 1.0


@dataclass(frozen=True)
class Validation:
    """A number that was predicted, and what a run measured afterwards."""

    what: str
    rps: float
    predicted: float
    measured: float
    error_share: float
    within: bool
    source: str
