"""Costs: prices read with their currency, per month and per million requests."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.capacity.cost import Price, cost, parse_price
from launchday.errors import RecordError, SettingsError


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("0.12/h", Price(0.12, "")),
        ("€0.12/h", Price(0.12, "€")),
        ("$ .12 / hour", Price(0.12, "$")),
        ("0.12 EUR/hr", Price(0.12, "EUR")),
        ("US$0.12/h", Price(0.12, "US$")),
        ("73€/month", Price(0.1, "€")),
        ("0/h", Price(0, "")),
    ],
)
def test_a_price_keeps_its_currency_as_text(text: str, price: Price) -> None:
    read = parse_price(text)
    assert read.per_hour == pytest.approx(price.per_hour)
    assert read.currency == price.currency


@pytest.mark.parametrize(
    "text", ["", "0.12", "0,12/h", "-1/h", "nan/h", "inf/h", "1e9/h", "1e400/h", "$1€/h", "1/day"]
)
def test_what_is_no_price_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(SettingsError, match="price is") as refused:
        parse_price(text)
    assert repr(text) in str(refused.value)


@given(st.text(max_size=20))
def test_any_text_is_a_price_or_a_sentence(text: str) -> None:
    for candidate in (text, f"{text}/h"):
        try:
            assert parse_price(candidate).per_hour >= 0
        except SettingsError:
            continue


def test_costs_are_as_by_hand() -> None:
    """27 · 0.12 · 730 a month; 3.24 an hour for 4.32 million requests."""
    found = cost(27, 1200, Price(0.12, "€"))
    assert found.per_month == pytest.approx(2365.2)
    assert found.per_million == pytest.approx(0.75)
    assert found.sentence.startswith("27 replicas cost €2,365.20 a month, €0.75 per million")


def test_letters_stand_behind_the_amount() -> None:
    assert "2,365.20 EUR a month" in cost(27, 1200, Price(0.12, "EUR")).sentence


def test_small_amounts_are_not_rounded_to_nothing() -> None:
    assert "$0.0028 per million" in cost(1, 1e4, Price(0.1, "$")).sentence


def test_one_replica_costs_and_rates_have_separators() -> None:
    sentence = cost(1, 12_345, Price(0.1, "$")).sentence
    assert sentence.startswith("1 replica costs $73.00 a month")
    assert "if 12,345 rps are asked" in sentence


@pytest.mark.parametrize(("replicas", "rps"), [(0, 100.0), (1, 0.0), (1, math.nan)])
def test_nothing_has_no_cost_per_request(replicas: int, rps: float) -> None:
    with pytest.raises(RecordError, match="no cost per request"):
        cost(replicas, rps, Price(0.1))
