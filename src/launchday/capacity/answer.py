"""What is asked of planning, and the whole of what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from launchday.capacity.cost import Cost, Price
from launchday.capacity.forecast import Forecast
from launchday.capacity.growth import FleetGrowth
from launchday.capacity.replicas import UTILISATION
from launchday.capacity.results import (
    Bottleneck,
    Demand,
    Estimate,
    Found,
    Growth,
    Replicas,
    RetryVerdict,
    UslFit,
    Validation,
    WhatIf,
)
from launchday.capacity.retry_verdict import ATTEMPTS
from launchday.capacity.steps import Measured, Objective
from launchday.capacity.what_if import SURGES


class Status(StrEnum):
    """How far a plan was checked against a run that it did not know."""

    UNVALIDATED = "UNVALIDATED"
    VALIDATED = "VALIDATED"
    REFUTED = "REFUTED"


@dataclass(frozen=True)
class Request:
    """What somebody wants to know.

    `forecast` is the peak that is expected, `growth` how it grows by the quarter, `price` what a
    replica costs: None where not asked. `zones` is how many the replicas are spread over; one of
    them may be lost. `replicas_now` is how many run today. `utilisation` u* is the share of the
    proved rate that is planned for (default 0.8), `amplification` how many attempts come in for a
    request (1: nobody retries). `retry_policy` names the one policy to be judged ("": all),
    `retry_attempts` how often it tries, `refusal_ratio` what a refusal costs of an answer's CPU
    (None: not known), `shedding` whether the target refuses at all. `surges` are the
    rows of the what-if table. `seed` is that of every drawn number.
    """

    objective: Objective = field(default_factory=Objective)
    forecast: Forecast | None = None
    zones: int = 1
    growth: FleetGrowth | None = None
    replicas_now: int | None = None
    price: Price | None = None
    utilisation: float = UTILISATION
    amplification: float = 1.0
    retry_policy: str = ""
    retry_attempts: int = ATTEMPTS
    refusal_ratio: float | None = None
    shedding: bool = True
    surges: tuple[float, ...] = SURGES
    seed: int = 1


@dataclass(frozen=True)
class Validity:
    """The loads for which the numbers hold, requests per second of the target as tested.

    Tested from `low_rps` to `tested_rps`; believed up to `valid_to_rps` (1.5 times that), with a
    banner up to `refused_beyond_rps` (twice that), beyond it nothing is said. `scaled_to_replicas`
    is the highest number of replicas that was measured: more are an assumption. The model's own
    range is in requests in flight: tested to `tested_concurrency`, believed up to 1.5 times that.
    """

    low_rps: float
    tested_rps: float
    valid_to_rps: float
    refused_beyond_rps: float
    scaled_to_replicas: int
    tested_concurrency: float = 0.0
    valid_to_concurrency: float = 0.0


@dataclass(frozen=True)
class Plan:
    """The answer, all of it: numbers, what they rest on, and why some are missing.

    `usl` is None where no model could be fitted, `usl_missing` says why. `found` is None only
    where the plan is refused. `per_replica` is the rate that is recommended for one replica: what
    was proved, with the interval's lower end. `queueing` are sentences on what load costs in
    waiting. `held_out` compares the model with steps it was not fitted to; it is no validation:
    `validations` are, and come from runs made after the plan. `flags` are what a reader has to
    know before he believes a number. `refused` says why there is no plan (None: there is one).
    """

    request: Request
    measured: Measured
    usl: UslFit | None = None
    usl_missing: str = ""
    found: Found | None = None
    per_replica: Estimate | None = None
    bottleneck: Bottleneck | None = None
    validity: Validity | None = None
    replicas: Replicas | None = None
    what_if: tuple[WhatIf, ...] = ()
    growth: tuple[Growth, ...] = ()
    run_out: str = ""
    cost: Cost | None = None
    retry: tuple[RetryVerdict, ...] = ()
    queueing: tuple[str, ...] = ()
    held_out: tuple[Validation, ...] = ()
    validations: tuple[Validation, ...] = ()
    flags: tuple[str, ...] = ()
    refused: str | None = None
    paragraph: str = ""

    @property
    def status(self) -> Status:
        """UNVALIDATED until runs confirmed it; one prediction that missed refutes the plan."""
        if not self.validations:
            return Status.UNVALIDATED
        held = all(validation.within for validation in self.validations)
        return Status.VALIDATED if held else Status.REFUTED

    @property
    def by_rate(self) -> bool:
        """Whether rates were set, as in our own runs; other tools set how much is in flight."""
        return any(step.run_id for step in self.measured.steps)

    @property
    def valid_to_rps(self) -> float | None:
        """The highest rate of the tested target for which its numbers may be used."""
        return None if self.validity is None else self.validity.valid_to_rps

    @property
    def carried_rps(self) -> float:
        """The highest load that the tested target carried: what it refused says nothing of more."""
        answered = (step.throughput_rps for step in self.measured.steps)
        tested = self.validity.tested_rps if self.validity else 0.0
        return min(tested, max(answered, default=0.0))

    @property
    def limiting(self) -> Demand | None:
        """What a request takes of the bottleneck; None where it is unnamed or not a resource."""
        if self.bottleneck is None:
            return None
        named = (d for d in self.bottleneck.demands if d.resource == self.bottleneck.resource)
        return next(named, None)
