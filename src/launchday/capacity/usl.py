"""The universal scalability law as a formula: rates, latencies, and its inverses done right.

N is the number of requests in flight (Little: X · R), not of users. Several published inverses are
wrong (reference, 1.4): `concurrency_at_throughput` here does not drop β, and
`throughput_at_latency` goes through N. A question without an answer is answered None.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_ROUNDING = 1e-12  # relative; a discriminant this far below 0 is 0 (asked for the very peak)


@dataclass(frozen=True)
class Overhead:
    """What a request costs at N in flight, in units of its time alone (as R's usl `overhead`)."""

    ideal: float
    contention: float
    coherency: float


@dataclass(frozen=True)
class Usl:
    """X(N) = γN / (1 + α(N-1) + βN(N-1)) (Gunther): contention α, coherency β, γ = X(1).

    Raises ValueError for an α or β outside [0, 1] and a γ that is not a finite number above 0:
    within these bounds the divisor is above 0 for every N, outside there may be a pole.
    """

    alpha: float
    beta: float
    gamma: float

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be from 0 to 1, not {self.alpha}")
        if not 0 <= self.beta <= 1:
            raise ValueError(f"beta must be from 0 to 1, not {self.beta}")
        if not (self.gamma > 0 and math.isfinite(self.gamma)):
            raise ValueError(f"gamma must be a finite number above 0, not {self.gamma}")

    @property
    def peak_concurrency(self) -> float:
        """N* = √((1-α)/β), where throughput is highest; infinite if β = 0: there is no peak."""
        return math.sqrt((1 - self.alpha) / self.beta) if self.beta > 0 else math.inf

    @property
    def peak_rps(self) -> float:
        """X* = X(N*); without a peak the limit γ/α (infinite if α = 0 too)."""
        if self.beta == 0:
            return self.limit_rps
        # N* / (1 + α(N*-1) + βN*(N*-1)) with βN*² = 1-α put in; also right for N* = 0 (α = 1),
        # and infinite for α = β = 1, whose X(N) = γ/N has its top at nothing in flight.
        divisor = 2 * math.sqrt((1 - self.alpha) * self.beta) + self.alpha - self.beta
        return self.gamma / divisor if divisor > 0 else math.inf

    @property
    def limit_rps(self) -> float:
        """X_lim = γ/α: never exceeded, even without coherency; infinite if α = 0."""
        return self.gamma / self.alpha if self.alpha > 0 else math.inf

    @property
    def optimal_concurrency(self) -> float:
        """N_opt = 1/α, where the linear bound meets the limit (Gunther); infinite if α = 0."""
        return 1 / self.alpha if self.alpha > 0 else math.inf

    def throughput(self, concurrency: float) -> float:
        """X(N), requests per second with N in flight; 0 of none. ValueError if negative or NaN."""
        _check("concurrency", concurrency)
        if concurrency == 0:
            return 0.0
        return self.gamma * concurrency / self._stretch(concurrency)

    def latency_seconds(self, concurrency: float) -> float:
        """R(N) = (1 + α(N-1) + βN(N-1)) / γ, the mean latency with N in flight."""
        _check("concurrency", concurrency)
        return self._stretch(concurrency) / self.gamma

    def concurrency_at_latency(self, seconds: float) -> float | None:
        """N at which the mean latency is `seconds`.

        [β-α + √(α² + β² + 2β(2γR+α-2))] / (2β), the larger root; (γR-1+α)/α if β = 0. None:
        infeasible, the curve is never as fast. Infinite: it is never as slow (α = β = 0).
        """
        _check("seconds", seconds)
        over = self.gamma * seconds - 1 + self.alpha
        falling = self.beta - self.alpha
        inside = falling**2 + 4 * self.beta * over
        if inside < 0:
            return None
        root = math.sqrt(inside)
        if self.beta == 0 and self.alpha == 0:
            return math.inf if over >= 0 else None
        # Either form is the larger root; each is taken where it subtracts nothing.
        found = (falling + root) / (2 * self.beta) if falling > 0 else 2 * over / (root - falling)
        return found if found > 0 else None

    def throughput_at_latency(self, seconds: float) -> float | None:
        """X at which the mean latency is `seconds`: N(R)/R (Little), infinite as N is.

        Not the ebook's equation x_r, which has the sign of β-α wrong. None: infeasible.
        """
        found = self.concurrency_at_latency(seconds)
        return None if found is None else found / seconds

    def concurrency_at_throughput(self, rps: float) -> float | None:
        """N at which throughput reaches `rps` on the way up.

        The smaller root of βN² + (α-β-γ/X)N + (1-α) = 0, so never one beyond the peak. None:
        infeasible, `rps` is above X* (or α = 1: throughput never rises, so nothing is reached).
        """
        _check("rps", rps)
        if rps == 0:
            return 0.0
        steepness = self.gamma / rps + self.beta - self.alpha
        inside = steepness**2 - 4 * self.beta * (1 - self.alpha)
        if -_ROUNDING * steepness**2 <= inside < 0:
            inside = 0.0
        if inside < 0 or steepness <= 0 or self.alpha == 1:
            return None
        return 2 * (1 - self.alpha) / (steepness + math.sqrt(inside))

    def latency_at_throughput(self, rps: float) -> float | None:
        """Mean latency in seconds where throughput reaches `rps` on the way up; None: infeasible.

        For `rps` = 0 the limit (1-α)/γ of the curve.
        """
        found = self.concurrency_at_throughput(rps)
        return None if found is None else self.latency_seconds(found)

    def overhead(self, concurrency: float) -> Overhead:
        """Ideal 1/p, contention α(p-1)/p, coherency β(p-1)/2 with p in flight; p > 0."""
        _check("concurrency", concurrency)
        if concurrency == 0:
            raise ValueError("concurrency must be above 0, not 0")
        others = concurrency - 1
        contention = self.alpha * others / concurrency
        return Overhead(1 / concurrency, contention, self.beta * others / 2)

    def _stretch(self, concurrency: float) -> float:
        # 1 + α(N-1) + βN(N-1) in the order that keeps its digits for N near 0.
        rest = self.alpha - self.beta + self.beta * concurrency
        return (1 - self.alpha) + concurrency * rest


def _check(name: str, value: float) -> None:
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be a finite number of at least 0, not {value}")
