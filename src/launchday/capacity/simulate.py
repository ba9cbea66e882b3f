"""Servers whose truth is known, simulated: what planning is measured against."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from launchday.capacity.steady import why_unsteady
from launchday.capacity.steps import Batch, Step
from launchday.histogram import LogHistogram

Floats = NDArray[np.float64]

Draw = Callable[[np.random.Generator, int], Floats]
"""Service times in seconds: as many as asked for."""

WARM_UP_SECONDS = 20.0


@dataclass(frozen=True)
class Server:
    """A server of unlimited queue: `servers` FIFO ones, or one that is shared by all (PS).

    `service` draws service times whose mean is `service_seconds`.
    """

    name: str
    service: Draw
    service_seconds: float
    servers: int = 1
    shared: bool = False

    @property
    def capacity_rps(self) -> float:
        """The rate at which it is busy all the time."""
        return self.servers / self.service_seconds


def exponential(mean_seconds: float) -> Draw:
    """Exponential service times."""
    return lambda rng, n: rng.exponential(mean_seconds, n)


def bimodal(short_seconds: float, long_seconds: float, long_share: float) -> Draw:
    """Two fixed service times, `long_share` of them the long one."""
    return lambda rng, n: np.where(rng.random(n) < long_share, long_seconds, short_seconds)


def mmc(servers: int, service_seconds: float) -> Server:
    """M/M/c, first in first out."""
    return Server(f"M/M/{servers}", exponential(service_seconds), service_seconds, servers)


def ps(service: Draw, service_seconds: float, name: str = "M/G/1-PS") -> Server:
    """One server that all requests in it share evenly: a single-loop asynchronous service."""
    return Server(name, service, service_seconds, shared=True)


def finished(server: Server, arrivals: Floats, rng: np.random.Generator) -> Floats:
    """When each of `arrivals` (rising, in seconds) is answered, from an empty server."""
    service = server.service(rng, len(arrivals))
    work = _shared if server.shared else _first_come
    return np.array(work(arrivals.tolist(), service.tolist(), server.servers))


def _first_come(arrivals: Sequence[float], service: Sequence[float], servers: int) -> list[float]:
    """Kiefer and Wolfowitz: whoever is next gets the server that is free first."""
    free = [0.0] * servers
    done = []
    for arrival, seconds in zip(arrivals, service, strict=True):
        end = max(free[0], arrival) + seconds
        heapq.heapreplace(free, end)
        done.append(end)
    return done


def _shared(arrivals: Sequence[float], service: Sequence[float], _: int) -> list[float]:
    """Processor sharing by attained service: each of n present gains 1/n second per second."""
    present: list[tuple[float, int]] = []
    done = [0.0] * len(arrivals)
    now = attained = 0.0
    for index, arrival in enumerate(arrivals):
        while present and now + (present[0][0] - attained) * len(present) <= arrival:
            now, attained = _leave(present, now, attained, done)
        if present:
            attained += (arrival - now) / len(present)
        now = arrival
        heapq.heappush(present, (attained + service[index], index))
    while present:
        now, attained = _leave(present, now, attained, done)
    return done


def _leave(
    present: list[tuple[float, int]], now: float, attained: float, done: list[float]
) -> tuple[float, float]:
    target, index = present[0]
    now += (target - attained) * len(present)
    heapq.heappop(present)
    done[index] = now
    return now, target


def latencies(
    server: Server, rate_rps: float, count: int, rng: np.random.Generator, warm_up: int = 2000
) -> Floats:
    """Seconds that `count` requests take at a Poisson rate, after `warm_up` others."""
    arrivals = np.cumsum(rng.exponential(1 / rate_rps, count + warm_up))
    taken: Floats = (finished(server, arrivals, rng) - arrivals)[warm_up:]
    return taken


def step(
    server: Server,
    rate_rps: float,
    seconds: int,
    rng: np.random.Generator,
    quantile: float | None = 0.99,
    run_id: str = "simulated",
) -> Step:
    """A step of Poisson arrivals, held for `seconds` after a warm-up, as a client records it."""
    end = WARM_UP_SECONDS + seconds
    count = int(rate_rps * end + 6 * np.sqrt(rate_rps * end) + 10)
    arrivals = np.cumsum(rng.exponential(1 / rate_rps, count))
    arrivals = arrivals[arrivals < end]
    done = finished(server, arrivals, rng)
    edges = WARM_UP_SECONDS + np.arange(seconds + 1, dtype=np.float64)
    batches = tuple(_batches(arrivals, done, edges))
    kept = arrivals >= WARM_UP_SECONDS
    taken = (done - arrivals)[kept]
    mean = float(taken.mean())
    return _step(rate_rps, batches, quantile, mean, run_id, _series(arrivals, done, edges))


@dataclass(frozen=True)
class _Series:
    """What a second saw: finished, intended, in flight on average."""

    rates: list[float]
    offered: list[float]
    in_flight: list[float]
    finished_mean_seconds: float


def _series(arrivals: Floats, done: Floats, edges: Floats) -> _Series:
    inside = (done >= edges[0]) & (done < edges[-1])
    in_flight = [
        float(np.clip(np.minimum(done, at + 1) - np.maximum(arrivals, at), 0, None).sum())
        for at in edges[:-1]
    ]
    return _Series(
        np.histogram(done, edges)[0].astype(float).tolist(),
        np.histogram(arrivals, edges)[0].astype(float).tolist(),
        in_flight,
        float((done - arrivals)[inside].mean()),
    )


def _batches(arrivals: Floats, done: Floats, edges: Floats) -> list[Batch]:
    """A request counts in the second of its intended time, whenever it is answered."""
    cuts = np.searchsorted(arrivals, edges)
    taken = (done - arrivals).tolist()
    batches = []
    for first, last in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        histogram = LogHistogram()
        histogram.record_all(taken[first:last])
        batches.append(Batch(1.0, last - first, last - first, 0, 0, histogram))
    return batches


def _step(
    rate_rps: float,
    batches: tuple[Batch, ...],
    quantile: float | None,
    mean_seconds: float,
    run_id: str,
    series: _Series,
) -> Step:
    throughput = float(np.mean(series.rates))
    concurrency = float(np.mean(series.in_flight))
    merged = LogHistogram.merged(batch.latency for batch in batches)
    return Step(
        source=f"simulated at {rate_rps:g} rps",
        offered_rps=rate_rps,
        goodput_rps=throughput,
        throughput_rps=throughput,
        concurrency=concurrency,
        mean_seconds=mean_seconds,
        latency_seconds=mean_seconds if quantile is None else merged.quantile(quantile),
        seconds=float(len(batches)),
        requests=sum(batch.offered for batch in batches),
        run_id=run_id,
        batches=batches,
        unsteady=why_unsteady(
            series.rates,
            series.offered,
            series.in_flight,
            concurrency,
            throughput,
            series.finished_mean_seconds,
        ),
    )
