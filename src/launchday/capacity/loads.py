"""From launchday's own records to steps: the way in to planning."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from launchday.capacity import gate
from launchday.capacity.resources import Usage, usage_of
from launchday.capacity.scrapes import Scrapes
from launchday.capacity.seconds import Second, by_second, mean_of, total
from launchday.capacity.steady import why_unsteady
from launchday.capacity.steps import Batch, LeftOut, Measured, Objective, Step
from launchday.capacity.warm_up import mser5
from launchday.capacity.windows import LEAST_SECONDS, Stretch, stretches
from launchday.errors import SettingsError
from launchday.record import Record, Schedule

BATCH_SECONDS = 5
BATCH_REQUESTS = 100
_FIRST_SECONDS = 1
"""Of each step: what was asked in the step before it is still under way."""

_NOTHING = Second()


def measure(records: Sequence[Record], objective: Objective) -> Measured:
    """Cut records into steps: what was offered, what came of it, and what it took of the target.

    Each stretch of one planned rate is a step, without its warm-up (MSER-5 on what is in flight);
    ramps are windows of 10 s. A step that was no steady state is kept and says why. Left out, with
    the reason: seconds of faults, what is shorter than 5 s, and steps in which the generator or
    the clocks cannot be believed; with more than half of the steps everything is invalid.

    The target's metrics are read from the file beside the samples: `records` need not hold them.

    Raises:
        SettingsError: no record, or the same one twice.
        RecordError: a file cannot be read.
    """
    if not records:
        raise SettingsError("no record was given: name at least one run directory")
    digests = [gate.digest_of(record) for record in records]
    gate.refuse_twice(records, digests)
    steps: list[Step] = []
    left_out: list[LeftOut] = []
    bad: list[LeftOut] = []
    for record in records:
        for found in _of_record(record, objective):
            if isinstance(found, Step):
                steps.append(found)
            else:
                left, counts = found
                left_out.append(left)
                bad += [left] if counts else []
    return Measured(
        tuple(steps),
        tuple(left_out),
        gate.why_invalid(records) + gate.too_many(bad, len(steps)),
        gate.target_of(records[0]),
        hashlib.sha256("".join(sorted(digests)).encode()).hexdigest(),
    )


_Bad = tuple[LeftOut, bool]
"""What is left out, and whether it is a step that should have counted."""


def _of_record(record: Record, objective: Objective) -> Iterator[Step | _Bad]:
    schedule = record.schedule
    if schedule is None:
        yield LeftOut(record.info.run_id, "it has no schedule: it made no request"), False
        return
    seconds = by_second(record, objective)
    scrapes = Scrapes(record.path)
    for stretch in stretches(record, schedule):
        source = stretch.words(record.info.run_id)
        if stretch.reason:
            yield LeftOut(source, stretch.reason), False
        elif why := gate.why_bad(record, schedule, stretch.seconds, objective):
            yield LeftOut(source, why), True
        else:
            yield from _steps(record, schedule, stretch, seconds, scrapes, objective)


def _steps(
    record: Record,
    schedule: Schedule,
    stretch: Stretch,
    seconds: Mapping[int, Second],
    scrapes: Scrapes,
    objective: Objective,
) -> Iterator[Step | _Bad]:
    kept, unsteady = _after_warm_up(stretch, seconds)
    health = {
        worker: [s for s in samples if kept.start < s.second <= kept.stop]
        for worker, samples in record.health.items()
    }
    epoch = schedule.epoch_unix
    usage = usage_of(scrapes.read(epoch + kept.start, epoch + kept.stop), health)
    found = [seconds.get(second, _NOTHING) for second in kept]
    source = stretch.words(record.info.run_id)
    if why := gate.why_not_little(total(found), len(kept), usage.in_flight):
        yield LeftOut(source, why), True
        return
    for resource in usage.unknown:
        why = f"its {resource} is not judged: nobody says how much of it there is"
        yield LeftOut(source, why), False
    unsteady += (stretch.rising,) if stretch.rising else ()
    yield _step(record, source, found, usage, objective, unsteady + _unsteady(found))


def _after_warm_up(
    stretch: Stretch, seconds: Mapping[int, Second]
) -> tuple[range, tuple[str, ...]]:
    """The seconds that stay, and why they are no steady state if warm-up is most of them."""
    start = min(stretch.start + _FIRST_SECONDS, stretch.end - LEAST_SECONDS + 1)
    kept = range(start, stretch.end)
    cut = mser5([seconds.get(second, _NOTHING).in_flight for second in kept])
    if cut is None:
        return kept, ("most of the step was warm-up: hold it longer",)
    return kept[cut:], ()


def _unsteady(found: Sequence[Second]) -> tuple[str, ...]:
    whole, n = total(found), len(found)
    if not whole.offered:
        return ("nothing was asked in it",)
    return why_unsteady(
        rates=[second.finished for second in found],
        offered=[float(second.offered) for second in found],
        in_flight=[second.in_flight for second in found],
        concurrency=whole.in_flight / n,
        throughput_rps=whole.answered / n,
        mean_seconds=whole.answered_seconds / whole.answered if whole.answered else 0.0,
    )


def _step(
    record: Record,
    source: str,
    found: Sequence[Second],
    usage: Usage,
    objective: Objective,
    unsteady: tuple[str, ...],
) -> Step:
    whole, n = total(found), len(found)
    mean = mean_of(whole.admitted)
    quantile = objective.quantile
    served_rps = whole.served / n
    per_call = {d: busy / r for d, busy in usage.busy_calls.items() if (r := usage.calls_rps[d])}
    return Step(
        source=source,
        offered_rps=whole.offered / n,
        goodput_rps=whole.good / n,
        throughput_rps=served_rps,
        concurrency=whole.served_seconds / n,
        mean_seconds=mean,
        latency_seconds=mean if quantile is None else whole.admitted.quantile(quantile),
        seconds=float(n),
        requests=whole.offered,
        shed_share=whole.shed / whole.offered if whole.offered else 0.0,
        error_share=whole.errors / whole.offered if whole.offered else 0.0,
        replicas=gate.replicas_of(record),
        run_id=record.info.run_id,
        batches=_batches(found),
        utilisation=usage.utilisation,
        units=usage.units,
        unsteady=unsteady,
        call_seconds=per_call,
        calls_per_request={d: usage.calls_rps[d] / served_rps for d in per_call if served_rps},
    )


def _batches(found: Sequence[Second]) -> tuple[Batch, ...]:
    """About 5 s each, longer where those hold fewer than a hundred requests."""
    n = len(found)
    rate = sum(second.offered for second in found) / n
    length = max(BATCH_SECONDS, math.ceil(BATCH_REQUESTS / rate) if rate else n)
    count = max(1, n // length)
    edges = [round(k * n / count) for k in range(count + 1)]
    return tuple(_batch(found[a:b]) for a, b in pairwise(edges))


def _batch(found: Sequence[Second]) -> Batch:
    whole = total(found)
    return Batch(
        float(len(found)), whole.offered, whole.good, whole.shed, whole.errors, whole.admitted
    )
