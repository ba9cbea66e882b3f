"""What replicas cost: per month, and per million requests."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from launchday.capacity.wording import number, plural
from launchday.errors import RecordError, SettingsError

HOURS_PER_MONTH = 730.0
"""A twelfth of a year, as clouds bill it."""

MOST_PER_HOUR = 1e6

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?"
_PRICE = re.compile(
    rf"(?P<before>[^\s0-9.,+/-]*)\s*(?P<number>{_NUMBER})\s*(?P<after>[^\s0-9.,+/-]*)\s*"
    r"/\s*(?P<unit>h|hr|hour|month)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Price:
    """What a replica costs for an hour; `currency` is text as given ("€", "EUR", "")."""

    per_hour: float
    currency: str = ""


@dataclass(frozen=True)
class Cost:
    """What so many replicas cost; `per_million` requests if the rate is asked for all the time."""

    replicas: int
    per_month: float
    per_million: float
    currency: str
    sentence: str


def parse_price(text: str) -> Price:
    """Read '0.12/h', '€0.12/h', '0.12 EUR/hour' or '$86/month' (730 hours), for one replica.

    Raises:
        SettingsError: it is none of these, negative, or above a million an hour. 0 is a price.
    """
    match = _PRICE.fullmatch(text.strip())
    if not match or (match["before"] and match["after"]):
        raise SettingsError(f"price is {text!r}: it must be like 0.12/h, €0.12/h or 86 EUR/month")
    hours = HOURS_PER_MONTH if match["unit"].lower() == "month" else 1.0
    per_hour = float(match["number"]) / hours
    if not 0 <= per_hour <= MOST_PER_HOUR:
        raise SettingsError(f"price is {text!r}: it must be from 0 to {MOST_PER_HOUR:,.0f} an hour")
    return Price(per_hour, match["before"] or match["after"])


def cost(replicas: int, rps: float, price: Price) -> Cost:
    """What `replicas` cost that are asked `rps` on average.

        per month = replicas · price · 730 h
        per million = replicas · price / (rps · 3600) · 10^6

    Raises:
        RecordError: `rps` is not above 0, or there are no replicas.
    """
    if replicas < 1 or not (math.isfinite(rps) and rps > 0):
        raise RecordError(
            f"{replicas} replicas that are asked {rps:g} rps have no cost per request: both must "
            "be above 0"
        )
    per_hour = replicas * price.per_hour
    per_month, per_million = per_hour * HOURS_PER_MONTH, per_hour / (rps * 3600) * 1e6
    month, million = _money(per_month, price), _money(per_million, price)
    sentence = (
        f"{plural(replicas, 'replica')} {'costs' if replicas == 1 else 'cost'} {month} a month, "
        f"{million} per million requests if {number(rps)} rps are asked all the "
        "time (more if less is asked)."
    )
    return Cost(replicas, per_month, per_million, price.currency, sentence)


def _money(amount: float, price: Price) -> str:
    """Signs stand before the number, letters behind it."""
    number = f"{amount:,.2f}" if amount >= 0.1 or amount == 0 else f"{amount:.2g}"
    if not price.currency:
        return number
    return f"{number} {price.currency}" if price.currency.isalpha() else price.currency + number
