"""What will be asked of the target: a rate and how far it may be off, given or from users."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from launchday.errors import SettingsError

MOST_RPS = 1e9
"""Above this a forecast is a slip of the keyboard: no site on earth is asked as much."""

NORMAL_95 = 1.959963984540054
"""A ± is half of a 95 % interval: this many standard deviations."""

FIRST_MINUTE_SECONDS = 60.0
DRAWS = 20_000

_NUMBER = r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|[+-]?nan|[+-]?inf(?:inity)?)"
_AMOUNT = re.compile(rf"{_NUMBER}\s*(%|k|m)?\s*(?:rps|req/s|/s)?", re.IGNORECASE)
_PLUS_MINUS = re.compile(r"\s*(?:±|\+/-|\+-)\s*")
_DURATION = re.compile(rf"{_NUMBER}\s*(s|min|h)", re.IGNORECASE)
_THOUSANDS = {"": 1.0, "%": 0.01, "k": 1e3, "m": 1e6}
_UNIT_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Forecast:
    """Requests per second at the peak, and half of its 95 % interval.

    Raises:
        SettingsError: the rate is not above 0 or above 1e9, `plus_minus_rps` is negative or not
            below the rate, or either is no finite number.
    """

    rps: float
    plus_minus_rps: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rps) and 0 < self.rps <= MOST_RPS):
            raise SettingsError(
                f"the forecast is {self.rps:g} rps: it must be above 0 and at most {MOST_RPS:g}"
            )
        if not 0 <= self.plus_minus_rps < self.rps:  # also false for NaN
            raise SettingsError(
                f"the forecast may be off by {self.plus_minus_rps:g} rps: that must be at least 0 "
                f"and below the {self.rps:g} rps themselves"
            )

    @property
    def low_rps(self) -> float:
        """The lower end of the 95 % interval."""
        return self.rps - self.plus_minus_rps

    @property
    def high_rps(self) -> float:
        """The upper end of the 95 % interval: what replicas are planned for."""
        return self.rps + self.plus_minus_rps


@dataclass(frozen=True)
class Around:
    """A factor and half of its 95 % interval.

    Raises:
        SettingsError: it is not above 0, not finite, or as uncertain as it is large.
    """

    value: float
    plus_minus: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and self.value > 0):
            raise SettingsError(f"a factor is {self.value:g}: it must be a number above 0")
        if not 0 <= self.plus_minus < self.value:
            raise SettingsError(
                f"{self.value:g} may be off by {self.plus_minus:g}: that must be at least 0 and "
                f"below {self.value:g}"
            )


def parse(text: str, name: str = "forecast") -> Forecast:
    """Read '1200', '1200rps±150', '1200+-150rps', '1.2k', '1200 ± 10%' (of the 1200).

    `name` is what errors call it.

    Raises:
        SettingsError: it is none of these, or no forecast that can be planned for.
    """
    value, plus_minus, percent = read_amounts(text, name, "like 1200rps, 1.2k or 1200±150")
    if percent:
        raise SettingsError(f"{name} is {text!r}: a rate has no percent before its ±")
    try:
        return Forecast(value, plus_minus)
    except SettingsError as error:
        raise SettingsError(f"{name} is {text!r}: {error}") from None


def parse_around(text: str, name: str, *, share: bool = False) -> Around:
    """Read '500k', '5±1' or '5±10%' (of the 5); `name` is for the error.

    A `share` may also be '22%' or '22%±4%' (points).

    Raises:
        SettingsError: it is none of these, or not above 0.
    """
    allowed = "like 22%, 22%±4% or 0.22" if share else "like 500000, 500k, 5±1 or 5±10%"
    value, plus_minus, percent = read_amounts(text, name, allowed)
    if percent and not share:
        raise SettingsError(f"{name} is {text!r}: it must be {allowed}")
    try:
        return Around(value, plus_minus)
    except SettingsError as error:
        raise SettingsError(f"{name} is {text!r}: {error}") from None


def read_amounts(text: str, name: str, allowed: str) -> tuple[float, float, bool]:
    """Value, plus-minus (both in plain units) and whether the value was a percentage.

    A percentage after ± is in points where the value is one too, else a share of the value.
    `name` and `allowed` are for the error.

    Raises:
        SettingsError: `text` is no amount.
    """
    middle, *rest = _PLUS_MINUS.split(text.strip())
    matches = [_AMOUNT.fullmatch(part) for part in (middle, *rest)]
    found = [match for match in matches if match]
    if len(rest) > 1 or len(found) < len(matches):
        raise SettingsError(f"{name} is {text!r}: it must be {allowed}")
    units = [(match[2] or "").lower() for match in found]
    values = [float(match[1]) * _THOUSANDS[unit] for match, unit in zip(found, units, strict=True)]
    if not rest:
        return values[0], 0.0, units[0] == "%"
    relative = units[1] == "%" and units[0] != "%"
    return values[0], values[1] * (values[0] if relative else 1.0), units[0] == "%"


def parse_seconds(text: str, name: str) -> float:
    """Read '90s', '10min' or '2h'; `name` is for the error.

    Raises:
        SettingsError: it is no such time, or not above 0.
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _UNIT_SECONDS[match[2].lower()] if match else math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise SettingsError(f"{name} is {text!r}: it must be like 90s, 10min or 2h, above 0")
    return seconds


def from_email(
    sent: Around,
    open_rate: Around,
    journey_requests: Around,
    *,
    opening_seconds: float = 600.0,
    send_seconds: float = FIRST_MINUTE_SECONDS,
    base: Forecast | None = None,
    seed: int = 1,
) -> Forecast:
    """The peak rate that a launch e-mail brings.

    Assumed: the mails arrive evenly over `send_seconds` (default one minute), people who open
    theirs do so after an exponential time with mean `opening_seconds` (default 600: 63 % of them
    within ten minutes), and make their requests at once. The rate then peaks as the last mail
    arrives, with D = send_seconds and τ = opening_seconds:

        peak = sent · open_rate · journey_requests / D · (1 - e^(-D/τ))

    which for D = 60 is the requests of those who open within the first minute, per second. A
    journey that takes minutes flattens the peak: the answer errs on the side of too much. `base`
    is the ordinary traffic, added on top. The factors' uncertainty is carried through by 20,000
    seeded draws of independent normal factors; the ± is the farther end of the 95 % interval.

    Raises:
        SettingsError: `open_rate` is above 1, a time is not above 0, or the result is no forecast.
    """
    if open_rate.value > 1:
        raise SettingsError(f"the open rate is {open_rate.value:g}: it is a share, at most 100%")
    for name, seconds in (("opening", opening_seconds), ("sending", send_seconds)):
        if not (math.isfinite(seconds) and seconds > 0):
            raise SettingsError(f"the {name} time is {seconds:g} s: it must be above 0")
    share_per_second = -math.expm1(-send_seconds / opening_seconds) / send_seconds
    factors = (sent, open_rate, journey_requests)
    middle = math.prod(factor.value for factor in factors) * share_per_second
    middle += base.rps if base else 0.0
    if not 0 < middle <= MOST_RPS:
        raise SettingsError(
            f"the e-mail brings {middle:g} rps: it must be above 0 and at most {MOST_RPS:g}"
        )
    normal = np.random.default_rng(seed).standard_normal((len(factors) + 1, DRAWS))
    draws = np.full(DRAWS, share_per_second)
    for factor, row in zip(factors, normal, strict=False):  # the last row is that of the base
        draws = draws * np.maximum(factor.value + factor.plus_minus / NORMAL_95 * row, 0.0)
    if base is not None:
        draws = draws + np.maximum(base.rps + base.plus_minus_rps / NORMAL_95 * normal[-1], 0.0)
    low, high = (float(end) for end in np.quantile(draws, (0.025, 0.975)))
    return Forecast(middle, _half(middle, low, high, factors, base))


def parse_users(text: str, seed: int = 1) -> Forecast:
    """Read 'email=500000,open=22%±4%,journey=5,peak=10min' (see `from_email`).

    `email` (mails sent), `open` (share of them opened) and `journey` (requests of one who opens)
    must be there. May be: `peak` (mean time until they open, default 10min), `send` (time over
    which the mails arrive, default 1min), `base` (ordinary traffic, default none).

    Raises:
        SettingsError: a key is unknown, missing or given twice, or a value cannot be read.
    """
    given = _pairs(text)
    sent, open_rate, journey = (
        parse_around(given[key], f"users: {key}", share=key == "open")
        for key in ("email", "open", "journey")
    )
    return from_email(
        sent,
        open_rate,
        journey,
        opening_seconds=parse_seconds(given.get("peak", "10min"), "users: peak"),
        send_seconds=parse_seconds(given.get("send", "1min"), "users: send"),
        base=parse(given["base"], "users: base") if "base" in given else None,
        seed=seed,
    )


def _half(
    middle: float, low: float, high: float, factors: tuple[Around, ...], base: Forecast | None
) -> float:
    """The farther end of the interval; 0 where every factor is certain."""
    if not any(factor.plus_minus for factor in factors) and not (base and base.plus_minus_rps):
        return 0.0
    half = max(high - middle, middle - low)
    if half >= middle:
        raise SettingsError(
            f"the factors leave {low:g} to {high:g} rps around {middle:g}: too uncertain to plan "
            "for; narrow the widest of them"
        )
    return half


def _pairs(text: str) -> Mapping[str, str]:
    """KEY=VALUE,… with the keys of `parse_users`."""
    needed, known = (
        ("email", "open", "journey"),
        ("email", "open", "journey", "peak", "send", "base"),
    )
    given: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or key not in known:
            raise SettingsError(f"users: {key!r} is no key: give KEY=VALUE of {', '.join(known)}")
        if key in given:
            raise SettingsError(f"users: {key} is given twice: {given[key]!r} and {value!r}")
        given[key] = value
    missing = [key for key in needed if key not in given]
    if missing:
        raise SettingsError(
            f"users: {', '.join(missing)} missing: like email=500000,open=22%±4%,"
            "journey=5,peak=10min"
        )
    return given
