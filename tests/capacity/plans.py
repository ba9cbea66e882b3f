"""Plans for the tests of output: made by hand, so that every number and gap is known."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

from launchday.capacity.answer import Plan, Request, Validity
from launchday.capacity.cost import Price
from launchday.capacity.forecast import Forecast
from launchday.capacity.growth import FleetGrowth
from launchday.capacity.needs import with_needs
from launchday.capacity.pipeline import finished
from launchday.capacity.results import Bottleneck, Demand, Estimate, Found, Rung, UslFit, Validation
from launchday.capacity.steps import LeftOut, Measured, Objective, Step
from launchday.capacity.usl_fit import fit_usl

OBJECTIVE = Objective(seconds=0.6)
RATES = (20, 30, 45, 65, 90, 120, 150, 170, 180, 190, 215, 240)
SATURATES = 196.0


def step(rps: float, **changes: Any) -> Step:
    """A load on one server that divides itself among its requests, 5.1 ms of CPU each."""
    answered = min(rps, SATURATES * 0.985)
    busy = answered / SATURATES
    mean = 0.0051 / max(1 - busy, 0.02) + 0.030
    p99 = 0.120 + 0.0051 / max(1 - busy, 0.012) * 4.6
    over = rps > SATURATES
    made = Step(
        source=f"run a, {rps:g} rps",
        offered_rps=float(rps),
        goodput_rps=answered,
        throughput_rps=answered * (1 + 0.004 * math.sin(rps)),
        concurrency=answered * mean,
        mean_seconds=mean,
        latency_seconds=p99,
        seconds=60.0,
        requests=round(rps * 60),
        shed_share=(rps - answered) / rps if over else 0.0,
        low_seconds=p99 * 0.93,
        high_seconds=p99 * 1.08,
        run_id="a",
        utilisation={"CPU": busy, "admission slots": busy * 0.6, "database pool": busy * 0.31},
        units={"CPU": 1.0, "admission slots": 20.0, "database pool": 8.0},
        unsteady=("the backlog grew during the whole step",) if over else (),
        held_out=rps == 150,
    )
    return replace(made, **changes)


def measured(**changes: Any) -> Measured:
    """Twelve loads from 20 to 240 rps, the last two beyond what the target can do."""
    made = Measured(
        steps=tuple(step(rps) for rps in RATES),
        left_out=(LeftOut("run a, 0 s to 8 s", "warm-up, cut by MSER-5"),),
        target="http://127.0.0.1:8000",
        digest="4f" * 32,
    )
    return replace(made, **changes)


def found(**changes: Any) -> Found:
    """184 rps at 600 ms, 180 of them proved."""
    ladder = (
        Rung(0.1, None, "never met: 145 ms at the lowest load"),
        Rung(0.25, estimate(160, 154, 166), "crossed at 160 rps"),
        Rung(0.5, estimate(181, 176, 186), "crossed at 181 rps"),
        Rung(1.0, estimate(190, 184, 197), "crossed at 190 rps"),
    )
    made = Found(
        crossing=estimate(184, 178, 190),
        proved=estimate(180, 178, 182),
        proved_source="run a, 180 rps",
        binding="latency",
        ladder=ladder,
        tested_low_rps=20.0,
        tested_high_rps=240.0,
    )
    return replace(made, **changes)


def estimate(value: float, low: float, high: float, n: int = 8) -> Estimate:
    """A number with its interval."""
    return Estimate(value, low, high, n, "isotonic crossing of log p99, block bootstrap")


def bottleneck() -> Bottleneck:
    """CPU first, then the admission slots."""
    demands = (
        demand("CPU", 0.0051, 1.0, 196),
        demand("admission slots", 0.061, 20.0, 327),
        demand("database pool", 0.0126, 8.0, 632),
    )
    return Bottleneck("CPU", "admission slots", demands, "CPU is the bottleneck.")


def demand(resource: str, seconds: float, units: float, at: float) -> Demand:
    """What a request takes of a resource."""
    taken = Estimate(seconds, seconds * 0.98, seconds * 1.02, 9, "utilisation law")
    full = Estimate(at, at * 0.98, at * 1.02, 9, "utilisation law")
    return Demand(resource, taken, units, full, 0.97, f"{resource} is full at {at:g} rps")


REQUEST = Request(
    objective=OBJECTIVE,
    forecast=Forecast(1200.0, 150.0),
    zones=3,
    growth=FleetGrowth(0.12, 0.03, quarters=6),
    replicas_now=15,
    price=Price(0.12, "€"),
)
VALIDATION = Validation("p99", 180.0, 0.571, 0.560, -0.019, True, "run b, 180 rps")


@lru_cache
def fitted(points: tuple[tuple[float, float], ...]) -> UslFit:
    """A fit takes a while, and most plans here rest on the same steps."""
    return fit_usl(points)


def plan(request: Request = REQUEST, **changes: Any) -> Plan:
    """The whole plan, every part of it there."""
    data = changes.pop("measured", measured())
    assert isinstance(data, Measured)
    used = [step for step in data.steps if step.steady and not step.held_out]
    made = Plan(
        request,
        data,
        usl=fitted(tuple((s.concurrency, s.throughput_rps) for s in used)) if used else None,
        found=found(),
        per_replica=estimate(180, 178, 190),
        bottleneck=bottleneck(),
        validity=Validity(20.0, 240.0, 360.0, 480.0, 1),
        held_out=(Validation("throughput", 150.0, 149.1, 150.2, 0.007, True, "run a, 150 rps"),),
    )
    made = replace(made, **changes)
    return finished(made if made.refused else with_needs(made))
