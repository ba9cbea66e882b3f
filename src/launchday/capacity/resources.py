"""How much of each resource a stretch of a run used, from the target's counters.

A gauge of what is busy is never read: whoever is late to be scraped is busy because of the scrape
(6 in flight were read where 2.4 were). Counters of seconds have no such bias: the mean of what is
busy is how much the seconds grew by the time that passed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from launchday.capacity.scrapes import Reading
from launchday.counts import HealthSample
from launchday.metric_names import (
    CAR_DEPENDENCY,
    SHED_INFO,
    SHED_LIMIT,
    SHED_QUEUE_WAIT,
    SHED_SERVICE,
)

CPU = "CPU"
GENERATOR = "generator"
ADMISSION_SLOTS = "admission slots"
WORKER_SLOTS = "worker slots"

_PROCESS_CPU = "process_cpu_seconds_total"
_GO_CORES = "go_sched_gomaxprocs_threads"
_BUSY = "_busy_seconds_total"
_POOL_NAMES = {"car_slots": WORKER_SLOTS, "car_database_pool": "database pool"}
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ADMITTED = "admitted"
_MORE_THAN_THERE_IS = 1.1


@dataclass(frozen=True)
class Usage:
    """Of one stretch: `utilisation` by resource, 0 to 1 of one unit, and how many `units` it has.

    `in_flight` is the mean of requests inside the target that hold an admission slot or waited for
    theirs, None if it does not say. `calls_rps` and `busy_calls` are by dependency: calls each
    second, and how many were under way on average. `unknown` are resources that were used, but of
    which nobody says how much there is.
    """

    utilisation: dict[str, float] = field(default_factory=dict)
    units: dict[str, float] = field(default_factory=dict)
    in_flight: float | None = None
    calls_rps: dict[str, float] = field(default_factory=dict)
    busy_calls: dict[str, float] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    def add(self, resource: str, busy: float, units: float) -> None:
        """`busy` of the `units` were in use on average."""
        if units > 0:
            self.utilisation[resource] = busy / units
            self.units[resource] = units


def usage_of(reading: Reading | None, health: Mapping[str, Iterable[HealthSample]]) -> Usage:
    """What was used; what the metrics do not tell is not in it, never an error.

    Known are the CPU of the target's processes (`process_cpu_seconds_total`, one series for each
    process), the shedder's slots, every pool that counts `NAME_busy_seconds_total` beside a gauge
    `NAME` of its size, and the CPU of the generator's processes.
    """
    generator = [cpu for samples in health.values() if (cpu := _mean_cpu(samples)) is not None]
    if reading is None:
        usage = Usage()
    else:
        cpu_seconds = _of(reading.rises, _PROCESS_CPU)
        cores, busy = _cores(reading, len(cpu_seconds)), sum(cpu_seconds) / reading.seconds
        known = busy <= _MORE_THAN_THERE_IS * cores
        usage = Usage(
            in_flight=_in_flight(reading),
            calls_rps=_by_dependency(reading, "_count"),
            busy_calls=_by_dependency(reading, "_sum"),
            unknown=() if known else (CPU,),
        )
        if cpu_seconds and known:
            usage.add(CPU, busy, cores)
        _add_admission(usage, reading)
        _add_pools(usage, reading)
    if generator:
        # The busiest process is the one that is late first.
        usage.add(GENERATOR, max(generator) * len(generator), len(generator))
    return usage


def _mean_cpu(samples: Iterable[HealthSample]) -> float | None:
    shares = [sample.cpu_share for sample in samples]
    return sum(shares) / len(shares) if shares else None


def _of(series: Mapping[str, float], name: str) -> list[float]:
    """The values of all series of this name, whatever their labels."""
    return [v for key, v in series.items() if key == name or key.startswith(name + "{")]


def _cores(reading: Reading, processes: int) -> float:
    """A process of Python or Node computes on one core at a time; Go says on how many."""
    return sum(_of(reading.gauges, _GO_CORES)) or float(processes)


def _in_flight(reading: Reading) -> float | None:
    """Who waited in vain is not in it: the other side of Little's law is of those let in, too."""
    served = _of(reading.rises, f"{SHED_SERVICE.name}_sum")
    waited = [
        rise
        for key, rise in reading.rises.items()
        if key.partition("{")[0] == f"{SHED_QUEUE_WAIT.name}_sum"
        and dict(_LABEL.findall(key)).get("outcome", _ADMITTED) == _ADMITTED
    ]
    return (sum(served) + sum(waited)) / reading.seconds if served else None


def _add_admission(usage: Usage, reading: Reading) -> None:
    """Only while it is enforced does the limit keep anybody out."""
    held = _of(reading.rises, f"{SHED_SERVICE.name}_sum")
    modes = [
        dict(_LABEL.findall(key)).get("mode")
        for key, value in reading.gauges.items()
        if key.startswith(SHED_INFO.name) and value == 1
    ]
    if held and all(mode == "enforce" for mode in modes):
        limit = sum(_of(reading.gauges, SHED_LIMIT.name))
        usage.add(ADMISSION_SLOTS, sum(held) / reading.seconds, limit)


def _add_pools(usage: Usage, reading: Reading) -> None:
    bases = {key.partition("{")[0].removesuffix(_BUSY) for key in reading.rises if _BUSY in key}
    for base in sorted(bases):
        busy = sum(_of(reading.rises, base + _BUSY)) / reading.seconds
        name = _POOL_NAMES.get(base, base.replace("_", " "))
        usage.add(name, busy, sum(_of(reading.gauges, base)))


def _by_dependency(reading: Reading, suffix: str) -> dict[str, float]:
    """Of each dependency, of all outcomes together and per second."""
    result: dict[str, float] = {}
    for key, rise in reading.rises.items():
        name, _, labels = key.partition("{")
        if name == CAR_DEPENDENCY.name + suffix:
            dependency = dict(_LABEL.findall(labels)).get("dependency", "")
            result[dependency] = result.get(dependency, 0.0) + rise / reading.seconds
    return result
