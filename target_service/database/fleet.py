"""The fleet that the service starts with: N owners, each with one car; the same for one seed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import Any

from target_service.database import Database

CHUNK = 5000
# The first nine characters of a VIN name the maker and the region.
VIN_PREFIXES = {"us": "LAUNCHDAY", "eu": "LAUNCHDEU", "cn": "LAUNCHDCN"}
NAMES = ("Blue", "Ember", "Juniper", "Comet", "Sable", "Willow", "Onyx", "Pearl")
SOFTWARE_VERSION = "2026.44.1"
OWNER_COLUMNS = ("id", "email", "password_hash")
VEHICLE_COLUMNS = (
    "vin", "owner_id", "name", "battery_percent", "range_km", "latitude", "longitude", "locked",
    "climate_on", "charging", "valet_mode", "charge_limit_percent", "charging_schedule",
    "odometer_km", "software_version", "reported_unix",
)  # fmt: skip


def vin_of(region: str, number: int) -> str:
    """Return the 17-character VIN of the car with this number in the fleet, from 0."""
    return f"{VIN_PREFIXES[region]}{number:08d}"


def email_of(region: str, number: int) -> str:
    """Return the address that the owner with this number signs in with."""
    return f"owner{number}@{region}.example"


def password_of(seed: int, email: str) -> str:
    """Return the password of a seeded owner, 128 bits; load generators derive it alike."""
    return hashlib.sha256(f"launchday:{seed}:{email}".encode()).hexdigest()[:32]


def password_hash(password: str) -> str:
    """Return what is stored of a password.

    One SHA-256 is as good as a slow hash only because the fleet's passwords are 128 random bits:
    where people choose them, use Argon2 (RFC 9106).
    """
    return hashlib.sha256(password.encode()).hexdigest()


async def seed_fleet(database: Database, region: str, seed: int, size: int) -> None:
    """Create those of the first `size` owners and cars that are missing.

    Raises ValueError when the database holds a fleet of another region or seed.
    """
    await _claim(database, region, seed)
    there = await database.one("SELECT count(*) AS count FROM owners")
    now = time.time()
    for first in range(there["count"] if there else 0, size, CHUNK):
        numbers = range(first, min(first + CHUNK, size))
        # Cars first: owners are what is counted, so that a fleet cut short is completed.
        cars = [_vehicle(region, seed, number, now) for number in numbers]
        await database.load("vehicles", VEHICLE_COLUMNS, cars)
        await database.load("owners", OWNER_COLUMNS, list(_owners(region, seed, numbers)))


async def _claim(database: Database, region: str, seed: int) -> None:
    mine = f"region {region}, seed {seed}"
    insert = "INSERT INTO secrets (name, value) VALUES ('fleet', $1) ON CONFLICT DO NOTHING"
    await database.write((insert, mine))
    row = await database.one("SELECT value FROM secrets WHERE name = 'fleet'")
    if row is not None and row["value"] != mine:
        raise ValueError(
            f"TARGET_REGION, TARGET_FLEET_SEED: {mine} is not allowed: the database holds the "
            f"fleet of {row['value']}"
        )


def _owners(region: str, seed: int, numbers: range) -> Iterator[tuple[Any, ...]]:
    for number in numbers:
        email = email_of(region, number)
        yield number, email, password_hash(password_of(seed, email))


def _vehicle(region: str, seed: int, number: int, now: float) -> tuple[Any, ...]:
    draw = hashlib.blake2b(f"{region}:{seed}:{number}".encode(), digest_size=8).digest()
    battery_percent = 20 + draw[0] % 71
    latitude, longitude = round(30 + draw[1] / 16, 4), round(draw[2] / 4, 4)
    charging = int(draw[3] % 5 == 0)
    odometer_km = 500 + (draw[4] << 8 | draw[5]) % 90_000
    return (
        vin_of(region, number), number, NAMES[draw[6] % len(NAMES)], battery_percent,
        battery_percent * 5, latitude, longitude, 1, 0, charging, 0, 90, "", odometer_km,
        SOFTWARE_VERSION, now,
    )  # fmt: skip
