"""Requests one by one, as k6 and JMeter write them: cut into plateaus, each a step with batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from launchday.capacity.importers.plateaus import (
    SHORTEST_SECONDS,
    Plateau,
    find_plateaus,
    warm_up_of,
)
from launchday.capacity.importers.source import Source
from launchday.capacity.steady import why_unsteady
from launchday.capacity.steps import Batch, LeftOut, Objective, Step
from launchday.histogram import LogHistogram

GOOD, SHED, ERROR = 0, 1, 2
_BATCH_SECONDS = 5
_LONGEST_SECONDS = 7 * 86_400
_SMALLEST_SECONDS = 1e-6
_LOG_GROWTH = float(np.log(1.02))


@dataclass(frozen=True)
class Samples:
    """Requests of one file: when each ended (Unix seconds), how long it took, how it went.

    `outcomes` are GOOD, SHED (turned away: 429) or ERROR. `levels` are users by Unix second,
    `missed` requests by Unix second that the tool meant to start and could not.
    """

    ends: NDArray[np.float64]
    latencies: NDArray[np.float64]
    outcomes: NDArray[np.int8]
    levels: Mapping[int, float]
    missed: Mapping[int, float]


@dataclass(frozen=True)
class _Seconds:
    """The same requests sorted by their end, and what each second from the first on holds."""

    samples: Samples
    edges: NDArray[np.int64]
    rates: NDArray[np.float64]
    missed: NDArray[np.float64]
    in_flight: NDArray[np.float64]


def steps_of(
    source: Source, samples: Samples, objective: Objective
) -> tuple[list[Step], list[LeftOut]]:
    """A step for each plateau of at least 10 s, without its first fifth and its last second.

    In flight is the mean over time of how many requests were open. The latency is that of all
    requests that were not turned away, failed ones too, as the tool timed them.

    Raises:
        RecordError: the timestamps span more than a week: they are not one run.
    """
    seconds = _by_second(source, samples)
    first = int(seconds.samples.ends[0])
    levels = [samples.levels.get(first + i) for i in range(len(seconds.rates))]
    steps: list[Step] = []
    left_out: list[LeftOut] = []
    for plateau in find_plateaus(levels, seconds.rates.tolist(), seconds.in_flight.tolist()):
        where = f"{source.at()} seconds {plateau.first}-{plateau.after} ({plateau.words})"
        found = _step(where, seconds, plateau, objective)
        if isinstance(found, Step):
            steps.append(found)
        else:
            left_out.append(found)
    return steps, left_out


def _by_second(source: Source, samples: Samples) -> _Seconds:
    order = np.argsort(samples.ends, kind="stable")
    ends = samples.ends[order]
    first = int(ends[0])
    span = int(ends[-1]) - first + 1
    if span > _LONGEST_SECONDS:
        raise source.refused(f"its timestamps span {span / 86_400:.0f} days: not one run")
    latencies = samples.latencies[order]
    # When the last has begun, the load is over: what is still open then drains, it is not held.
    span = max(1, int((ends - latencies).max()) - first + 1)
    edges = np.searchsorted(ends, first + np.arange(span + 1), side="left")
    in_flight = np.diff(_open_seconds(_spread(ends) - first, latencies, span))
    missed = np.array([samples.missed.get(first + i, 0.0) for i in range(span)])
    ordered = Samples(ends, latencies, samples.outcomes[order], samples.levels, samples.missed)
    rates = np.diff(edges).astype(float)
    return _Seconds(ordered, edges.astype(np.int64), rates, missed, in_flight)


def _spread(ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ends that are known to the second only, evenly over their second; others as they are."""
    seconds, where, counts = np.unique(ends, return_inverse=True, return_counts=True)
    if np.any(seconds != np.floor(seconds)):
        return ends
    rank = np.arange(len(ends)) - np.repeat(np.cumsum(counts) - counts, counts)
    spread: NDArray[np.float64] = ends + (rank + 0.5) / counts[where]
    return spread


def _open_seconds(
    ends: NDArray[np.float64], latencies: NDArray[np.float64], span: int
) -> NDArray[np.float64]:
    """Seconds that requests were open before 0, 1, ... `span`: its differences are in flight.

    Each request adds t - start once it began, and takes t - end away once it ended.
    """
    moments = np.arange(span + 1, dtype=float)
    total = np.zeros(span + 1)
    for sign, times in ((1, np.sort(ends - latencies)), (-1, np.sort(ends))):
        sums = np.concatenate(([0.0], np.cumsum(times)))
        before = np.searchsorted(times, moments, side="right")
        total += sign * (moments * before - sums[before])
    return total


def _step(where: str, seconds: _Seconds, plateau: Plateau, objective: Objective) -> Step | LeftOut:
    first, after = plateau.first + warm_up_of(plateau.seconds), plateau.after - 1
    if plateau.seconds < SHORTEST_SECONDS:
        words = f"held for {plateau.seconds} s only: at least {SHORTEST_SECONDS} s are needed"
        return LeftOut(where, words)
    batches = _batches(seconds, first, after, objective)
    done = sum(batch.offered for batch in batches)
    latency = LogHistogram.merged(batch.latency for batch in batches)
    if latency.total == 0:
        return LeftOut(where, "not one request was let in")
    held = after - first
    span = slice(seconds.edges[first], seconds.edges[after])
    in_flight = float(seconds.in_flight[first:after].mean())
    taken = float(seconds.samples.latencies[span].mean())
    rates = seconds.rates[first:after].tolist()
    intended = (seconds.rates + seconds.missed)[first:after].tolist()
    let_in = seconds.samples.outcomes[span] != SHED
    mean = float(seconds.samples.latencies[span][let_in].mean())
    return Step(
        source=where,
        offered_rps=sum(intended) / held,
        goodput_rps=sum(batch.good for batch in batches) / held,
        throughput_rps=done / held,
        concurrency=in_flight,
        mean_seconds=mean,
        latency_seconds=mean
        if objective.quantile is None
        else latency.quantile(objective.quantile),
        seconds=float(held),
        requests=done,
        shed_share=sum(batch.shed for batch in batches) / done,
        error_share=sum(batch.errors for batch in batches) / done,
        batches=batches,
        unsteady=why_unsteady(
            rates,
            intended,
            seconds.in_flight[first:after].tolist(),
            in_flight,
            done / held,
            taken,
        ),
    )


def _batches(seconds: _Seconds, first: int, after: int, objective: Objective) -> tuple[Batch, ...]:
    """Pieces of five seconds; the last takes what is left over."""
    count = max(1, (after - first) // _BATCH_SECONDS)
    starts = [first + i * _BATCH_SECONDS for i in range(count)]
    return tuple(
        _batch(seconds, start, end, objective)
        for start, end in zip(starts, [*starts[1:], after], strict=True)
    )


def _batch(seconds: _Seconds, first: int, after: int, objective: Objective) -> Batch:
    span = slice(seconds.edges[first], seconds.edges[after])
    outcomes, latencies = seconds.samples.outcomes[span], seconds.samples.latencies[span]
    in_time = (outcomes == GOOD) & (latencies <= objective.seconds)
    return Batch(
        seconds=float(after - first),
        offered=len(outcomes),
        good=int(np.count_nonzero(in_time)),
        shed=int(np.count_nonzero(outcomes == SHED)),
        errors=int(np.count_nonzero(outcomes == ERROR)),
        latency=_histogram(latencies[outcomes != SHED]),
    )


def _histogram(latencies: NDArray[np.float64]) -> LogHistogram:
    """`LogHistogram.record_all`, for a million values: the same buckets by numpy."""
    scaled = np.maximum(latencies / _SMALLEST_SECONDS, 1.0)
    buckets, counts = np.unique((np.log(scaled) / _LOG_GROWTH).astype(int), return_counts=True)
    return LogHistogram(dict(zip(buckets.tolist(), counts.tolist(), strict=True)))
