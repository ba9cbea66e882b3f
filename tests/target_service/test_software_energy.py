"""Software and home energy as functions of time: only forwards, and adding up."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from target_service.api.energy import BATTERY_KWH, energy_at
from target_service.api.software import INSTALLATION_SECONDS, LATEST_VERSION, software_at

sites = st.integers(0, 10**9 - 1).map(lambda number: f"site-{number}")


@given(st.floats(0, 4e9), st.lists(st.floats(0, 4e9), min_size=2, max_size=9))
def test_software_follows_the_clock_only_forwards(starts_unix: float, times: list[float]) -> None:
    row = {"software_version": "1", "version": LATEST_VERSION, "starts_unix": starts_unix}
    order = ["scheduled", "installing", "installed"]
    seen = [software_at(row, now) for now in sorted(times)]
    assert sorted(seen, key=lambda each: order.index(each.state)) == seen
    assert sorted(seen, key=lambda each: each.progress_percent) == seen
    for now, each in zip(sorted(times), seen, strict=True):
        is_over = (now - starts_unix) / INSTALLATION_SECONDS >= 1
        assert (each.state == "installed") is is_over
        assert each.installed_version == (LATEST_VERSION if is_over else "1")
        # What the state of the car took over changes nothing here.
        if is_over:
            assert software_at(row | {"software_version": LATEST_VERSION}, now) == each


@given(st.sampled_from([None, "1", "2"]), st.floats(0, 2000))
def test_a_newer_version_is_available_after_every_update_that_is_over(
    update: str | None, now: float
) -> None:
    row = {"software_version": "1", "version": update, "starts_unix": 0.0 if update else None}
    is_over = update is not None and now >= INSTALLATION_SECONDS
    state = software_at(row, now, latest_version="3").state
    assert state == ("available" if update is None or is_over else "installing")
    current = row | {"version": None}
    assert software_at(current, now, latest_version="1").state == "none"


@given(st.integers(), sites, st.floats(0, 4e9))
def test_energy_adds_up(seed: int, site: str, unix: float) -> None:
    energy = energy_at(seed, site, unix)
    sources = energy.solar_kw + energy.battery_kw + energy.grid_kw
    assert math.isclose(sources, energy.home_kw, abs_tol=1e-6)
    assert 0 <= energy.solar_kw <= 10
    assert energy.home_kw > 0
    assert 0 <= energy.battery_percent <= 100
    assert energy == energy_at(seed, site, unix)


@given(st.integers(), sites, st.floats(0, 4e9), st.floats(0.1, 24))
def test_what_the_battery_gives_is_what_it_loses(
    seed: int, site: str, unix: float, hours: float
) -> None:
    steps = 200
    moments = (unix + (step + 0.5) / steps * hours * 3600 for step in range(steps))
    given_kwh = sum(energy_at(seed, site, each).battery_kw for each in moments) * hours / steps
    percents = [energy_at(seed, site, each).battery_percent for each in (unix, unix + hours * 3600)]
    assert math.isclose(given_kwh, (percents[0] - percents[1]) / 100 * BATTERY_KWH, abs_tol=0.05)


@given(st.integers(), sites, st.integers(0, 40_000))
def test_the_sun_rises_and_sets_once_a_day(seed: int, site: str, day: int) -> None:
    light = [energy_at(seed, site, 86_400 * day + 600 * step).solar_kw > 0 for step in range(144)]
    assert 0.2 < sum(light) / len(light) < 0.8
    assert sum(one != next_one for one, next_one in pairwise(light)) <= 2
