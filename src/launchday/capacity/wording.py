"""How planning writes numbers: one way in the paragraph, the page, the plots and the terminal."""

from __future__ import annotations

import math

from launchday.capacity.results import Estimate
from launchday.capacity.steps import Objective


def number(value: float) -> str:
    """A number as people write it: 12,343; 184; 35.6; 0.0267; "no limit" for infinity."""
    if not math.isfinite(value):
        return "no limit"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    return text if "e" not in text else f"{value:.2g}"


def milliseconds(seconds: float) -> str:
    """A time: 0.85 ms, 600 ms, 12.5 s."""
    if seconds >= 10:
        return f"{number(seconds)} s"
    return f"{number(seconds * 1000)} ms"


def percent(share: float) -> str:
    """A share: 0.1 %, 85 %."""
    return f"{share * 100:.3g} %"


def signed_percent(share: float) -> str:
    """A difference: -2 %, +11 %, 0 %."""
    text = f"{share * 100:+.0f} %" if abs(share) >= 0.0095 else f"{share * 100:+.1f} %"
    return "0 %" if text in {"+0.0 %", "-0.0 %"} else text


def measure(objective: Objective) -> str:
    """What the objective looks at: p99, p99.9, mean latency."""
    return "mean latency" if objective.quantile is None else f"p{objective.quantile * 100:g}"


def limit(objective: Objective) -> str:
    """The latency part of the objective: p99 <= 600 ms."""
    return f"{measure(objective)} <= {milliseconds(objective.seconds)}"


def interval(estimate: Estimate) -> str:
    """The interval in brackets, empty where there is none or it has no width: (95 % CI 178-190)."""
    if estimate.low is None or estimate.high is None or _no_width(estimate.low, estimate.high):
        return ""
    if math.isinf(estimate.high):
        return f"(95 % CI {number(estimate.low)} to no limit)"
    low, high = number(estimate.low), number(estimate.high)
    if low == high:
        low, high = f"{estimate.low:.5g}", f"{estimate.high:.5g}"
    return f"(95 % CI {low}-{high})"


def plus_minus(estimate: Estimate) -> str:
    """The number with half its interval: 196 ± 4; without an interval the number alone."""
    low, high = estimate.low, estimate.high
    if low is None or high is None or not math.isfinite(high - low) or _no_width(low, high):
        return number(estimate.value)
    half = (high - low) / 2
    # As many places as the number has: 196 ± 4, not 196 ± 3.92.
    rounded = f"{half:,.0f}" if abs(estimate.value) >= 100 and half >= 0.5 else number(half)
    return f"{number(estimate.value)} ± {rounded}"


def _no_width(low: float, high: float) -> bool:
    """Whether five digits cannot tell them apart: 12,500 ± 8e-12 is no precision anybody has."""
    return f"{low:.5g}" == f"{high:.5g}"


def with_interval(estimate: Estimate) -> str:
    """The number and its interval: 184 (95 % CI 178-190)."""
    return f"{number(estimate.value)} {interval(estimate)}".strip()


def plural(count: int, word: str) -> str:
    """1 replica, 9 replicas."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def joined(parts: list[str]) -> str:
    """a; a and b; a, b and c."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
