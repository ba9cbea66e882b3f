"""What people and cars ask for, as requests to the target: the one class to change for yours.

Every scenario of this folder runs against another service as soon as one class says how its
requests look. What is not there stays None, and journeys that need it are left out with --shares:

    # _shop.py, beside the scenarios
    from _backend import Account, Backend, Request

    class Shop(Backend):
        criticality = {"product": "sheddable", "order": "critical"}

        def state(self, account: Account) -> Request:
            return Request("GET", f"/products/{account.number}", "product")

        def reserve(self, account: Account) -> Request:
            return Request("POST", "/orders", "order", json={"item": 1}, once=True)

    locust -f launch_day.py --host http://127.0.0.1:8080 --backend _shop.py:Shop \
        --shares look=3,reserve=1
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})  # RFC 9110, 9.2.2


@dataclass(frozen=True)
class Request:
    """One request; `name` groups it in reports and says its class.

    `once`: it carries an Idempotency-Key, and its retries the same one. `harmless`: it has none,
    and to send it twice does no harm all the same.
    """

    method: str
    path: str
    name: str
    json: Any = None
    once: bool = False
    harmless: bool = False

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again when it is open what became of it."""
        return self.once or self.harmless or self.method in _IDEMPOTENT


@dataclass(frozen=True)
class Session:
    """What a client shows to say who it is, and what it renews that with ("" for not at all)."""

    access_token: str
    refresh_token: str = ""


@dataclass
class Account:
    """An owner, by number in the fleet: the session of the app, and what the car could not send."""

    region: str
    number: int
    session: Session | None = None
    unsent: list[dict[str, Any]] = field(default_factory=list)


class Backend:
    """A target that knows nothing yet: override what yours has.

    `criticality` maps names of requests to critical_plus, critical, sheddable_plus or sheddable.
    `options` is the command line of the scenario.
    """

    criticality: ClassVar[Mapping[str, str]] = {}

    def __init__(self, options: Namespace) -> None:
        self.options = options

    def sign_in(self, account: Account) -> Request | None:
        """Begin a session; None: nobody has to sign in."""
        return None

    def session(self, answer: Any) -> Session | None:
        """The session from the JSON that answered `sign_in` or `refresh`; None: there is none."""
        return None

    def headers(self, account: Account) -> dict[str, str]:
        """What every request says about who is asking."""
        session = account.session
        return {"Authorization": f"Bearer {session.access_token}"} if session else {}

    def refresh(self, account: Account) -> Request | None:
        """Renew a session that has run out."""
        return None

    def vehicles(self, account: Account) -> Request | None:
        """List what the owner has: what the app shows first."""
        return None

    def state(self, account: Account) -> Request | None:
        """Look at it."""
        return None

    def notifications(self, account: Account) -> Request | None:
        """What is new for the owner."""
        return None

    def command(self, account: Account, command: str) -> Request | None:
        """Have it do something now: `unlock`, `climate_start`, `charge_start`."""
        return None

    def reserve(self, account: Account) -> Request | None:
        """Order what was announced today."""
        return None

    def charger_session(self, account: Account, charger: str) -> Request | None:
        """Pay for charging in public."""
        return None

    def schedule(self, account: Account, start: str) -> Request | None:
        """Say when to charge at home, HH:MM."""
        return None

    def energy(self, account: Account) -> Request | None:
        """Look at the battery and the roof at home."""
        return None

    def charging(self, account: Account) -> Request | None:
        """Ask how the car is to charge."""
        return None

    def software(self, account: Account) -> Request | None:
        """Ask whether there is an update."""
        return None

    def telemetry(self, account: Account, readings: list[dict[str, Any]]) -> Request | None:
        """Upload what the car measured: `unix`, and what else `reading` gives."""
        return None

    def reading(self, account: Account, unix: float) -> dict[str, Any]:
        """What the car measures at a time."""
        return {"unix": unix}

    def poll(self, account: Account) -> Request | None:
        """What a third party's program asks for on behalf of an owner."""
        return None

    def status(self) -> Request | None:
        """Look at the status page; nobody has to be signed in for it."""
        return None
