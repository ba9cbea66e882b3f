"""Whether clients that ask again can hold the target down after a surge is over."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from launchday.capacity.results import RetryVerdict
from launchday.errors import SettingsError

ATTEMPTS = 5
MOST_ATTEMPTS = 100
ASSUMED_RATIO = 0.2
BUDGET_SHARE = 0.1

POLICIES: Mapping[str, str] = {
    "none": "clients that never retry",
    "immediate": "clients that retry at once",
    "exponential": "clients that back off exponentially",
    "full_jitter": "clients that back off with full jitter",
    "retry_after": "clients that come back exactly after Retry-After",
    "budget": "clients that retry at most 10 % of their requests",
}
"""By name, as in `launchday run`: what the sentence calls them. When a client comes back changes
the peak of the return and not how often it asks, so it does not change V (reference, 3.4)."""

_GRID = 2001
_REFINEMENTS = 4

_Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def attempts_per_request(
    policy: str, most_attempts: int, answered: NDArray[np.float64]
) -> NDArray[np.float64]:
    """a(p): how often a request is sent if each attempt is answered with probability p.

    (1 - (1-p)^A) / p, A at p = 0; under a budget at most 1.1.
    """
    most = 1 if policy == "none" else most_attempts
    # -expm1(A·log1p(-p)) = 1 - (1-p)^A without cancellation at small p
    with np.errstate(divide="ignore", invalid="ignore"):
        sent = -np.expm1(most * np.log1p(-answered)) / answered
    sent = np.where(answered == 0, float(most), sent)
    return np.minimum(sent, 1 + BUDGET_SHARE) if policy == "budget" else sent


def vulnerability(
    policy: str, attempts: int, utilisation: float, ratio: float, cpu_share: float = 1.0
) -> float:
    """V = max_p ρ [1-(1-p)^A + k · a(p) · (1-p)], a(p) = (1-(1-p)^A) / p (reference, 3.4).

    The work that is asked of the target, by what it can do, in the worst state that retries can
    keep up: where p of the attempts are answered, each at a cost of 1, the rest refused at a cost
    of k. Above 1 such a state sustains itself. k = 1 is a target without shedding, where every
    attempt is worked on and too late: V = ρ · A. The maximum over p in [0, 1] is found on a grid,
    refined four times around its best point.

    `cpu_share` is how much of its CPU the target uses at its capacity. Where slots give out and
    not CPU it is below 1: refusals take CPU and no slots, so V = ρ max(1, cpu_share · max_p[...]).
    """

    def work(p: NDArray[np.float64]) -> NDArray[np.float64]:
        sent = attempts_per_request(policy, attempts, p)
        return sent * (p + ratio * (1 - p))

    return utilisation * max(1.0, cpu_share * _maximum(work))


def verdict(
    policy: str,
    attempts: int,
    utilisation: float,
    ratio: float | None = None,
    shedding: bool = True,
    *,
    cpu_share: float = 1.0,
) -> RetryVerdict:
    """Whether a stuck state exists under this policy, in words that a manager can read.

    `attempts` A: the most that a client sends for one request (default of `verdicts`: 5; 1 for
    the policy none, whatever is given). `utilisation` ρ: requests wanted by capacity. `ratio` k:
    CPU of a refusal by CPU of an answer, None if it is not known (0.2 is assumed and said).
    `cpu_share` as in `vulnerability`.
    Without `shedding` every attempt costs a whole answer: k is 1 and `ratio` not looked at.

    `largest_recoverable_surge` is 1/V: so many times the load may last, and the target still gets
    out of an overload by itself (at that load V is 1). A larger surge is survived too, once the
    load is back below it. It is None where V > 1. V > 1 is necessary for being stuck, not
    sufficient: a surge must first push waiting past the clients' patience. Assumes like clients,
    independent outcomes, no circuit breaker.

    Raises:
        SettingsError: the policy is unknown, or a number is not possible.
    """
    _check(policy, attempts, utilisation, ratio)
    sent = 1 if policy == "none" else attempts
    cost = 1.0 if not shedding else ASSUMED_RATIO if ratio is None else ratio
    share = cpu_share if shedding else 1.0
    value = vulnerability(policy, sent, utilisation, cost, share)
    stuck = value > 1 + 1e-12  # 0.2 · 5 is 1, and 1 is not stuck
    surge = None if stuck else 1 / value
    unshed = vulnerability(policy, sent, utilisation, 1.0)
    words = [
        _sentence(policy, sent, utilisation, value, stuck),
        _basis(ratio, shedding, policy, share),
        _if_nobody_is_refused(value, unshed) if shedding and ratio is None else "",
    ]
    sentence = " ".join(part for part in words if part)
    return RetryVerdict(policy, sent, utilisation, ratio, value, stuck, surge, sentence, share)


def verdicts(
    utilisation: float,
    ratio: float | None = None,
    *,
    attempts: int = ATTEMPTS,
    shedding: bool = True,
    cpu_share: float = 1.0,
    policies: Sequence[str] = tuple(POLICIES),
) -> tuple[RetryVerdict, ...]:
    """`verdict` for each of the `policies`, all of them where nothing is said."""
    return tuple(
        verdict(policy, attempts, utilisation, ratio, shedding, cpu_share=cpu_share)
        for policy in policies
    )


def _maximum(curve: _Curve) -> float:
    """The largest value on [0, 1]. Several humps are possible: hence the fine first grid."""
    low, high, best = 0.0, 1.0, -math.inf
    for _ in range(1 + _REFINEMENTS):
        points = np.linspace(low, high, _GRID)
        values = curve(points)
        at = int(np.argmax(values))
        best = max(best, float(values[at]))
        low, high = float(points[max(at - 1, 0)]), float(points[min(at + 1, _GRID - 1)])
    return best


def _sentence(policy: str, attempts: int, utilisation: float, value: float, stuck: bool) -> str:
    who = f"{POLICIES[policy]}" + (f" (up to {attempts} attempts)" if attempts > 1 else "")
    who = who[0].upper() + who[1:]
    if utilisation >= 1:
        return (
            f"{who}: {utilisation:.0%} of capacity is asked for, so the target is overloaded "
            f"before anybody retries (V = {value:.2f}): load must fall to {1 / value:.0%} of that."
        )
    if stuck:
        return (
            f"{who} can hold the target down after a surge is over (V = {value:.2f}, above 1): to "
            f"free it, load must be cut to {1 / value:.0%} of what is planned."
        )
    return (
        f"{who} cannot hold the target down (V = {value:.2f}): it recovers by itself from any "
        f"surge once load is back below {1 / value:.2f} times what is planned."
    )


def _basis(ratio: float | None, shedding: bool, policy: str, cpu_share: float) -> str:
    """What the verdict rests on that was not measured."""
    if not shedding:
        told = " and nobody is told when to come back" if policy == "retry_after" else ""
        return f"Without shedding every attempt costs a whole answer{told}."
    if ratio is None:
        words = f"Assumed, not measured: a refusal costs {ASSUMED_RATIO:.0%} of an answer's CPU"
    else:
        words = f"Given: a refusal costs {ratio:.1%} of an answer's CPU"
    spare = f"; at its capacity the target uses {cpu_share:.0%} of its CPU" if cpu_share < 1 else ""
    return f"{words}{spare}."


def _if_nobody_is_refused(value: float, unshed: float) -> str:
    """That a target refuses at all is part of what is assumed."""
    return f"If it refuses nobody, V is {unshed:.2f}." if unshed > value * (1 + 1e-9) else ""


def _check(policy: str, attempts: int, utilisation: float, ratio: float | None) -> None:
    if policy not in POLICIES:
        raise SettingsError(f"retry policy is {policy!r}: it must be one of {', '.join(POLICIES)}")
    if not 1 <= attempts <= MOST_ATTEMPTS:
        raise SettingsError(f"attempts is {attempts!r}: it must be from 1 to {MOST_ATTEMPTS}")
    if not (math.isfinite(utilisation) and utilisation > 0):
        raise SettingsError(f"utilisation is {utilisation!r}: it must be a number above 0")
    if ratio is not None and not (math.isfinite(ratio) and ratio >= 0):
        raise SettingsError(f"cost of a refusal is {ratio!r}: it must be a number from 0")
