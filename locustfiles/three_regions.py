"""Three regions, one goes down: its owners notice, the others do not.

An ordinary evening in `us`, `eu` and `cn` at once: owners look at their car, unlock it, reserve.
Each region is a stack of its own, and endpoints carry its name (`eu state`), so that every report
shows the regions apart. Who cannot be served comes again as the next arrival, with the session
that it had before.

The regions are an option, `--regions us=http://127.0.0.1:8000,eu=http://127.0.0.1:8001`, or the
environment variable LAUNCHDAY_REGIONS. Assumed: the regions are equally busy.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable
from typing import ClassVar, cast

from _backend import Account, Request
from _connected_car import REGIONS, ConnectedCar
from _owners import Owners, add_owner_options
from locust import events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from launchday.load import Phase, RateCurve
from launchday.load.http import HttpClient
from launchday.load.locust_user import ArrivalUser, SurgeShape
from launchday.load.recorder import Recorder

_ENDPOINTS = ("state", "unlock", "reserve")


@events.init_command_line_parser.add_listener
def add_parameters(parser: LocustArgumentParser) -> None:
    """Where the regions are, and how long the evening is."""
    group = parser.add_argument_group("three_regions")
    where = "like us=http://127.0.0.1:8000,eu=http://127.0.0.1:8001"
    group.add_argument("--regions", env_var="LAUNCHDAY_REGIONS", default="", help=where)
    group.add_argument("--rps", type=float, default=60.0, help="arrivals a second, all regions")
    group.add_argument("--quiet-seconds", type=float, default=8.0, help="before the peak")
    group.add_argument("--peak-seconds", type=float, default=20.0, help="the fault is in it")
    group.add_argument("--tail-seconds", type=float, default=12.0, help="to recover")
    add_owner_options(group, owners=50)


def urls(options: Namespace) -> dict[str, str]:
    """Where each region answers. Raises ValueError."""
    found = dict(part.strip().split("=", 1) for part in options.regions.split(",") if "=" in part)
    if not found or set(found) - set(REGIONS):
        raise ValueError(
            f"--regions (or LAUNCHDAY_REGIONS) is {options.regions!r}; it must be like "
            f"us=http://127.0.0.1:8000,eu=http://127.0.0.1:8001, with regions {', '.join(REGIONS)}"
        )
    return found


OWNERS = Owners(lambda environment: urls(cast(Namespace, environment.parsed_options)), ConnectedCar)


class Evening(SurgeShape):
    """The same load all the time; its middle is called the peak."""

    requests_per_journey = 1

    def targets(self, options: Namespace) -> Iterable[str]:
        """The regions."""
        return urls(options).values()

    def curve(self, options: Namespace) -> RateCurve:
        """The curve with the parameters of the command line."""
        peak = options.quiet_seconds
        tail = peak + options.peak_seconds
        end = tail + options.tail_seconds
        return RateCurve(
            points=((0.0, options.rps), (end, options.rps)),
            phases=(
                Phase("quiet", 0.0, peak),
                Phase("peak", peak, tail),
                Phase("tail", tail, end),
            ),
        )


class Owner(ArrivalUser):
    """An owner with the app, somewhere in the world."""

    criticality: ClassVar[dict[str, str]] = {
        f"{region} {name}": ConnectedCar.criticality[name]
        for region in REGIONS
        for name in _ENDPOINTS
    }

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        options = self.engine.options
        self.backend = ConnectedCar(options)
        self.clients = {
            region: HttpClient(
                url,
                Recorder.of(environment),
                self,
                timeout_seconds=options.request_timeout_seconds,
            )
            for region, url in urls(options).items()
        }

    @task(6)
    def look(self) -> None:
        """Look at the car."""
        self.send(self.backend.state)

    @task(1)
    def unlock(self) -> None:
        """Unlock it."""
        self.send(lambda account: self.backend.command(account, "unlock"))

    @task(3)
    def reserve(self) -> None:
        """Reserve the new model."""
        self.send(self.backend.reserve)

    def send(self, wanted: Callable[[Account], Request]) -> None:
        """Make one request in the region of whoever arrives."""
        region = self.random.choice(list(self.clients))
        account = OWNERS.any(region, self.engine.options.fleet_size, self.random)
        request, headers = wanted(account), self.backend.headers(account)
        if request.once:
            headers["Idempotency-Key"] = self.idempotency_key()
        self.clients[region].request(
            request.method,
            request.path,
            json=request.json,
            headers=headers,
            name=f"{region} {request.name}",
        )
