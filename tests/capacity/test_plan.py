from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.capacity.measurements import Measurements, Point, measure
from launchday.capacity.model import Capacity, fit
from launchday.capacity.plan import Forecast, plan
from launchday.record import Rules, read_record
from tests.records import COMPLETE_FAULT, collapsing, shedding, write_record


def points(*rates: tuple[float, float, float]) -> Measurements:
    """Windows of one stretch: offered, good, p99; what was not good was refused."""
    made = tuple(Point("run", 0, o, g, o - g, p99) for o, g, p99 in rates)
    return Measurements(made, (), 0.5)


def test_a_target_that_sheds_shows_its_plateau(tmp_path: Path) -> None:
    record = read_record(write_record(tmp_path / "run", shedding))
    capacity = fit(measure([record], 0.5))
    assert capacity is not None
    assert capacity.saturated
    assert capacity.rps == pytest.approx(100)
    assert capacity.low_rps <= 100 <= (capacity.high_rps or 0)
    assert capacity.tested_to_rps == pytest.approx(500)


def test_a_target_that_collapsed_proves_only_what_it_served_before(tmp_path: Path) -> None:
    record = read_record(write_record(tmp_path / "run", collapsing))
    capacity = fit(measure([record], 0.5))
    assert capacity is not None
    assert not capacity.saturated
    assert capacity.rps == pytest.approx(50)
    assert "may be higher" in " ".join(plan(capacity, Forecast(100)).caveats)


def test_windows_with_a_fault_or_a_ramp_are_left_out_and_said(tmp_path: Path) -> None:
    record = read_record(write_record(tmp_path / "run", faults=COMPLETE_FAULT))
    reasons = [left.reason for left in measure([record], 0.5).left_out]
    assert any("fault active (latency 400 ms on gateway)" in reason for reason in reasons)
    assert any("planned rate changed" in reason for reason in reasons)


def test_windows_in_which_the_generator_fell_behind_prove_nothing(tmp_path: Path) -> None:
    record = read_record(write_record(tmp_path / "run", late=30))
    assert fit(measure([record], 0.5)) is None


def test_the_interval_is_students_t_by_hand() -> None:
    capacity = fit(points((500, 90, 0.1), (500, 100, 0.1), (500, 110, 0.1)))
    assert capacity is not None
    # mean 100, deviation 10, t for 2 degrees of freedom 4.303: 100 ± 4.303 · 10 / √3
    assert capacity.low_rps == pytest.approx(75.16, abs=0.01)
    assert capacity.high_rps == pytest.approx(124.84, abs=0.01)


def test_saturated_windows_that_missed_the_objective_are_no_plateau() -> None:
    assert fit(points(*[(500.0, 100.0, 0.9)] * 5)) is None


def test_the_best_of_many_random_windows_is_not_the_capacity() -> None:
    capacity = fit(points((90, 90, 0.1), (100, 100, 0.1), (110, 110, 0.1)))
    assert capacity is not None
    assert capacity.rps == 100


def test_a_target_that_answers_errors_shows_no_plateau() -> None:
    broken = tuple(Point("run", 0, 100, 70, 0, 0.1) for _ in range(5))
    assert fit(Measurements(broken, (), 0.5)) is None


def test_windows_before_the_service_was_warm_are_left_out(tmp_path: Path) -> None:
    record = read_record(write_record(tmp_path / "run"))
    assert measure([record], 0.5).left_out[0].reason == "seconds 0-2: warm-up"


def test_records_of_different_objectives_are_not_mixed(tmp_path: Path) -> None:
    records = [
        read_record(write_record(tmp_path / str(objective), rules=Rules(objective)))
        for objective in (0.5, 0.4)
    ]
    with pytest.raises(ValueError, match="different targets or objectives"):
        measure(records, 0.5)


CAPACITY = Capacity(100, 95, 105, True, 10, 500, "")


def test_replicas_by_hand() -> None:
    # 1200 + 150 over 95 · 0.8 = 17.8: 18; three zones of which one may fail: 3 · 9.
    answer = plan(CAPACITY, Forecast(1200, 150), zones=3)
    assert (answer.replicas, answer.spare, answer.across_zones) == (18, 19, 27)
    assert answer.caveats[0].startswith("UNVALIDATED")


@given(st.floats(1, 1e5), st.integers(2, 6))
def test_the_replicas_carry_the_forecast_also_without_one_zone(rps: float, zones: int) -> None:
    answer = plan(CAPACITY, Forecast(rps), zones)
    assert answer.replicas * 95 * 0.8 >= rps
    assert answer.across_zones is not None
    assert answer.across_zones // zones * (zones - 1) >= answer.replicas


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1200", (1200, 0)),
        ("1200rps", (1200, 0)),
        ("1200±150", (1200, 150)),
        ("1200 +- 150 rps", (1200, 150)),
    ],
)
def test_forecasts_are_read(text: str, expected: tuple[float, float]) -> None:
    forecast = Forecast.parse(text)
    assert (forecast.rps, forecast.plus_minus_rps) == expected


@pytest.mark.parametrize("text", ["", "many", "-5", "0", "10±", "10 per second"])
def test_a_forecast_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="forecast must be like"):
        Forecast.parse(text)
