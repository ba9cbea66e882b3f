"""Was the generator honest? Pure functions of a record: a run that is not valid proves nothing.

A generator lies before it is saturated: it sends late, or not at all, and reports what is left as
if it had been the load. So the lateness of arrivals decides, and the rest (CPU, event loop,
sockets, clocks) says which knob to turn.

A second is late when the p99 of its lateness is above `Rules.lateness_p99_seconds`: 10 ms, which
told generators that lied from those that did not where both were measured, long before their CPU
did. One late second does not make a run worthless: latency counts from the intended time, so a
late start makes the target look worse, never better, and a shift by tens of milliseconds changes
nothing that is counted per second. So up to a quarter of the seconds (`Rules.late_seconds_share`)
may be late. Measured: runs of `launchday demo` on two cores, target and generator together, had 0
to 3 late seconds of 65 on a quiet machine, 6 to 8 beside other work (99.0 and 99.6 % of arrivals
in time), 26 to 47 on one that had no core left (97 to 63 %). For a machine of its own the rule can
be stricter. Seconds with fewer than 20 arrivals are not judged: of them one that is late by chance
is a p99.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from launchday import timeline
from launchday.counts import Arrivals, HealthSample
from launchday.outcomes import Outcome
from launchday.record import Record, Rules
from launchday.runs.check import Check

CLOCK_STEP_SECONDS = 0.05
_FEW_ARRIVALS = 20
# A generator that used 77 % of its core was measured to start arrivals 36 to 65 ms late.
_BUSY_CPU_SHARE = 0.75
_NEARLY_ALL = 0.98
_LARGER_POOL = (
    "let the pool be larger (requests_per_journey of the scenario's SurgeShape, --max-users)"
)
_COUNTED = ("scheduled", "started", "late", "dropped", "queued", "lost")


@dataclass(frozen=True)
class Honesty:
    """What the generator says about itself, in numbers; None is what the record does not tell.

    `judged_seconds` had enough arrivals to be judged, `late_seconds` of them were late.
    `worst_second_p99_seconds` is the largest p99 of lateness of a judged second. `cpu_share` (in
    cores), `loop_stall_seconds` and `open_files` are the largest of any second and worker,
    `clock_step_seconds` is the one that is furthest from 0. `unaccounted`: planned arrivals of
    which the record does not say what became of them, below 0 if it holds more than were planned.
    """

    workers: int
    workers_ended: int
    expected: int
    scheduled: int
    started: int
    late: int
    dropped: int
    queued: int
    lost: int
    unaccounted: int | None
    kept_share: float | None
    judged_seconds: int
    late_seconds: tuple[int, ...]
    lateness_p50_seconds: float | None
    lateness_p99_seconds: float | None
    worst_second_p99_seconds: float | None
    cpu_share: float | None
    cpu_share_when_late: float | None
    loop_stall_seconds: float | None
    gc_pause_seconds: float | None
    open_files: int | None
    open_files_limit: int | None
    clock_step_seconds: float
    sockets_refused: int
    seconds_without_sockets: tuple[int, ...] = field(default=())


def honesty(record: Record) -> Honesty:
    """Gather the numbers of a record, also of one that was written before they were kept."""
    arrivals, expected = timeline.arrivals_of(record), timeline.expected_arrivals(record)
    masters = sum(schedule.workers == 0 for schedule in record.schedules)
    p99 = _p99_by_second(record)
    limit = record.info.rules.lateness_p99_seconds
    late = tuple(second for second, value in sorted(p99.items()) if value > limit)
    samples = [sample for of_worker in record.health.values() for sample in of_worker]
    when_late = [s.cpu_share for s in samples if (s.lateness_p99_seconds or 0.0) > limit]
    return Honesty(
        workers=max([len(record.schedules) - masters, *(s.workers for s in record.schedules)]),
        workers_ended=record.finished_workers - masters,
        expected=expected,
        **{name: getattr(arrivals, name) for name in _COUNTED},
        unaccounted=expected - arrivals.scheduled if timeline.seen_to_end(record) else None,
        kept_share=timeline.kept_share(record),
        judged_seconds=len(p99),
        late_seconds=late,
        lateness_p50_seconds=arrivals.lateness.quantile(0.5),
        lateness_p99_seconds=arrivals.lateness.quantile(0.99),
        worst_second_p99_seconds=max(p99.values(), default=None),
        cpu_share=max((s.cpu_share for s in samples), default=None),
        cpu_share_when_late=sum(when_late) / len(when_late) if when_late else None,
        loop_stall_seconds=max((s.loop_stall_seconds for s in samples), default=None),
        gc_pause_seconds=max((s.gc_pause_seconds for s in samples), default=None),
        open_files=max((s.open_files for s in samples if s.open_files is not None), default=None),
        open_files_limit=_smallest(s.open_files_limit for s in samples),
        clock_step_seconds=max((s.clock_step_seconds for s in samples), default=0.0, key=abs),
        sockets_refused=sum(s.sockets_refused for s in samples),
        seconds_without_sockets=_seconds_without_sockets(record, samples),
    )


def checks(record: Record, found: Honesty) -> list[Check]:
    """Every rule that the generator must keep; one that is broken says which knob to turn."""
    rules: tuple[Callable[[Honesty, Rules], Check], ...] = (
        _schedule_kept,
        _workers_there,
        _ledger_closed,
        _arrivals_started,
        _arrivals_on_time,
        _cpu_left,
        _sockets_left,
        _clock_steady,
    )
    return [rule(found, record.info.rules) for rule in rules]


def lateness_p99(arrivals: Arrivals) -> float | None:
    """The p99 of lateness in seconds, or None of too few arrivals to speak of one."""
    return arrivals.lateness.quantile(0.99) if arrivals.lateness.total >= _FEW_ARRIVALS else None


def _p99_by_second(record: Record) -> dict[int, float]:
    found = ((second, lateness_p99(arrivals)) for second, arrivals in record.arrivals.items())
    return {second: p99 for second, p99 in found if p99 is not None}


def _smallest(values: Iterable[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)


def _seconds_without_sockets(record: Record, samples: list[HealthSample]) -> tuple[int, ...]:
    """Seconds in which sockets or ports ran out: told by the client, or by count and failures.

    Counts alone prove nothing: a pool may live just below its limit, and a port serves many
    targets. With connections that fail at the same time they do.
    """
    failing = {key[0] for key in record.cells if key[3] == Outcome.CONNECTION}
    return tuple(
        sorted(
            sample.second
            for sample in samples
            if sample.sockets_refused
            or (_nearly_out(sample) and not failing.isdisjoint({sample.second, sample.second - 1}))
        )
    )


def _nearly_out(sample: HealthSample) -> bool:
    pairs = ((sample.open_files, sample.open_files_limit), (sample.ports_used, sample.ports))
    return any(
        used is not None and there_are is not None and used >= _NEARLY_ALL * there_are
        for used, there_are in pairs
    )


def _schedule_kept(found: Honesty, rules: Rules) -> Check:
    share = found.kept_share or 0.0
    sentence = (
        f"The generator started {share:.1%} of the arrivals in time (at least "
        f"{rules.kept_share:.0%} needed; {found.late} late, "
        f"{found.dropped} dropped)."
    )
    return Check("schedule kept", share >= rules.kept_share, sentence)


def _workers_there(found: Honesty, _: Rules) -> Check:
    if found.workers_ended >= found.workers:
        return Check("workers", True, f"All {found.workers} generator process(es) ended by plan.")
    missing = found.workers - found.workers_ended
    sentence = (
        f"{missing} of {found.workers} generator processes did not write their last line: stopped, "
        "killed (for want of memory?) or cut off, so part of the load is missing; their logs say "
        "more."
    )
    return Check("workers", False, sentence)


def _ledger_closed(found: Honesty, _: Rules) -> Check:
    account = f"{found.started} started, {found.dropped} dropped, {found.lost} lost"
    if found.unaccounted is None:
        return Check("ledger closes", None, f"Not judged, the run did not end: {account}.")
    if found.unaccounted == 0:
        return Check("ledger closes", True, f"{found.expected} arrivals were planned: {account}.")
    what = (
        f"of {found.unaccounted} the record does not say what became of them: the generator was "
        "stopped or killed before its schedule ended"
        if found.unaccounted > 0
        else f"{-found.unaccounted} too many: two workers ran the same share, start all anew"
    )
    sentence = f"{found.expected} arrivals were planned ({account}); {what}."
    return Check("ledger closes", False, sentence)


def _arrivals_started(found: Honesty, rules: Rules) -> Check:
    not_started = found.dropped + found.lost
    share = not_started / found.scheduled if found.scheduled else 0.0
    sentence = (
        f"{not_started} of {found.scheduled} arrivals were not started: {found.dropped} dropped, "
        f"{found.lost} lost with a worker (at most {rules.unstarted_share:.1%})."
    )
    held = share <= rules.unstarted_share
    if not held and found.dropped:
        sentence += f" Every user was busy: {_LARGER_POOL}, or let arrivals wait (--queue-limit)."
    if not held and found.lost:
        sentence += " Find out why a worker went away (its log, its memory) and run again."
    return Check("arrivals started", held, sentence)


def _arrivals_on_time(found: Honesty, rules: Rules) -> Check:
    name, limit_ms = "arrivals on time", rules.lateness_p99_seconds * 1000
    worst = found.worst_second_p99_seconds
    if worst is None:
        return Check(name, None, "Not judged: no second has 20 arrivals whose lateness was kept.")
    sentence = (
        f"The p99 of the arrivals' lateness was above {limit_ms:g} ms in "
        f"{len(found.late_seconds)} of {found.judged_seconds} seconds (at most "
        f"{rules.late_seconds_share:.0%}); in the worst it was {worst * 1000:.1f} ms."
    )
    held = not _too_late(found, rules)
    return Check(name, held, sentence if held else sentence + _why_late(found, rules))


def _too_late(found: Honesty, rules: Rules) -> bool:
    # One late second is never enough, however short the run.
    allowed = max(1.0, rules.late_seconds_share * found.judged_seconds)
    return len(found.late_seconds) > allowed


def _why_late(found: Honesty, rules: Rules) -> str:
    if found.queued > (1 - _NEARLY_ALL) * found.started:
        return f" {found.queued} arrivals waited for a user: {_LARGER_POOL}."
    cpu, stall = found.cpu_share_when_late, found.loop_stall_seconds
    if cpu is None or stall is None:
        return " Share the load among more processes (--processes)."
    if cpu >= _BUSY_CPU_SHARE:
        return ""  # the check of the CPU says what to do
    if stall <= rules.lateness_p99_seconds:
        return " Its event loop ran freely: the arrivals came in bursts that it could not start."
    collection = found.gc_pause_seconds or 0.0
    return (
        f" Its event loop stood still for up to {stall * 1000:.0f} ms (garbage collection: "
        f"{collection * 1000:.0f} ms) while it used {cpu:.0%} of a core: something else takes this "
        "machine (stop it, or generate from another one), or the scenario blocks (time.sleep, "
        "files, a library that gevent does not know)."
    )


def _cpu_left(found: Honesty, rules: Rules) -> Check:
    name, cpu, when_late = "generator CPU", found.cpu_share, found.cpu_share_when_late
    if cpu is None:
        return Check(name, None, "Not judged: the record does not have the generator's CPU.")
    if _too_late(found, rules) and when_late is not None and when_late >= _BUSY_CPU_SHARE:
        sentence = (
            f"The generator was saturated: in the seconds in which it was late a process used "
            f"{when_late:.0%} of a core. Use --processes {2 * found.workers}, or workers on more "
            "machines."
        )
        return Check(name, False, sentence)
    return Check(name, True, f"A generator process used at most {cpu:.0%} of a core.")


def _sockets_left(found: Honesty, _: Rules) -> Check:
    name, out = "generator sockets", found.seconds_without_sockets
    if found.open_files is None and not out:
        return Check(name, None, "Not judged: the record does not have the generator's sockets.")
    limit = found.open_files_limit
    used = f"{found.open_files} of {'any number of' if limit is None else limit} open files"
    if not out:
        return Check(name, True, f"A generator process used at most {used}.")
    sentence = (
        f"In {len(out)} seconds the generator had no socket or port left ({used}, "
        f"{found.sockets_refused} requests refused by its own system): those are no failures of "
        "the target. Raise `ulimit -n`, keep connections alive, widen "
        "net.ipv4.ip_local_port_range, or use workers on more machines."
    )
    return Check(name, False, sentence)


def _clock_steady(found: Honesty, _: Rules) -> Check:
    name, step = "clock", found.clock_step_seconds
    if found.cpu_share is None:
        return Check(name, None, "Not judged: the record does not have the generator's clock.")
    if abs(step) <= CLOCK_STEP_SECONDS:
        return Check(name, True, "The generator's clock was not set during the run.")
    sentence = (
        f"The clock of a generator was set by {step:+.2f} s during the run: what other processes "
        "noted cannot be put beside it. Let the time service slew the clock, not set it."
    )
    return Check(name, False, sentence)
