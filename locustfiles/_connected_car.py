"""The reference backend's requests, as its OpenAPI document has them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar

from _backend import Account, Backend, Request, Session

REGIONS = {"us": "LAUNCHDAY", "eu": "LAUNCHDEU", "cn": "LAUNCHDCN"}  # and how a VIN begins there


class ConnectedCar(Backend):
    """The reference backend. Its fleet follows from a seed, so nobody hands out passwords."""

    criticality: ClassVar[Mapping[str, str]] = {
        "sign_in": "critical",
        "refresh": "critical_plus",
        "vehicles": "critical",
        "state": "sheddable_plus",
        "poll": "sheddable_plus",
        "notifications": "sheddable",
        "unlock": "critical_plus",
        "climate_start": "critical",
        "charge_start": "critical",
        "reserve": "critical",
        "charger_session": "critical_plus",
        "schedule": "critical",
        "charging": "critical",
        "energy": "sheddable",
        "software": "sheddable",
        "telemetry": "sheddable",
    }

    def sign_in(self, account: Account) -> Request:
        """Owner n of a region is `owner<n>@<region>.example`."""
        email = f"owner{account.number}@{account.region}.example"
        secret = f"launchday:{self.options.fleet_seed}:{email}"
        password = hashlib.sha256(secret.encode()).hexdigest()[:32]
        who = {"email": email, "password": password}
        return Request("POST", "/v1/sessions", "sign_in", json=who, harmless=True)

    def session(self, answer: Any) -> Session | None:
        """Both tokens."""
        try:
            access, refresh = answer["access_token"], answer.get("refresh_token", "")
        except (KeyError, TypeError, AttributeError):
            return None
        return Session(access, refresh) if isinstance(access, str) else None

    def refresh(self, account: Account) -> Request | None:
        """With the refresh token that came with the session."""
        if account.session is None or not account.session.refresh_token:
            return None
        token = {"refresh_token": account.session.refresh_token}
        return Request("POST", "/v1/sessions/refresh", "refresh", json=token, harmless=True)

    def vehicles(self, account: Account) -> Request:
        """The cars of the owner."""
        return Request("GET", "/v1/vehicles", "vehicles")

    def state(self, account: Account) -> Request:
        """Battery, range, place, locks, climate."""
        return Request("GET", f"{_car(account)}/state", "state")

    def poll(self, account: Account) -> Request:
        """The same, but under a name of its own: nobody waits for the answer."""
        return Request("GET", f"{_car(account)}/state", "poll")

    def notifications(self, account: Account) -> Request:
        """The newest hundred."""
        return Request("GET", "/v1/notifications", "notifications")

    def command(self, account: Account, command: str) -> Request:
        """A command is executed once, however often it is sent with its key."""
        return Request("POST", f"{_car(account)}/commands/{command}", command, once=True)

    def reserve(self, account: Account) -> Request:
        """The new model."""
        model = {"model": "launch-edition"}
        return Request("POST", "/v1/reservations", "reserve", json=model, once=True)

    def charger_session(self, account: Account, charger: str) -> Request:
        """The charger lets nobody charge without it."""
        path, car = f"/v1/chargers/{charger}/sessions", {"vin": vin(account)}
        return Request("POST", path, "charger_session", json=car, once=True)

    def schedule(self, account: Account, start: str) -> Request:
        """Every night, up to 80 %."""
        days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
        wanted = {"start": start, "days": days, "percent": 80}
        return Request("PUT", f"{_car(account)}/charging/schedule", "schedule", json=wanted)

    def energy(self, account: Account) -> Request:
        """Each owner has one site."""
        return Request("GET", f"/v1/energy/site-{account.number}", "energy")

    def charging(self, account: Account) -> Request:
        """Limit and schedule."""
        return Request("GET", f"{_car(account)}/charging", "charging")

    def software(self, account: Account) -> Request:
        """Installed, available, scheduled."""
        return Request("GET", f"{_car(account)}/software", "software")

    def telemetry(self, account: Account, readings: list[dict[str, Any]]) -> Request:
        """One reading, or after a time without connection a batch; the newest counts."""
        body = readings[0] if len(readings) == 1 else {"readings": readings}
        return Request("POST", "/v1/telemetry", "telemetry", json=body, harmless=True)

    def reading(self, account: Account, unix: float) -> dict[str, Any]:
        """A parked car; the numbers follow from the time, so that they change."""
        percent = 50 + int(unix / 60) % 40
        return {
            "vin": vin(account),
            "battery_percent": percent,
            "range_km": 5 * percent,
            "latitude": 52.52,
            "longitude": 13.4,
            "odometer_km": 1000 + account.number,
            "unix": unix,
        }

    def status(self) -> Request:
        """As JSON; exempt from shedding, so it has none of the classes."""
        return Request("GET", "/status", "status")


def vin(account: Account) -> str:
    """The car of an owner of the reference backend."""
    return f"{REGIONS[account.region]}{account.number:08d}"


def _car(account: Account) -> str:
    return f"/v1/vehicles/{vin(account)}"
