"""Open arrivals of the arrivals benchmark and of the soak, as a scenario of launchday.

The curve is an option: `--points 0:100,2:100,3:3000`, seconds and arrivals per second.
"""

from __future__ import annotations

from argparse import Namespace

# The one place of the benchmarks with a shape, loaded by Locust in a process of its own.
from locust import events, task  # noqa: TID251  (a user class for Locust)
from locust.argument_parser import LocustArgumentParser  # noqa: TID251  (as above)

from launchday.load import Phase, RateCurve
from launchday.load.locust_user import ArrivalUser, SurgeShape


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]  # as Locust is
def add_points(parser: LocustArgumentParser) -> None:
    """The curve, on the command line."""
    parser.add_argument("--points", default="0:10,10:10", help="SECONDS:RATE,...")


class Points(SurgeShape):
    """The curve of the command line."""

    def curve(self, options: Namespace) -> RateCurve:
        """Through the points."""
        pairs = [point.partition(":") for point in options.points.split(",")]
        points = tuple((float(seconds), float(rate)) for seconds, _, rate in pairs)
        return RateCurve(points=points, phases=(Phase("all", 0.0, points[-1][0]),))


class Visitor(ArrivalUser):
    """One request for each arrival; its path names the arrival."""

    @task
    def ask(self) -> None:
        """So that the server knows which one it received."""
        self.client.get(f"/{self.arrival.index}", name="arrival")
