"""What other objectives and larger surges would need: the table beside the answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from launchday.capacity.forecast import Forecast
from launchday.capacity.replicas import (
    UTILISATION,
    Scaling,
    check_settings,
    replicas_for,
    usable_rps,
)
from launchday.capacity.results import Estimate, Rung, WhatIf
from launchday.errors import RecordError, SettingsError

SURGES = (1.0, 1.5, 2.0, 3.0, 5.0)
MOST_SURGE = 1000.0
_LIMITS = {"shed": "the share shed is", "errors": "the share of errors is"}


def what_if(
    ladder: Sequence[Rung],
    forecast: Forecast,
    *,
    tested_replicas: int = 1,
    surges: Sequence[float] = SURGES,
    zones: int = 1,
    utilisation: float = UTILISATION,
    attempts: float = 1.0,
    scaling: Scaling | None = None,
    binding: str = "latency",
    recommended: tuple[float, float] = (0.0, math.inf),
) -> tuple[WhatIf, ...]:
    """Each objective of the ladder times each surge; objectives from strict to loose.

    A row's `forecast_rps` is the upper forecast times the surge, its `replicas` survive the loss of
    one and, with two zones or more, of a zone. The rates of the rungs are those of
    `tested_replicas` together. What meets an objective meets every looser one: a looser rung whose
    lower bound is less (bootstraps differ) takes that of the stricter. A rung without a rate gives
    rows without a number, and `words` say why. `recommended` is the plan's own objective in seconds
    and what it uses of a replica: no stricter objective allows more, and none at all where
    `binding` ("shed", "errors") is not latency. One that was always met allows as much.

    Raises:
        SettingsError: a surge is not above 0 and at most 1000, or another setting is not possible.
    """
    _check(surges, tested_replicas)
    check_settings(zones, 1, utilisation, attempts)

    def needed(rps: float, each: float) -> int:
        capacity = Estimate(each, each, None, 1, "ladder of objectives")
        return replicas_for(
            Forecast(rps),
            capacity,
            zones=zones,
            utilisation=utilisation,
            attempts=attempts,
            scaling=scaling,
        ).across_zones

    rows: list[WhatIf] = []
    best = 0.0
    for rung in sorted(ladder, key=lambda rung: rung.seconds):
        each, words = _each(rung, tested_replicas, binding, recommended)
        if each is not None:
            best = each = max(best, each)
        rows += [
            _row(rung.seconds, surge, forecast.high_rps * surge, each, words, needed)
            for surge in surges
        ]
    return tuple(rows)


def _row(
    seconds: float,
    surge: float,
    rps: float,
    each: float | None,
    words: str,
    needed: Callable[[float, float], int],
) -> WhatIf:
    """Too many replicas are a row without a number, not a table that is refused."""
    if each is None:
        return WhatIf(seconds, surge, rps, None, None, words)
    try:
        return WhatIf(seconds, surge, rps, each, needed(rps, each), words)
    except SettingsError as error:
        why = f"no number at {surge:g} times the forecast: {error}"
        return WhatIf(seconds, surge, rps, each, None, why)


def _check(surges: Sequence[float], tested_replicas: int) -> None:
    for surge in surges:
        if not 0 < surge <= MOST_SURGE:
            raise SettingsError(
                f"surge is {surge!r}: it must be above 0 and at most {MOST_SURGE:g}"
            )
    if tested_replicas < 1:
        raise SettingsError(f"tested replicas is {tested_replicas!r}: it must be at least 1")


def _each(
    rung: Rung, tested_replicas: int, binding: str, recommended: tuple[float, float]
) -> tuple[float | None, str]:
    """What one replica carries at this objective, and what is to be said about it."""
    own_seconds, most = recommended
    other = _LIMITS.get(binding, "")
    words = f"{other} the limit, not latency: a looser objective buys nothing" if other else ""
    if rung.always_met and math.isfinite(most):
        return most, words or f"{rung.words}; at least what is recommended"
    if rung.rps is None:
        why = rung.words or "nothing was proved"
        return None, f"no number at {rung.seconds * 1000:g} ms: {why}"
    try:
        each = usable_rps(rung.rps) / tested_replicas
    except RecordError as error:
        return None, f"no number at {rung.seconds * 1000:g} ms: {error}"
    capped = bool(other) or rung.seconds <= own_seconds
    return min(each, most) if capped else each, words or rung.words
