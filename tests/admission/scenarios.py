"""The arrivals and services that every limit is simulated against, and how a run is measured."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from launchday.admission.gate import Gate
from launchday.admission.limits import (
    AIMDLimit,
    ElasticLimit,
    FixedLimit,
    Gradient2Limit,
    Limit,
    VegasLimit,
)
from launchday.admission.queue_rules import QueueRules
from tests.admission.peers import (
    EnvoyGradient,
    FirstElastic,
    NetflixAIMD,
    NetflixGradient2,
    NetflixVegas,
)
from tests.admission.simulation import Outcomes, Serve, Trace, simulate

MEAN_SECONDS = 0.05
SIGMA = math.sqrt(math.log(1 + 0.5**2))
MU = math.log(MEAN_SECONDS) - SIGMA**2 / 2
UNLOADED_P99_SECONDS = math.exp(MU + 2.3263 * SIGMA)


def lognormal(random: Random) -> float:
    """Mean 50 ms, coefficient of variation 0.5."""
    return random.lognormvariate(MU, SIGMA)


def bimodal(random: Random) -> float:
    """One in ten is ten times slower."""
    return lognormal(random) * (10 if random.random() < 0.1 else 1)


def heavy_tailed(random: Random) -> float:
    """Pareto 1.5, mean 50 ms, at most a minute."""
    return min(MEAN_SECONDS / 3 * random.paretovariate(1.5), 60.0)


def slow_dependency(begin: float, end: float, factor: float) -> Serve:
    """Service that starts between the two times takes `factor` times as long."""
    return lambda start, work: start + work * (factor if begin <= start < end else 1)


def stalls(every: float, lasting: float) -> Serve:
    """Nothing moves in the last `lasting` of each `every` seconds."""

    def serve(start: float, work: float) -> float:
        next_round = start - start % every + every
        if start >= next_round - lasting:
            return next_round + work
        return start + work + (lasting if start + work > next_round - lasting else 0.0)

    return serve


@dataclass(frozen=True)
class Scenario:
    """What is offered, what a request costs, and which seconds count.

    `steps`: from this second on, this multiple of the capacity (`absolute`: this many rps).
    `counted`: spans of seconds in which goodput and shed requests count; `after`: the span that
    must be well again. `slowdown`: how much slower the service is in `counted`.
    """

    steps: tuple[tuple[float, float], ...]
    seconds: int
    counted: tuple[tuple[int, int], ...]
    after: tuple[int, int] | None = None
    work: Callable[[Random], float] = lognormal
    mean_seconds: float = MEAN_SECONDS
    objective_seconds: float = 0.5
    serve: Serve | None = None
    slowdown: float = 1.0
    absolute: bool = False


def constant(load: float, seconds: int = 30) -> Scenario:
    """The same load all the time; counts after 10 s."""
    return Scenario(((0, load),), seconds, ((10, seconds),))


def two_speeds(load: float, seconds: int) -> Scenario:
    """A tenth of the requests is ten times slower, and has an objective that allows for it."""
    return Scenario(((0, load),), seconds, ((10, seconds),), None, bimodal, 0.095, 1.5)


SCENARIOS: dict[str, Scenario] = {
    "0.8x": constant(0.8, 40),
    "1x": constant(1.0),
    "1.5x": constant(1.5),
    "5x": constant(5.0),
    "10x": constant(10.0, 20),
    "step": Scenario(((0, 0.7), (15, 5.0), (25, 0.7)), 35, ((16, 25),), (27, 35)),
    "pulse": Scenario(
        tuple((10 * i, (0.5, 3.0)[i % 2]) for i in range(8)),
        80,
        tuple((10 * i, 10 * i + 10) for i in range(1, 8, 2)),
        (62, 70),
    ),
    "slow dependency": Scenario(
        ((0, 0.7),), 70, ((20, 55),), (57, 70), serve=slow_dependency(15, 55, 4), slowdown=4
    ),
    "slow and overloaded": Scenario(
        ((0, 1.5),), 70, ((20, 55),), (57, 70), serve=slow_dependency(15, 55, 4), slowdown=4
    ),
    "bimodal": two_speeds(2.0, 40),
    "bimodal 0.8x": two_speeds(0.8, 40),
    "heavy tail": Scenario(((0, 2.0),), 40, ((10, 40),), work=heavy_tailed),
    "low rate": Scenario(((0, 3.0),), 600, ((0, 600),), serve=stalls(60, 2), absolute=True),
    "cold start": Scenario(((0, 2.0),), 25, ((0, 5),), (5, 25)),
}


@lru_cache(maxsize=4)
def trace(name: str, slots: int, seed: int) -> Trace:
    """Return the arrivals of the scenario; the same arguments give the same trace."""
    scenario = SCENARIOS[name]
    random = Random(f"{name} {slots} {seed}")
    unit_rps = 1.0 if scenario.absolute else slots / scenario.mean_seconds
    starts = [start for start, _ in scenario.steps]
    now, arrivals = 0.0, []
    while True:
        load = scenario.steps[bisect.bisect_right(starts, now) - 1][1]
        now += random.expovariate(load * unit_rps)
        if now >= scenario.seconds:
            break
        arrivals.append(now)
    works = [scenario.work(random) for _ in arrivals]
    return Trace(
        slots, arrivals, works, scenario.seconds, scenario.objective_seconds, scenario.serve
    )


NO_QUEUE = QueueRules(length=0)
DEFAULT_QUEUE = QueueRules()


Make = Callable[[int, float], Limit]
LIMITS: dict[str, Make] = {
    "fixed": lambda slots, objective: FixedLimit(max(slots + 2, math.ceil(1.2 * slots))),
    "elastic": lambda slots, objective: ElasticLimit(objective_seconds=objective),
    "aimd": lambda slots, objective: AIMDLimit(objective_seconds=objective),
    "vegas": lambda slots, objective: VegasLimit(),
    "gradient2": lambda slots, objective: Gradient2Limit(),
}
EARLIER: dict[str, Make] = {
    "elastic, first design": lambda slots, objective: FirstElastic(objective_seconds=objective),
}
# `uvicorn --limit-concurrency` is off by default; people copy numbers like 100 for 20 slots.
PEERS: dict[str, Make] = {
    "no shedder": lambda slots, objective: FixedLimit(10**9),
    "uvicorn's rule": lambda slots, objective: FixedLimit(5 * slots),
    "Netflix AIMD": lambda slots, objective: NetflixAIMD(),
    "Netflix Vegas": lambda slots, objective: NetflixVegas(),
    "Netflix Gradient2": lambda slots, objective: NetflixGradient2(),
    "Envoy gradient": lambda slots, objective: EnvoyGradient(),
}


@dataclass(frozen=True)
class Measured:
    """One run. Ratios are shares of what the service can do, and is asked to do, in that time.

    `p99_ratio`: of admitted requests, to the unloaded p99 of the (slowed) service. `well_after`:
    goodput afterwards. `limit_swing`: largest over smallest limit, without the first 30 s.
    """

    goodput: float
    shed: float
    p99_ratio: float
    well_after: float
    shed_after: float
    smallest_limit: int
    limit_swing: float
    limit: Limit


def run(name: str, slots: int, seed: int, make: Make, rules: QueueRules) -> Measured:
    """Simulate one scenario with one limit and measure it."""
    scenario, arrivals = SCENARIOS[name], trace(name, slots, seed)
    limit = make(slots, scenario.objective_seconds)
    first = limit.limit
    outcomes = simulate(arrivals, Gate(limit, rules=rules))
    late = outcomes.limits(30, math.inf, first)
    begin, end = scenario.counted[0][0], scenario.counted[-1][1]
    unloaded = UNLOADED_P99_SECONDS * scenario.slowdown
    return Measured(
        goodput=_goodput(outcomes, scenario.counted, scenario.slowdown),
        shed=outcomes.shed_share(scenario.counted),
        p99_ratio=outcomes.percentile_seconds(0.99, begin, end - 1) / unloaded,
        well_after=_goodput(outcomes, (scenario.after,), 1.0) if scenario.after else 1.0,
        shed_after=outcomes.shed_share((scenario.after,)) if scenario.after else 0.0,
        smallest_limit=min(outcomes.limits(0, math.inf, first)),
        limit_swing=max(late) / min(late),
        limit=limit,
    )


def _goodput(outcomes: Outcomes, spans: tuple[tuple[int, int], ...], slowdown: float) -> float:
    works = outcomes.trace.works
    capacity_rps = outcomes.trace.slots / (sum(works) / len(works)) / slowdown
    seconds = sum(end - begin for begin, end in spans)
    offered = sum(sum(outcomes.offered[begin:end]) for begin, end in spans)
    good = sum(sum(outcomes.good[begin:end]) for begin, end in spans)
    return good / min(offered, capacity_rps * seconds)
