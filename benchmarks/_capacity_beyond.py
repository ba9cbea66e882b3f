"""How far off the scalability law is a little beyond the loads that it was fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from launchday.capacity.pipeline import FEWEST_LOADS
from launchday.capacity.steps import Step
from launchday.capacity.usl import Usl
from launchday.capacity.usl_fit import fit_usl

NEAREST, FURTHEST = 1.05, 1.25
GOAL = 0.15


@dataclass(frozen=True)
class Beyond:
    """Throughput of a load that lies `times` as far as the highest in flight that was fitted."""

    rps: float
    times: float
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """Measured by predicted, less 1."""
        return self.measured / self.predicted - 1


def beyond(steps: Sequence[Step]) -> list[Beyond]:
    """For each load: the law of the lower ones, where the highest of those is near enough.

    As in the reference (1.5): the k smallest in flight, k >= 6, predict every larger one up to
    1.25 times the largest of the k. What is hardly beyond it proves nothing.
    """
    steady = sorted((s for s in steps if s.steady), key=lambda step: step.concurrency)
    found = []
    for k in range(FEWEST_LOADS, len(steady)):
        fit = fit_usl([(s.concurrency, s.throughput_rps) for s in steady[:k]])
        law = Usl(fit.alpha.value, fit.beta.value, fit.gamma.value)
        for step in steady[k:]:
            times = step.concurrency / steady[k - 1].concurrency
            if NEAREST <= times <= FURTHEST:
                says = law.throughput(step.concurrency)
                found.append(Beyond(step.offered_rps, times, says, step.throughput_rps))
    return found
