"""From a forecast and the capacity of one replica to how many are needed, with spare ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from launchday.capacity.forecast import Forecast
from launchday.capacity.results import Estimate, Replicas
from launchday.capacity.wording import number, plural
from launchday.errors import RecordError, SettingsError

UTILISATION = 0.8
"""Replicas are planned to run at this share of what was proved: the rest is for what varies."""

MOST_REPLICAS = 1_000_000
MOST_ZONES = 100
ROUNDING = 1e-12
"""1200 · 1.1 / (1 · 0.8) may miss its whole number by a few units in the last place."""

Scaling = Callable[[int], float]
"""n -> what n replicas carry, as a share of n times what one carries."""


def replicas_for(
    forecast: Forecast,
    per_replica: Estimate,
    *,
    zones: int = 1,
    lost_zones: int = 1,
    utilisation: float = UTILISATION,
    attempts: float = 1.0,
    scaling: Scaling | None = None,
) -> Replicas:
    """How many replicas carry the upper forecast (reference, 2.2).

        n = ⌈λ_high · A / (c_low · u*)⌉, n + 1, and Z · ⌈n / (Z - f)⌉ across zones

    `attempts` A: requests sent per request wanted (1: nobody retries). `utilisation` u*: how much
    of the proved capacity may be used (default 0.8). c_low is the lower bound of `per_replica` in
    rps, its value where it has no interval. One zone (the default) cannot be survived: then
    `across_zones` is n + 1. Without `scaling`, n replicas are taken to carry n times as much as
    one, and the sentence says so; it must be such that n · scaling(n) grows with n.

    Raises:
        SettingsError: `zones`, `lost_zones`, `utilisation` or `attempts` is not possible, or more
            than a million replicas would be needed.
        RecordError: the capacity of a replica is not above 0.
    """
    check_settings(zones, lost_zones, utilisation, attempts)
    each = usable_rps(per_replica) * utilisation
    needed = at_least(forecast.high_rps * attempts, each, scaling)
    per_zone = math.ceil(needed / (zones - lost_zones)) if zones > 1 else needed + 1
    across = zones * per_zone
    words = [
        f"{number(forecast.high_rps)} rps (upper forecast) need {plural(needed, 'replica')} at "
        f"{utilisation:.0%} of {number(usable_rps(per_replica))} rps each",
        f"{needed + 1:,} with one spare",
    ]
    if zones > 1:
        what = "one" if lost_zones == 1 else str(lost_zones)
        words.append(
            f"{across:,} ({per_zone:,} in each of {zones} zones) to survive the loss of {what}"
        )
    caveats = [] if zones > 1 else ["one zone: its loss is not survived"]
    caveats += [] if per_replica.low is not None else ["the capacity has no interval"]
    caveats += [] if attempts == 1 else [f"every request is sent {attempts:g} times on average"]
    caveats += [] if scaling else ["linear scaling is assumed, not measured"]
    sentence = f"{', '.join(words)}; {'; '.join(caveats)}." if caveats else f"{', '.join(words)}."
    return Replicas(forecast.high_rps, needed, needed + 1, zones, per_zone, across, sentence)


def survivors(total: int, zones: int = 1, lost_zones: int = 1) -> int:
    """How many of `total` replicas are left at worst: one lost, or the fullest zones lost.

    They are spread as evenly as possible. Never below 0.
    """
    if total < 1 or zones < 1:
        return 0
    whole, rest = divmod(total, zones)
    in_lost_zones = lost_zones * whole + min(rest, lost_zones) if zones > 1 else 1
    return max(total - max(in_lost_zones, 1), 0)


def usable_rps(per_replica: Estimate) -> float:
    """The lower bound of what a replica carries; its value where it has no interval.

    Raises:
        RecordError: it is not above 0.
    """
    rps = per_replica.value if per_replica.low is None else per_replica.low
    if not (math.isfinite(rps) and rps > 0):
        raise RecordError(
            f"the lower bound of what a replica carries is {rps:g} rps: nothing can be planned on "
            "it; measure longer, or more replicates"
        )
    return rps


def at_least(rps: float, each_rps: float, scaling: Scaling | None = None) -> int:
    """The smallest number of replicas that together carry `rps`; at least 1.

    Raises:
        SettingsError: more than a million would be needed.
    """
    share = scaling or (lambda replicas: 1.0)
    wanted = rps / each_rps * (1 - ROUNDING)
    too_few, enough = 0, 1
    while enough * share(enough) < wanted:
        too_few, enough = enough, enough * 2
        if enough > 2 * MOST_REPLICAS:
            break
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if middle * share(middle) < wanted:
            too_few = middle
        else:
            enough = middle
    if enough > MOST_REPLICAS:
        raise SettingsError(
            f"{number(rps)} rps at {each_rps:g} rps a replica need more than {MOST_REPLICAS:,} "
            "replicas: check the forecast and the capacity"
        )
    return enough


def measured_scaling(groups: Sequence[tuple[int, float]]) -> Scaling:
    """The share of linear, from (replicas, rps of all) of two or more numbers of replicas.

    A power law X(n) ∝ n^e by least squares on logarithms; share(n) = (n / n0)^(e - 1) with n0 the
    smallest number measured, where one replica's capacity must come from. Better than linear is
    not believed: e is at most 1.

    Raises:
        RecordError: fewer than two different numbers of replicas, a rate that is not above 0, or
            more replicas carried no more.
    """
    if len({replicas for replicas, _ in groups}) < 2:
        raise RecordError("scaling needs measurements of at least two numbers of replicas")
    if any(replicas < 1 or not (math.isfinite(rps) and rps > 0) for replicas, rps in groups):
        raise RecordError("scaling needs replicas of at least 1 and rates above 0")
    logs = [(math.log(replicas), math.log(rps)) for replicas, rps in groups]
    mean_n, mean_x = (math.fsum(column) / len(logs) for column in zip(*logs, strict=True))
    spread = math.fsum((n - mean_n) ** 2 for n, _ in logs)
    exponent = math.fsum((n - mean_n) * (x - mean_x) for n, x in logs) / spread
    if exponent <= 0:
        raise RecordError("more replicas carried no more than fewer: something else is the limit")
    smallest = min(replicas for replicas, _ in groups)
    power = min(exponent, 1.0) - 1
    return lambda replicas: float(max(replicas / smallest, 1.0) ** power)


def check_settings(zones: int, lost_zones: int, utilisation: float, attempts: float) -> None:
    """Refuse what no plan can be made for.

    Raises:
        SettingsError: names the setting, its value and what is allowed.
    """
    if not 1 <= zones <= MOST_ZONES:
        raise SettingsError(f"zones is {zones!r}: it must be from 1 to {MOST_ZONES}")
    most_lost = max(zones - 1, 1)
    if not 1 <= lost_zones <= most_lost:
        raise SettingsError(f"lost zones is {lost_zones!r}: with {zones} zones, 1 to {most_lost}")
    if not 0 < utilisation <= 1:
        raise SettingsError(f"utilisation is {utilisation!r}: it must be above 0 and at most 1")
    if not (math.isfinite(attempts) and attempts >= 1):
        raise SettingsError(f"attempts is {attempts!r}: it must be a number from 1")
