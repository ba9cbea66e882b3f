"""What counts for nothing: a generator that lied, clocks that were set, records that do not match.

The thresholds are those of a run's own rules (launchday.record.Rules), applied to each step.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path

from launchday.capacity.seconds import Second
from launchday.capacity.steps import LeftOut, Objective
from launchday.counts import Arrivals, HealthSample
from launchday.errors import RecordError, SettingsError
from launchday.record import FAULTS_FILE, METRICS_FILE, RUN_FILE, SAMPLES_GLOB, Record, Schedule

CLOCK_STEP_SECONDS = 0.05
_ACHIEVED_SHARE = 0.99
_LITTLE_WITHIN = 0.05
_BUSY_CPU_SHARE = 0.75
_FEW_ARRIVALS = 20
_LATE_SHARE_OF_OBJECTIVE = 0.05
_PLANNED_WITHIN = 0.05
_MOST_BAD_SHARE = 0.5
_SILENT_SECONDS = 3


def digest_of(record: Record) -> str:
    """SHA-256 over the names and contents of the files that count, as hexadecimal digits.

    Raises:
        RecordError: one of them cannot be read.
    """
    found = hashlib.sha256()
    names = [RUN_FILE, FAULTS_FILE, METRICS_FILE]
    paths = [record.path / name for name in names] + sorted(record.path.glob(SAMPLES_GLOB))
    try:
        for path in paths:
            found.update(path.name.encode() + b"\0")
            if path.exists():
                found.update(_file_digest(path))
    except OSError as error:
        raise RecordError(f"cannot read {record.path}: {error.strerror}") from error
    return found.hexdigest()


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def refuse_twice(records: Sequence[Record], digests: Sequence[str]) -> None:
    """Twice the same record would look like twice the evidence.

    Raises:
        SettingsError: two of them are the same run; names both.
    """
    for (one, a), (other, b) in combinations(zip(records, digests, strict=True), 2):
        same_run = (one.info.run_id, one.info.started_unix) == (
            other.info.run_id,
            other.info.started_unix,
        )
        if a == b or same_run:
            raise SettingsError(
                f"the record {other.path} is the same run as {one.path} ({one.info.run_id}): "
                "give each record once"
            )


def why_invalid(records: Sequence[Record]) -> tuple[str, ...]:
    """Why these records together measure nothing: sentences; empty if they do."""
    reasons = [
        f"{record.info.run_id} has no schedule: it made no request"
        for record in records
        if record.schedule is None
    ]
    targets = sorted({target_of(record) for record in records})
    if len(targets) > 1:
        reasons.append(f"the records are of different targets: {'; '.join(targets)}")
    replicas = sorted({replicas_of(record) for record in records})
    if len(replicas) > 1:
        numbers = " and ".join(map(str, replicas))
        reasons.append(f"the records are of {numbers} replicas: plan them apart")
    return tuple(reasons)


def target_of(record: Record) -> str:
    """The target in words; of a local stack, whose ports are new in each run, its settings."""
    local = record.info.settings.get("local")
    if not local:
        return record.info.target
    kept = {k: v for k, v in local.items() if v not in (None, [], {}) and not k.endswith("_port")}
    kept = {k: v for k, v in kept.items() if k not in ("toxiproxy_url", "links", "replicas")}
    if "database_url" in kept:
        kept["database_url"] = re.sub(r":\d+(?=/|$)", "", str(kept["database_url"]))
    words = (f"{k} {v if isinstance(v, str) else json.dumps(v)}" for k, v in sorted(kept.items()))
    return f"the local stack ({', '.join(words)})"


def replicas_of(record: Record) -> int:
    """How many replicas there were: `replicas` of the settings or of the local stack, else 1."""
    settings = record.info.settings
    found = (settings.get("local") or {}).get("replicas") or settings.get("replicas") or 1
    return found if isinstance(found, int) and found > 0 else 1


def why_bad(record: Record, schedule: Schedule, seconds: range, objective: Objective) -> str:
    """Why the generator's part in these seconds is no load to measure with; empty if it is."""
    arrivals = Arrivals()
    for second in seconds:
        if second in record.arrivals:
            arrivals.merge(record.arrivals[second])
    # A sample is about the second before it was taken.
    inside = {
        worker: [s for s in samples if seconds.start < s.second <= seconds.stop]
        for worker, samples in record.health.items()
    }
    return (
        _clock_was_set(inside)
        or _silence(inside, record, seconds)
        or _missing(arrivals, schedule, seconds)
        or _not_started(arrivals, record)
        or _too_late(record, arrivals, seconds, inside, objective)
    )


_Health = dict[str, list[HealthSample]]


def _clock_was_set(health: _Health) -> str:
    steps = [s.clock_step_seconds for samples in health.values() for s in samples]
    worst = max(steps, key=abs, default=0.0)
    if abs(worst) <= CLOCK_STEP_SECONDS:
        return ""
    return f"the clock of a generator was set by {worst:+.2f} s"


def _silence(health: _Health, record: Record, seconds: range) -> str:
    """A machine that slept, or was taken away, says nothing for a while."""
    for worker, samples in health.items():
        last = max((s.second for s in record.health[worker]), default=0)
        told = sorted({seconds.start, *(s.second for s in samples), min(seconds.stop, last)})
        gap = max((b - a for a, b in pairwise(told)), default=0)
        if samples and gap > _SILENT_SECONDS:
            return f"generator process {worker} said nothing for {gap} s: a gap in time"
    return ""


def _missing(arrivals: Arrivals, schedule: Schedule, seconds: range) -> str:
    curve = schedule.curve
    planned = curve.cumulative(seconds.stop) - curve.cumulative(seconds.start)
    missing = planned - arrivals.scheduled
    if missing <= max(_PLANNED_WITHIN * planned, 5 * math.sqrt(planned)):
        return ""
    return (
        f"the record tells of {arrivals.scheduled} of about {planned:.0f} planned arrivals: a part "
        "of the generator is missing"
    )


def _not_started(arrivals: Arrivals, record: Record) -> str:
    scheduled, rules = arrivals.scheduled, record.info.rules
    lost = arrivals.dropped + arrivals.lost
    if lost > max(1.0, rules.unstarted_share * scheduled):
        return (
            f"the generator did not start {lost} of {scheduled} arrivals ({arrivals.dropped} "
            f"dropped, {arrivals.lost} lost with a worker)"
        )
    if arrivals.started < _ACHIEVED_SHARE * scheduled - 1:
        return f"the generator started only {arrivals.started} of {scheduled} arrivals"
    return ""


def _too_late(
    record: Record, arrivals: Arrivals, seconds: range, health: _Health, objective: Objective
) -> str:
    rules = record.info.rules
    # Latency counts from the intended time: a late start makes the target look worse by as much.
    limit = max(rules.lateness_p99_seconds, _LATE_SHARE_OF_OBJECTIVE * objective.seconds)
    judged = [
        p99
        for second in seconds
        if (of := record.arrivals.get(second)) is not None
        and of.lateness.total >= _FEW_ARRIVALS
        and (p99 := of.lateness.quantile(0.99)) is not None
    ]
    late_seconds = sum(p99 > limit for p99 in judged)
    in_time = arrivals.started - arrivals.late
    if late_seconds > max(1.0, rules.late_seconds_share * len(judged)):
        what = f"it was late in {late_seconds} of {len(judged)} s"
    elif in_time < rules.kept_share * arrivals.scheduled - 1:
        what = f"it started only {in_time} of {arrivals.scheduled} arrivals in time"
    else:
        return ""
    busiest = max((s.cpu_share for samples in health.values() for s in samples), default=0.0)
    cpu = f", with up to {busiest:.0%} of a core" if busiest >= _BUSY_CPU_SHARE else ""
    return f"the generator was saturated: {what}{cpu}"


def why_not_little(found: Second, seconds: int, inside: float | None) -> str:
    """Little's law between the two sides: what was open here (X R), against what was in the target.

    The target may hold less: what waits in front of it is not in it. It cannot hold more than its
    clients wait for, unless they gave up, or others load it too.
    """
    if inside is None or found.timeouts or not seconds:
        return ""
    here = found.served_seconds / seconds
    chance = 3 * math.sqrt(max(here, inside) / seconds)
    if inside - here <= max(_LITTLE_WITHIN * here, chance):
        return ""
    return (
        f"Little's law: the target had {inside:.1f} requests in flight, those of this run were "
        f"{here:.1f}; something else loads it, or these are not its metrics"
    )


def too_many(bad: Sequence[LeftOut], steps: int) -> tuple[str, ...]:
    """Whether so many steps are bad that the rest is not to be believed either."""
    if not bad or len(bad) <= _MOST_BAD_SHARE * (len(bad) + steps):
        return ()
    kinds = Counter(each.reason.partition(":")[0] for each in bad)
    kind, _ = kinds.most_common(1)[0]
    example = next(each for each in bad if each.reason.startswith(kind))
    return (
        f"{len(bad)} of {len(bad) + steps} steps count for nothing, mostly because "
        f"{example.reason} ({example.source})",
    )
