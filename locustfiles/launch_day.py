"""Launch day: the new model is announced, and every owner opens the app at once.

Runs alone, `locust -f locustfiles/launch_day.py --host http://127.0.0.1:8000`, with Locust's web
UI, or through `launchday run launch_day`, which records and judges it.

Assumed shares (settings of the population, not measured): of ten arrivals six reserve the new
model, three look at their car, one unlocks it; who cannot unlock over the network uses the key
card, so that journey is degraded and not lost.
"""

from __future__ import annotations

from argparse import Namespace
from typing import ClassVar

from _owners import REGIONS, Account, Owners, add_options
from locust import events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from launchday.load import RateCurve, launch_day
from launchday.load.locust_user import ArrivalUser, SurgeShape

PARAMETERS = {
    "baseline_rps": (73.0, "arrivals per second on a quiet evening"),
    "multiple": (10.0, "peak over baseline"),
    "quiet_seconds": (10.0, "before the announcement"),
    "rise_seconds": (3.0, "from baseline to peak"),
    "peak_seconds": (28.0, "at the peak"),
    "decay_seconds": (4.0, "from the peak back to 1.2 times the baseline"),
    "tail_seconds": (20.0, "until the evening is quiet again"),
}


@events.init_command_line_parser.add_listener
def add_parameters(parser: LocustArgumentParser) -> None:
    """The parameters of the curve, on the command line and in the web UI."""
    group = parser.add_argument_group("launch_day")
    for name, (default, meaning) in PARAMETERS.items():
        flag = "--" + name.replace("_", "-")
        group.add_argument(flag, type=float, default=default, help=f"{meaning} (default {default})")
    group.add_argument("--region", choices=REGIONS, default="us", help="of the target (default us)")
    add_options(group, owners=200)


def _where(environment: Environment) -> dict[str, str]:
    options = environment.parsed_options
    return {options.region: environment.host or ""} if options else {}


OWNERS = Owners(_where)


class LaunchDay(SurgeShape):
    """Quiet evening, announcement, peak, decay, long tail."""

    requests_per_journey = 2

    def curve(self, options: Namespace) -> RateCurve:
        """The curve with the parameters of the command line."""
        return launch_day(**{name: getattr(options, name) for name in PARAMETERS})


class Owner(ArrivalUser):
    """An owner with the app."""

    criticality: ClassVar[dict[str, str]] = {
        "reserve": "critical",
        "state": "sheddable_plus",
        "unlock": "critical_plus",
    }

    def account(self) -> Account:
        """Whoever arrives."""
        return OWNERS.any(self.engine.options.region, self.random)

    @task(6)
    def reserve(self) -> None:
        """Reserve the new model."""
        key = {"Idempotency-Key": self.idempotency_key()}
        self.client.post(
            "/v1/reservations",
            json={"model": "launch-edition"},
            headers={**self.account().headers, **key},
            name="reserve",
        )

    @task(3)
    def look(self) -> None:
        """Look at the car."""
        owner = self.account()
        self.client.get(f"/v1/vehicles/{owner.vin}/state", headers=owner.headers, name="state")

    @task(1)
    def unlock(self) -> None:
        """Look at the car and unlock it; the app tries to unlock whatever the state said."""
        owner = self.account()
        car = f"/v1/vehicles/{owner.vin}"
        self.client.get(f"{car}/state", headers=owner.headers, name="state")
        key = {"Idempotency-Key": self.idempotency_key()}
        self.client.post(f"{car}/commands/unlock", headers={**owner.headers, **key}, name="unlock")
