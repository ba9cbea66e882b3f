"""Growth: read from text, carried through, and when the replicas run out."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.capacity.forecast import Forecast
from launchday.capacity.growth import FleetGrowth, ahead, parse_growth, runs_out
from launchday.capacity.results import Estimate
from launchday.errors import SettingsError

PROVED = Estimate(100, 95, 105, 5, "test")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12%/quarter", FleetGrowth(0.12)),
        ("+12%/quarter over 4", FleetGrowth(0.12, 0, 4)),
        ("12%±3%/quarter over 8", FleetGrowth(0.12, 0.03, 8)),
        ("12% +/- 3%/quarter", FleetGrowth(0.12, 0.03)),
        ("-5%/quarter", FleetGrowth(-0.05)),
        ("fleet=100000,+12000/quarter", FleetGrowth(0.12, linear=True)),
        ("fleet=100k,+12k±2k/quarter over 40", FleetGrowth(0.12, 0.02, 40, linear=True)),
    ],
)
def test_growth_is_read_in_the_ways_people_write_it(text: str, expected: FleetGrowth) -> None:
    assert parse_growth(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "like '12%/quarter'"),
        ("12%", "like '12%/quarter'"),
        ("12%/year", "like '12%/quarter'"),
        ("12000/quarter", "fleet=…"),
        ("fleet=1000,3%/quarter", "percentage goes alone"),
        ("fleet=0,5/quarter", "cars above 0"),
        ("fleet=nan,5/quarter", "cars above 0"),
        ("fleet=100±5,5/quarter", "cars above 0"),
        ("12%/quarter over x", "'over' takes"),
        ("12%/quarter over -1", "'over' takes"),
        ("12%/quarter over 0", "from 1 to 40"),
        ("12%/quarter over 41", "from 1 to 40"),
        ("nan%/quarter", "up to 1000%"),
        ("inf%/quarter", "up to 1000%"),
        ("2000%/quarter", "up to 1000%"),
        ("12%±-3%/quarter", "not negative"),
        ("-100%/quarter", "no cars might be left"),
        ("5%±110%/quarter", "no cars might be left"),
        ("fleet=100,-20/quarter", "no cars might be left"),
    ],
)
def test_what_is_no_growth_is_refused_with_the_text_and_the_reason(text: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why) as refused:
        parse_growth(text)
    assert repr(text) in str(refused.value)


@given(st.text(max_size=25))
def test_any_text_is_a_growth_or_a_sentence(text: str) -> None:
    for candidate in (text, f"{text}/quarter", f"fleet={text}/quarter over 3"):
        try:
            parse_growth(candidate)
        except SettingsError:
            continue


def test_a_share_compounds_and_a_number_of_cars_does_not() -> None:
    assert FleetGrowth(0.1).factors(3)[1] == pytest.approx(1.331)
    assert FleetGrowth(0.1, linear=True).factors(3)[1] == pytest.approx(1.3)


def test_each_quarter_needs_what_the_survivors_must_carry() -> None:
    """By hand: 1200 · 1.1^q / 76, a third more in three zones."""
    rows = ahead(Forecast(1200), FleetGrowth(0.1, quarters=2), PROVED, 24, 3)
    assert [row.replicas for row in rows] == [24, 27, 30]
    assert [row.enough for row in rows] == [True, False, False]
    assert [row.rps.value for row in rows] == pytest.approx([1200, 1320, 1452])


def test_today_has_the_interval_of_the_forecast() -> None:
    today = ahead(Forecast(1050, 150), FleetGrowth(0.1, 0.05), PROVED)[0].rps
    assert today.low == pytest.approx(900)
    assert today.high == pytest.approx(1200)


def test_both_uncertainties_are_carried_through() -> None:
    later = ahead(Forecast(1000, 100), FleetGrowth(0.1, 0.02), PROVED)[4].rps
    assert later.high is not None
    growth_up = (1.12 / 1.1) ** 4
    joined = math.hypot(math.log(1.1), math.log(growth_up))
    assert math.log(later.high / later.value) == pytest.approx(joined)
    assert later.value * growth_up < later.high < later.value * growth_up * 1.1


def test_replicas_that_do_not_survive_a_zone_today_are_not_enough_today() -> None:
    """20 carry 1200 rps while nothing fails; after the loss of a zone 13 are left."""
    rows = ahead(Forecast(1200), FleetGrowth(0.1), PROVED, 20, 3)
    assert not rows[0].enough
    words = runs_out(rows, 20, 3)
    assert words.startswith("NOT ENOUGH today")
    assert "13 of 20 replicas are left" in words


def test_replicas_that_do_not_survive_the_loss_of_one_are_not_enough_today() -> None:
    assert not ahead(Forecast(1216), FleetGrowth(0.1), PROVED, 16)[0].enough
    assert ahead(Forecast(1216), FleetGrowth(0.1), PROVED, 17)[0].enough


def test_the_first_quarter_that_is_too_much_is_named() -> None:
    rows = ahead(Forecast(1050, 150), FleetGrowth(0.12, 0.03), PROVED, 40, 3, attempts=1.1)
    assert runs_out(rows, 40, 3) == (
        "Runs out in quarter 4: after the loss of one of 3 zones, 26 of 40 replicas are left, and "
        "45 are needed in all for 1,959 rps (upper forecast); enough before that."
    )


def test_one_replica_is_one_replica() -> None:
    words = runs_out(ahead(Forecast(1500), FleetGrowth(0.1), PROVED, 1), 1)
    assert "0 of 1 replica is left" in words
    assert "for 1,500 rps" in words
    words = runs_out(ahead(Forecast(1500), FleetGrowth(0.1), PROVED, 2), 2)
    assert "1 of 2 replicas is left" in words


def test_enough_for_all_quarters_says_how_far_was_looked() -> None:
    rows = ahead(Forecast(1200), FleetGrowth(0.1, quarters=3), PROVED, 200)
    assert runs_out(rows, 200).startswith("Enough to quarter 3")


def test_without_a_number_today_s_need_is_what_there_is() -> None:
    rows = ahead(Forecast(1200), FleetGrowth(0.1), PROVED, None, 3)
    assert rows[0].enough
    assert "the 24 replicas that today needs" in runs_out(rows, None, 3)


def test_a_fleet_that_shrinks_never_runs_out() -> None:
    rows = ahead(Forecast(1200), FleetGrowth(-0.05), PROVED)
    assert all(row.enough for row in rows)


def test_growth_beyond_what_can_be_planned_for_is_refused_with_its_quarter() -> None:
    with pytest.raises(SettingsError, match=r"growth, quarter 4: .* more than 1,000,000"):
        ahead(Forecast(1e5), FleetGrowth(5.0, quarters=40), PROVED)
    with pytest.raises(SettingsError, match=r"growth, quarter 1: .*at most 1e\+09"):
        ahead(Forecast(9e8), FleetGrowth(5.0), Estimate(1e6, 1e6, 1e6, 5, ""))
    with pytest.raises(SettingsError, match="replicas today is 0"):
        ahead(Forecast(1200), FleetGrowth(0.1), PROVED, 0)


@given(
    st.floats(10, 1e4),
    st.floats(0, 0.3),
    st.floats(0, 0.2),
    st.integers(1, 300),
    st.integers(1, 4),
)
def test_growth_never_needs_fewer_later_and_never_recovers(
    rps: float, share: float, plus_minus: float, today: int, zones: int
) -> None:
    rows = ahead(Forecast(rps, rps / 10), FleetGrowth(share, plus_minus), PROVED, today, zones)
    needs = [row.replicas for row in rows]
    assert needs == sorted(needs)
    enough = [row.enough for row in rows]
    assert enough == sorted(enough, reverse=True)
    for row in rows:
        assert row.rps.low is not None
        assert row.rps.high is not None
        assert row.rps.low <= row.rps.value <= row.rps.high
        assert row.enough or today < row.replicas


@given(st.floats(10, 1e4), st.integers(1, 4), st.integers(0, 50))
def test_more_replicas_than_needed_are_enough(rps: float, zones: int, more: int) -> None:
    growth = FleetGrowth(0.1, quarters=1)
    need = ahead(Forecast(rps), growth, PROVED, None, zones)[1].replicas
    assert ahead(Forecast(rps), growth, PROVED, need + more, zones)[1].enough
