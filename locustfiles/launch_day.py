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

from locust import events, task
from locust.argument_parser import LocustArgumentParser

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
    group.add_argument("--fleet-size", type=int, default=1000, help="vehicles of the target")


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

    def vin(self) -> str:
        """The car of whoever arrives."""
        return f"LAUNCHDAY{self.random.randrange(self.engine.options.fleet_size):08d}"

    @task(6)
    def reserve(self) -> None:
        """Reserve the new model."""
        self.client.post(
            "/v1/reservations",
            json={"model": "launch-edition", "owner": self.vin()},
            headers={"Idempotency-Key": f"{self.random.getrandbits(128):032x}"},
            name="reserve",
        )

    @task(3)
    def look(self) -> None:
        """Look at the car."""
        self.client.get(f"/v1/vehicles/{self.vin()}/state", name="state")

    @task(1)
    def unlock(self) -> None:
        """Look at the car and unlock it; the app tries to unlock whatever the state said."""
        vin = self.vin()
        self.client.get(f"/v1/vehicles/{vin}/state", name="state")
        self.client.post(f"/v1/vehicles/{vin}/commands/unlock", name="unlock")
