"""The tables, and the fleet that the service starts with."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Boolean, Column, Float, Index, Integer, MetaData, String, Table

metadata = MetaData()

vehicles = Table(
    "vehicles",
    metadata,
    Column("vin", String(17), primary_key=True),
    Column("battery_percent", Integer, nullable=False),
    Column("range_km", Integer, nullable=False),
    Column("locked", Boolean, nullable=False),
    Column("climate_on", Boolean, nullable=False),
    Column("charging", Boolean, nullable=False),
    Column("odometer_km", Integer, nullable=False),
    Column("software_version", String(32), nullable=False),
)

# Whether a car is locked follows from the last command it executed: one row to write, not two.
commands = Table(
    "commands",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("vin", String(17), nullable=False),
    Column("command", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("updated_at_seconds", Float, nullable=False),
)
Index("commands_by_vehicle", commands.c.vin, commands.c.updated_at_seconds)

reservations = Table(
    "reservations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("idempotency_key", String(128), nullable=False, unique=True),
    Column("fingerprint", String(64), nullable=False),
    Column("model", String(64), nullable=False),
    Column("created_at", String(32), nullable=False),
)


def vin_of(number: int) -> str:
    """Return the 17-character VIN of the car with this number in the fleet, from 0."""
    return f"LAUNCHDAY{number:08d}"


def fleet(size: int) -> Iterator[dict[str, Any]]:
    """Yield the cars of a fleet; the same cars every time."""
    for number in range(size):
        battery_percent = 20 + number * 37 % 81
        yield {
            "vin": vin_of(number),
            "battery_percent": battery_percent,
            "range_km": battery_percent * 5,
            "locked": True,
            "climate_on": False,
            "charging": number % 5 == 0,
            "odometer_km": 500 + number * 7919 % 90_000,
            "software_version": "2026.44.1",
        }


def now_text() -> str:
    """Return the wall-clock time as clients read it, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
