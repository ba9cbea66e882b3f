"""Home energy: sun on the roof, a battery in the garage, and what the grid gives or takes."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Annotated, Final

from fastapi import FastAPI, Path, Request
from starlette.responses import JSONResponse, Response

from target_service.api.requests import add, owner_of
from target_service.backend import Backend
from target_service.problems import not_found

BATTERY_KWH: Final = 13.5
# Full at 16 h, empty at 4 h, between 20 and 90 per cent.
BATTERY_MEAN_PERCENT, BATTERY_SWING_PERCENT, EMPTIEST_HOUR = 55.0, 35.0, 4.0
DAY_SECONDS: Final = 86_400.0

Site = Annotated[str, Path(pattern="^site-[0-9]{1,9}$", description="site-NUMBER of the owner")]


@dataclass(frozen=True)
class Energy:
    """Power in kW: solar + battery + grid = home.

    `battery_kw` above 0 comes out of the battery, below 0 goes into it; `grid_kw` above 0 is
    bought, below 0 is sold.
    """

    site: str
    unix: float
    solar_kw: float
    home_kw: float
    battery_kw: float
    grid_kw: float
    battery_percent: float


def energy_at(seed: int, site: str, unix: float) -> Energy:
    """Return the energy of a site at a time; equal for equal arguments.

    Solar power follows the height of the sun: Cooper's declination and sin(height) of Duffie and
    Beckman, "Solar Engineering of Thermal Processes", 1.6.1 and 1.6.5; the sky of each day is
    drawn. The battery's charge is a sine of the day, and its power the derivative of that.
    """
    latitude, longitude, peak, base = _draws(f"{seed}:{site}")
    solar_days = unix / DAY_SECONDS + longitude  # days of the sun there, its noon at .5
    day, turn = math.floor(solar_days), solar_days % 1.0
    sky = 0.3 + 0.7 * _draws(f"{seed}:{site}:{day}")[0]
    solar_kw = round((4 + 6 * peak) * sky * _sun_height_sine(30 + 16 * latitude, day, turn), 3)
    # People are up at 7 h and come home at 19 h.
    home_kw = round(0.3 + base + 0.8 * _peak(turn, 7) + 1.6 * _peak(turn, 19), 3)
    angle = 2 * math.pi * (turn - EMPTIEST_HOUR / 24)
    percent_per_hour = BATTERY_SWING_PERCENT * 2 * math.pi / 24 * math.sin(angle)
    battery_kw = round(-BATTERY_KWH * percent_per_hour / 100, 3)
    return Energy(
        site=site,
        unix=unix,
        solar_kw=solar_kw,
        home_kw=home_kw,
        battery_kw=battery_kw,
        grid_kw=round(home_kw - solar_kw - battery_kw, 3),
        battery_percent=round(BATTERY_MEAN_PERCENT - BATTERY_SWING_PERCENT * math.cos(angle), 2),
    )


def add_routes(app: FastAPI, backend: Backend) -> None:
    """Add the routes of this feature. They need neither database nor gateway."""
    seed = backend.settings.fleet_seed

    @add(app, "energy", Energy)
    async def energy(site: Site, request: Request) -> Response:
        owner_id = owner_of(request, backend)
        if site != f"site-{owner_id}":
            raise not_found("site")
        async with backend.work.slot("energy"):
            return JSONResponse(asdict(energy_at(seed, site, round(time.time(), 3))))


def _sun_height_sine(latitude: float, day: int, turn: float) -> float:
    """Return the sine of the sun's height, 0 at night. `day` since the epoch, `turn` in [0, 1)."""
    day_of_year = day % 365.2425
    declination = math.radians(23.45) * math.sin(2 * math.pi * (285 + day_of_year) / 365)
    hour_angle = 2 * math.pi * (turn - 0.5)
    phi = math.radians(latitude)
    sine = math.sin(phi) * math.sin(declination)
    sine += math.cos(phi) * math.cos(declination) * math.cos(hour_angle)
    return max(0.0, sine)


def _peak(turn: float, hour: float) -> float:
    """Return a hill of height 1 at that hour of the day, three hours wide."""
    away_hours = abs((24 * turn - hour + 12) % 24 - 12)
    return math.exp(-((away_hours / 1.5) ** 2))


def _draws(text: str) -> tuple[float, float, float, float]:
    one, two, three, four = blake2b(text.encode(), digest_size=4).digest()
    return one / 255, two / 255, three / 255, four / 255
