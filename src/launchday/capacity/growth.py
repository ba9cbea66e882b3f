"""How the forecast grows with the fleet, quarter by quarter, and when the replicas run out."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from launchday.capacity.forecast import Forecast, read_amounts
from launchday.capacity.replicas import UTILISATION, Scaling, replicas_for, survivors
from launchday.capacity.results import Estimate, Growth
from launchday.capacity.wording import number, plural
from launchday.errors import SettingsError

QUARTERS = 8
MOST_QUARTERS = 40
MOST_SHARE = 10.0
"""1000 % a quarter: above this it is a slip of the keyboard."""

_EXAMPLES = "like '12%/quarter', '12%±3%/quarter over 8' or 'fleet=100000,+12000/quarter'"
_TEXT = re.compile(
    r"(?:fleet=(?P<fleet>[^,]+),)?(?P<step>[^/]+|[^/]+\+/-[^/]+)/quarter(?:\s+over\s+(?P<over>\S+))?"
)


@dataclass(frozen=True)
class FleetGrowth:
    """By how much the fleet, and with it the forecast, grows each quarter.

    `share` of the fleet (0.12: 12 %), off by `plus_minus_share` at 95 %. Compound by default:
    (1 + share)^q; `linear`: the same number of cars each quarter, 1 + share · q. `quarters` to
    look ahead: default 8, at most 40. A fleet may shrink, not vanish.

    Raises:
        SettingsError: a number is not finite, too large, or the fleet would be gone.
    """

    share: float
    plus_minus_share: float = 0.0
    quarters: int = QUARTERS
    linear: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.quarters <= MOST_QUARTERS:
            raise SettingsError(
                f"growth over {self.quarters} quarters: it must be from 1 to {MOST_QUARTERS}"
            )
        if not abs(self.share) <= MOST_SHARE or not 0 <= self.plus_minus_share <= MOST_SHARE:
            raise SettingsError(
                f"growth is {self.share:.4g} ± {self.plus_minus_share:.4g} of the fleet a quarter: "
                f"both must be numbers up to {MOST_SHARE:.0%}, the ± not negative"
            )
        if min(self.factors(quarter)[0] for quarter in range(self.quarters + 1)) <= 0:
            raise SettingsError(
                f"growth of {self.share:.4g} ± {self.plus_minus_share:.4g} of the fleet a quarter: "
                f"within {self.quarters} quarters no cars might be left"
            )

    def factors(self, quarter: int) -> tuple[float, float, float]:
        """Low, middle and high of fleet in `quarter` by fleet today. Not above 0: none is left."""
        shares = (
            self.share - self.plus_minus_share,
            self.share,
            self.share + self.plus_minus_share,
        )
        if self.linear:
            low, middle, high = (1 + share * quarter for share in shares)
        else:
            low, middle, high = (max(1 + share, 0.0) ** quarter for share in shares)
        return low, middle, high


def parse_growth(text: str) -> FleetGrowth:
    """Read '12%/quarter', '12%±3%/quarter over 8' or 'fleet=100000,+12000±2000/quarter over 8'.

    The first two grow by a share of what is there (compound), the third by the same number of
    cars each quarter.

    Raises:
        SettingsError: it is none of these, or no growth that can be planned for.
    """
    match = _TEXT.fullmatch(text.strip())
    if not match:
        raise SettingsError(f"growth is {text!r}: it must be {_EXAMPLES}")
    over = match["over"] or str(QUARTERS)
    if not re.fullmatch(r"[0-9]{1,3}", over):
        raise SettingsError(f"growth is {text!r}: 'over' takes a number of quarters, got {over!r}")
    step, plus_minus, percent = read_amounts(match["step"], "growth", _EXAMPLES)
    fleet = 1.0
    if match["fleet"] is not None:
        fleet, fleet_plus_minus, of = read_amounts(match["fleet"], "growth: fleet", "like 100000")
        if of or fleet_plus_minus or not (math.isfinite(fleet) and fleet > 0):
            raise SettingsError(f"growth is {text!r}: fleet must be a number of cars above 0")
    if percent == (match["fleet"] is not None):
        raise SettingsError(
            f"growth is {text!r}: a percentage goes alone, a number of cars with fleet=…: "
            f"{_EXAMPLES}"
        )
    try:
        return FleetGrowth(step / fleet, plus_minus / fleet, int(over), linear=not percent)
    except SettingsError as error:
        raise SettingsError(f"growth is {text!r}: {error}") from None


def ahead(
    forecast: Forecast,
    growth: FleetGrowth,
    per_replica: Estimate,
    replicas_today: int | None = None,
    zones: int = 1,
    *,
    utilisation: float = UTILISATION,
    attempts: float = 1.0,
    scaling: Scaling | None = None,
) -> tuple[Growth, ...]:
    """Today (quarter 0) and each quarter ahead.

    The interval joins those of the forecast and of the growth, taken as independent, on a
    logarithmic scale: ln(high/middle)² = ln(forecast_high/forecast)² + ln(growth_high/growth)².
    `replicas` is what the quarter needs so that one may be lost, and with two zones or more, all
    of a zone. `enough`: what is left of `replicas_today` after that loss still carries the upper
    forecast. None: the replicas that today's forecast needs.

    Raises:
        SettingsError: `replicas_today` or another setting is not possible, or a quarter's forecast
            is beyond what can be planned for.
        RecordError: the capacity of a replica is not above 0.
    """
    if replicas_today is not None and replicas_today < 1:
        raise SettingsError(f"replicas today is {replicas_today!r}: it must be at least 1")
    rows: list[Growth] = []
    for quarter in range(growth.quarters + 1):
        rps = _grown(forecast, growth, quarter)
        try:
            plan = replicas_for(
                Forecast(rps.high or rps.value),
                per_replica,
                zones=zones,
                utilisation=utilisation,
                attempts=attempts,
                scaling=scaling,
            )
        except SettingsError as error:
            raise SettingsError(f"growth, quarter {quarter}: {error}") from None
        if replicas_today is None:
            replicas_today = plan.across_zones
        enough = survivors(replicas_today, zones) >= plan.replicas
        rows.append(Growth(quarter, rps, plan.across_zones, enough))
    return tuple(rows)


def runs_out(rows: Sequence[Growth], replicas_today: int | None = None, zones: int = 1) -> str:
    """When today's replicas no longer do, in one sentence; `rows` and the rest as in `ahead`."""
    have = rows[0].replicas if replicas_today is None else replicas_today
    who = plural(have, "replica")
    who = f"the {who} that today needs" if replicas_today is None else who
    loss = "the loss of one" if zones == 1 else f"the loss of one of {zones} zones"
    first = next((row for row in rows if not row.enough), None)
    if first is None:
        last = rows[-1]
        return (
            f"Enough to quarter {last.quarter}: {who} carry the upper forecast even then "
            f"({number(last.rps.high or last.rps.value)} rps) after {loss}."
        )
    survive = survivors(have, zones)
    left = f"after {loss}, {survive:,} of {who} {'is' if 1 in (survive, have) else 'are'} left"
    needed = f"{first.replicas:,} {'is' if first.replicas == 1 else 'are'} needed"
    need = f"{needed} in all for {number(first.rps.high or first.rps.value)} rps"
    if first.quarter == 0:
        return f"NOT ENOUGH today: {left}, and {need} (upper forecast)."
    return (
        f"Runs out in quarter {first.quarter}: {left}, and {need} (upper forecast); enough "
        "before that."
    )


def _grown(forecast: Forecast, growth: FleetGrowth, quarter: int) -> Estimate:
    """The forecast of a quarter with its interval."""
    low, middle, high = growth.factors(quarter)
    up = math.hypot(math.log(forecast.high_rps / forecast.rps), math.log(high / middle))
    down = math.hypot(math.log(forecast.low_rps / forecast.rps), math.log(low / middle))
    rps = forecast.rps * middle
    method = "forecast times growth of the fleet, intervals joined on a logarithmic scale"
    return Estimate(rps, rps * math.exp(-down), rps * math.exp(up), 1, method)
