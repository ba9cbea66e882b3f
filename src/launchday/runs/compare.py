"""Two or more runs side by side: pure functions of their records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from launchday import timeline
from launchday.outcomes import Outcome
from launchday.record import Record
from launchday.runs.verdict import Verdict


@dataclass(frozen=True)
class Summary:
    """The numbers of one run that people compare. Rates are means over the peak.

    `p99_seconds` is None if nothing was admitted; `p99_at_least` says that clients gave up at
    that value, so that the true one is larger. `recovery_seconds` is None if goodput did not come
    back within `watched_seconds`.
    """

    title: str
    run_id: str
    offered: int
    peak_offered_rps: float
    peak_goodput_rps: float
    capacity_rps: float | None
    p99_seconds: float | None
    p99_at_least: bool
    shed: int
    answers_503: int
    with_retry_after: int
    errors: int
    connection_errors: int
    recovery_seconds: int | None
    watched_seconds: float
    kept_share: float | None
    verdict: Verdict


def summarise(record: Record, verdict: Verdict) -> Summary | None:
    """The summary of a run, or None if it made no request."""
    schedule = record.schedule
    if schedule is None:
        return None
    seen = timeline.seen_seconds(record, schedule)
    peak = timeline.window(record, (s for s in timeline.peak_seconds(schedule) if s < seen))
    whole = timeline.whole(record)
    end = timeline.overload_end(record, schedule, verdict.capacity_rps)
    p99 = timeline.p99_of_admitted(whole, peak)
    return Summary(
        title=record.info.title or record.info.run_id,
        run_id=record.info.run_id,
        offered=whole.offered,
        peak_offered_rps=peak.rate(peak.offered),
        peak_goodput_rps=peak.rate(peak.goodput),
        capacity_rps=verdict.capacity_rps,
        p99_seconds=p99,
        p99_at_least=p99 is not None and p99 >= 0.98 * schedule.request_timeout_seconds,
        shed=whole.shed,
        answers_503=whole.answers_503,
        with_retry_after=whole.with_retry_after,
        errors=whole.errors,
        connection_errors=whole.outcomes[Outcome.CONNECTION],
        recovery_seconds=timeline.seconds_to_recover(record, end, seen),
        watched_seconds=max(0, seen - end),
        kept_share=timeline.kept_share(record),
        verdict=verdict,
    )


def _goodput(s: Summary) -> str:
    if s.capacity_rps is None:
        return f"{s.peak_goodput_rps:.0f} /s"
    share = s.peak_goodput_rps / s.capacity_rps
    return f"{s.peak_goodput_rps:.0f} /s ({share:.0%} of capacity {s.capacity_rps:.0f})"


def _p99(s: Summary) -> str:
    if s.p99_seconds is None:
        return "nothing admitted"
    return f"{'≥ ' if s.p99_at_least else ''}{s.p99_seconds * 1000:.0f} ms"


def _shed(s: Summary) -> str:
    share = s.shed / s.offered if s.offered else 0.0
    return f"{s.shed} ({share:.0%})"


def _retry_after(s: Summary) -> str:
    if not s.answers_503:
        return "no 503 answered"
    return f"{s.with_retry_after} of {s.answers_503} ({s.with_retry_after / s.answers_503:.0%})"


def _errors(s: Summary) -> str:
    share = s.errors / s.offered if s.offered else 0.0
    return f"{s.errors} ({share:.0%}), {s.connection_errors} of them connections"


def _recovery(s: Summary) -> str:
    if s.recovery_seconds is None and s.watched_seconds < timeline.RECOVERED_FOR_SECONDS:
        return "not seen"
    if s.recovery_seconds is None:
        return f"not within {s.watched_seconds:.0f} s"
    return f"{s.recovery_seconds} s" if s.recovery_seconds else "at once"


def _kept(s: Summary) -> str:
    if s.kept_share is None:
        return "unknown"
    generator = s.verdict.generator
    lateness = generator.lateness_p99_seconds if generator else None
    p99 = f", p99 {lateness * 1000:.1f} ms late" if lateness is not None else ""
    return f"{s.kept_share:.1%} of arrivals in time{p99}"


_ROWS: tuple[tuple[str, Callable[[Summary], str]], ...] = (
    ("offered at the peak", lambda s: f"{s.peak_offered_rps:.0f} /s"),
    ("goodput at the peak", _goodput),
    ("p99 of admitted", _p99),
    ("shed", _shed),
    ("503 with Retry-After", _retry_after),
    ("errors (timeout, 5xx, connection)", _errors),
    ("time to recover", _recovery),
    ("generator kept its schedule", _kept),
    ("verdict", lambda s: s.verdict.outcome.value),
)


def distinct(summaries: list[Summary]) -> list[Summary]:
    """The summaries with their run's name beside a title that another one has too."""
    titles = [s.title for s in summaries]
    return [
        replace(s, title=f"{s.title} ({s.run_id})") if titles.count(s.title) > 1 else s
        for s in summaries
    ]


def side_by_side(summaries: list[Summary]) -> list[tuple[str, list[str]]]:
    """One row for each number: its name and its value in each run."""
    return [(name, [value(summary) for summary in summaries]) for name, value in _ROWS]
