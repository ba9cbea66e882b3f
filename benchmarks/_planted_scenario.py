"""The load of `benchmarks.bottlenecks` on its own small service: a GET an arrival, in steps.

`--burn-seconds` is CPU time that the generator wastes on each of them.
"""

from __future__ import annotations

import time
from argparse import Namespace
from typing import Any

from locust import events, task
from locust.argument_parser import LocustArgumentParser

from launchday.load.curves import CURVES, RateCurve, add_curve_options, curve_from_options
from launchday.load.locust_user import ArrivalUser, SurgeShape

_CURVE = CURVES["breakpoint"]
_EVENTS: Any = events  # Locust's have no types


def _add_options(parser: LocustArgumentParser, **_: Any) -> None:
    group = add_curve_options(parser, _CURVE)
    group.add_argument("--burn-seconds", type=float, default=0.0, help="of CPU for each arrival")


_EVENTS.init_command_line_parser.add_listener(_add_options)


class Steps(SurgeShape):
    """The steps of `breakpoint`."""

    def curve(self, options: Namespace) -> RateCurve:
        """The curve with the parameters of the command line."""
        return curve_from_options(options, _CURVE)


class Client(ArrivalUser):
    """Asks once."""

    @task
    def ask(self) -> None:
        """Burn what is to be burnt, then ask."""
        ends_at = time.thread_time() + self.engine.options.burn_seconds
        while time.thread_time() < ends_at:
            pass
        self.client.get("/", name="ask")
