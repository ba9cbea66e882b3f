"""From capacity and a forecast to replicas."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from launchday.capacity.model import Capacity

UTILISATION = 0.8
"""Replicas are planned to run at this share of what was proved: the rest is for what varies."""


@dataclass(frozen=True)
class Forecast:
    """Requests per second at the peak of the launch, and how far that may be off."""

    rps: float
    plus_minus_rps: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Forecast:
        """Read '1200', '1200rps', '1200±150' or '1200+-150rps'.

        Raises:
            ValueError: it is none of these, or not above 0.
        """
        number = r"(\d+(?:\.\d+)?)"
        match = re.fullmatch(rf"{number}\s*(?:(?:±|\+-|\+/-)\s*{number})?\s*(?:rps)?", text.strip())
        if not match or float(match[1]) <= 0:
            raise ValueError(f"forecast must be like 1200rps or 1200±150, above 0; got {text!r}")
        return cls(float(match[1]), float(match[2] or 0.0))


@dataclass(frozen=True)
class Plan:
    """How many replicas for a forecast.

    `replicas` carry the upper forecast at 80 % of the lower bound of capacity; `spare` is one
    more, so that one may fail or be restarted; `across_zones` survives the loss of a whole zone.
    `caveats` are part of the answer.
    """

    replicas: int
    spare: int
    across_zones: int | None
    caveats: tuple[str, ...]


def plan(capacity: Capacity, forecast: Forecast, zones: int = 1) -> Plan:
    """n = ⌈forecast_high / (capacity_low · 0.8)⌉; n + 1; zones · ⌈n / (zones - 1)⌉.

    Raises:
        ValueError: `zones` is below 1, or nothing was proved.
    """
    if zones < 1:
        raise ValueError(f"zones must be at least 1, got {zones!r}")
    if capacity.low_rps <= 0:
        raise ValueError("capacity_low must be above 0: too few windows, or too different ones")
    high = forecast.rps + forecast.plus_minus_rps
    replicas = math.ceil(high / (capacity.low_rps * UTILISATION))
    across = zones * math.ceil(replicas / (zones - 1)) if zones > 1 else None
    return Plan(replicas, replicas + 1, across, _caveats(capacity, replicas))


def _caveats(capacity: Capacity, replicas: int) -> tuple[str, ...]:
    caveats = ["UNVALIDATED: no run at the planned rate has confirmed this."]
    if not capacity.saturated:
        caveats.append(
            f"The target was never held at its limit within the objective: {capacity.rps:.0f} rps "
            "is what was proved, its capacity may be higher."
        )
    if replicas > 1:
        caveats.append(
            "Assumes that replicas scale linearly; what they share (database, gateway) was not "
            "measured at the combined rate."
        )
    return tuple(caveats)
