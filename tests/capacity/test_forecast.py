"""Forecasts: read from text, made from a launch e-mail, refused with words."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.capacity.forecast import (
    Around,
    Forecast,
    from_email,
    parse,
    parse_around,
    parse_seconds,
    parse_users,
)
from launchday.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "rps", "plus_minus"),
    [
        ("1200", 1200, 0),
        ("1200rps", 1200, 0),
        ("1200rps±150", 1200, 150),
        ("1200±150", 1200, 150),
        ("1200±150rps", 1200, 150),
        ("1200+-150rps", 1200, 150),
        ("1200 +/- 150 rps", 1200, 150),
        (" 1200 rps ± 10% ", 1200, 120),
        ("1.2k", 1200, 0),
        ("1.2K±.1k", 1200, 100),
        ("1e3±1e+2", 1000, 100),
        ("2M", 2e6, 0),
        ("1200/s", 1200, 0),
    ],
)
def test_a_forecast_is_read_in_the_ways_people_write_it(
    text: str, rps: float, plus_minus: float
) -> None:
    assert parse(text).rps == pytest.approx(rps)
    assert parse(text).plus_minus_rps == pytest.approx(plus_minus)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0", "above 0"),
        ("-5", "above 0"),
        ("nan", "above 0"),
        ("inf", "at most 1e\\+09"),
        ("1e400", "at most 1e\\+09"),
        ("2e9", "at most 1e\\+09"),
        ("1200±1200", "below the 1200 rps"),
        ("1200±100%", "below the 1200 rps"),
        ("1200±-5", "at least 0"),
        ("1200±nan", "at least 0"),
        ("", "like 1200rps"),
        ("many", "like 1200rps"),
        ("1,200", "like 1200rps"),
        ("1200±", "like 1200rps"),
        ("1200±1±1", "like 1200rps"),
        ("10%", "no percent"),
        ("\u0661\u0662", "like 1200rps"),  # digits, but not ours
    ],
)
def test_what_is_no_forecast_is_refused_with_the_text_and_the_reason(text: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why) as refused:
        parse(text)
    assert repr(text) in str(refused.value)


@given(st.text(max_size=20))
def test_any_text_is_a_forecast_or_a_sentence(text: str) -> None:
    try:
        forecast = parse(text)
    except SettingsError:
        return
    assert 0 < forecast.low_rps <= forecast.rps <= forecast.high_rps < math.inf


def test_the_interval_lies_around_the_rate() -> None:
    forecast = Forecast(1200, 150)
    assert (forecast.low_rps, forecast.high_rps) == (1050, 1350)


def test_an_email_peaks_with_those_who_open_in_the_first_minute() -> None:
    forecast = parse_users("email=500000,open=22%,journey=5,peak=10min")
    assert forecast.rps == pytest.approx(500_000 * 0.22 * 5 * (1 - math.exp(-0.1)) / 60)
    assert forecast.plus_minus_rps == 0


def test_the_peak_is_what_simulated_readers_make() -> None:
    """Mails over two minutes, readers after an exponential time: counted in the last 10 s."""
    rng, sent, send_seconds, opening_seconds = random.Random(7), 300_000, 120.0, 300.0
    opened = (
        rng.uniform(0, send_seconds) + rng.expovariate(1 / opening_seconds)
        for _ in range(sent)
        if rng.random() < 0.3
    )
    counted = sum(send_seconds - 5 <= at < send_seconds + 5 for at in opened) / 10
    forecast = from_email(
        Around(sent), Around(0.3), Around(4), opening_seconds=300, send_seconds=120
    )
    assert forecast.rps == pytest.approx(4 * counted, rel=0.05)


def test_the_uncertainty_of_each_factor_is_carried_through() -> None:
    one = parse_users("email=500000,open=22%±4%,journey=5")
    assert one.plus_minus_rps / one.rps == pytest.approx(4 / 22, rel=0.02)
    two = parse_users("email=500000,open=22%±4%,journey=5±1")
    assert two.plus_minus_rps / two.rps == pytest.approx(math.hypot(4 / 22, 1 / 5), rel=0.1)


def test_ordinary_traffic_comes_on_top() -> None:
    alone = parse_users("email=500k,open=22%,journey=5")
    both = parse_users("email=500k,open=22%,journey=5,base=200±20")
    assert both.rps == pytest.approx(alone.rps + 200)
    assert both.plus_minus_rps == pytest.approx(20, rel=0.02)


def test_mails_sent_over_an_hour_bring_a_lower_peak() -> None:
    at_once = parse_users("email=500k,open=22%,journey=5")
    slowly = parse_users("email=500k,open=22%,journey=5,send=1h")
    assert slowly.rps < at_once.rps / 4


def test_the_same_seed_gives_the_same_forecast() -> None:
    text = "email=500k,open=22%±4%,journey=5±1"
    assert parse_users(text, seed=3) == parse_users(text, seed=3)
    assert parse_users(text, seed=3) != parse_users(text, seed=4)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("email=500000,opne=22%,journey=5", "'opne' is no key: .*email, open, journey, peak"),
        ("email=500000", "open, journey missing"),
        ("", "'' is no key"),
        ("email", "'email' is no key"),
        ("email=1,email=2,open=1%,journey=1", "email is given twice"),
        ("email=many,open=1%,journey=1", "users: email is 'many'"),
        ("email=0,open=1%,journey=1", "users: email is '0'.*above 0"),
        ("email=nan,open=1%,journey=1", "users: email is 'nan'"),
        ("email=50%,open=1%,journey=1", "users: email is '50%'"),
        ("email=500k,open=120%,journey=5", "at most 100%"),
        ("email=500k,open=22%±30%,journey=5", "users: open"),
        ("email=500k,open=22%,journey=5,peak=0s", "users: peak is '0s'"),
        ("email=500k,open=22%,journey=5,peak=10", "users: peak is '10'"),
        ("email=500k,open=22%,journey=5,base=-1", "users: base is '-1'"),
        ("email=1e300,open=22%,journey=1e300", "at most 1e\\+09"),
        ("email=500k,open=22%±21.9%,journey=5±4.9", "too uncertain"),
    ],
)
def test_a_launch_that_cannot_be_read_is_refused_by_its_key(text: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        parse_users(text)


def test_times_of_an_email_must_be_above_zero() -> None:
    with pytest.raises(SettingsError, match="opening time"):
        from_email(Around(1e5), Around(0.2), Around(5), opening_seconds=0)
    with pytest.raises(SettingsError, match="sending time"):
        from_email(Around(1e5), Around(0.2), Around(5), send_seconds=math.nan)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10 min", 600), ("1.5h", 5400)])
def test_times_are_read_with_their_unit(text: str, seconds: float) -> None:
    assert parse_seconds(text, "peak") == seconds


def test_a_percentage_after_a_share_is_in_points() -> None:
    assert parse_around("22%±4%", "open", share=True) == Around(0.22, 0.04)
    assert parse_around("0.22±10%", "open", share=True).plus_minus == pytest.approx(0.022)


@given(
    st.floats(1e3, 1e6), st.floats(0.01, 1), st.floats(1, 20), st.floats(30, 7200), st.floats(1, 3)
)
def test_more_mails_never_bring_less(
    sent: float, share: float, journey: float, opening: float, times: float
) -> None:
    few, many = (
        from_email(
            Around(mails, mails / 10), Around(share), Around(journey), opening_seconds=opening
        )
        for mails in (sent, sent * times)
    )
    assert few.high_rps <= many.high_rps * (1 + 1e-12)
