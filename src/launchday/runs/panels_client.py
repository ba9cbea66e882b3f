"""The report's panels about load and clients, from the generator's samples."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from launchday import timeline
from launchday.histogram import LogHistogram, middle_of
from launchday.outcomes import REFUSED, Outcome
from launchday.record import Record, Schedule
from launchday.runs.panels import DASHED, DOTTED, LONG, Panel, Series, constant, milliseconds
from launchday.timeline import Window

# From above, as they are stacked from below; what is fine is at the bottom.
_OUTCOMES = {
    Outcome.OK: "--good",
    Outcome.SLOW: "--slow",
    Outcome.SHED: "--shed",
    Outcome.MAINTENANCE: "--maintenance",
    Outcome.THROTTLED: "--throttled",
    Outcome.DEPENDENCY: "--dependency",
    Outcome.TIMEOUT: "--failed",
    Outcome.INVALID: "--invalid",
    Outcome.SERVER_ERROR: "--server-error",
    Outcome.CONNECTION: "--connection",
    Outcome.CLIENT_ERROR: "--client-error",
}
_CLASSES = (
    ("critical_plus", "--failed", ()),
    ("critical", "--shed", DASHED),
    ("sheddable_plus", "--offered", DOTTED),
    ("sheddable", "--slow", LONG),
)
_EDGES_MS = (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def tiles(record: Record, schedule: Schedule) -> list[tuple[str, str, str]]:
    """The first look: number, what it is, and a sentence on it."""
    peak = timeline.window(record, timeline.peak_seconds(schedule))
    everything = timeline.whole(record)
    critical = [
        (outcome, cell.count)
        for (_, _, criticality, outcome), cell in record.cells.items()
        if criticality.startswith("critical")
    ]
    kept = sum(count for outcome, count in critical if outcome == Outcome.OK)
    started = timeline.arrivals_of(record).started
    return [
        (f"{peak.rate(peak.goodput):.0f}/s", "goodput", "at the peak, answered in time"),
        (f"{peak.rate(peak.offered):.0f}/s", "offered", "at the peak, retries included"),
        (_percent(peak.shed, peak.offered), "shed", "of what was offered at the peak"),
        (_percent(kept, sum(n for _, n in critical)), "critical kept", "answered in time"),
        (_percent(everything.goodput, everything.offered), "success", "of all, refusals count"),
        (
            f"{everything.offered / started:.2f}" if started else "-",
            "requests per arrival",
            "more than its journey has are retries",
        ),
    ]


def _percent(part: int, of: int) -> str:
    return f"{100 * part / of:.1f} %" if of else "-"


def load_panels(
    record: Record, seconds: Sequence[Window], capacity_rps: float | None
) -> list[Panel]:
    """The picture of the day."""
    objective_ms = record.info.rules.objective_seconds * 1000
    traffic = [
        Series("offered", [w.offered for w in seconds], "--offered", DASHED),
        Series("goodput", [w.goodput for w in seconds], "--good"),
        Series("shed", [w.shed for w in seconds], "--shed"),
        Series("failed", [w.errors for w in seconds], "--failed", DOTTED),
    ]
    if capacity_rps is not None:
        known = constant(seconds, capacity_rps)
        traffic.append(Series("known capacity", known, "--text", LONG, limit=True, scaled=False))
    latency = [
        Series("p50", _quantiles(seconds, 0.5), "--good", DOTTED),
        Series("p95", _quantiles(seconds, 0.95), "--slow", DASHED),
        Series("p99", _quantiles(seconds, 0.99), "--shed"),
        Series("objective", constant(seconds, objective_ms), "--text", LONG, limit=True),
    ]
    outcomes = [
        Series(outcome.value, [w.outcomes[outcome] for w in seconds], colour)
        for outcome, colour in _OUTCOMES.items()
        if any(w.outcomes[outcome] for w in seconds)
    ]
    return [
        Panel(
            "traffic",
            "Offered, goodput, shed and failed requests per second",
            "With shedding, goodput rises to the capacity and stays; the rest is shed.",
            "/s",
            traffic,
            height=260,
        ),
        Panel(
            "latency",
            "Latency of admitted requests, from the intended start",
            "Refusals are not in it, and what waited in a queue counts from when it was meant.",
            " ms",
            latency,
            height=260,
            nothing="No request was admitted.",
        ),
        Panel(
            "outcomes",
            "What clients saw, requests per second",
            "Slow is an answer later than the objective; shed and throttled are on purpose.",
            "/s",
            outcomes,
            kind="stacked",
            height=260,
            zero_is_nothing=True,
            nothing="No request was made.",
        ),
    ]


def client_panels(record: Record, seconds: Sequence[Window]) -> list[Panel]:
    """What clients went through, and what they did."""
    naive, retries = _naive(record, len(seconds)), [0] * len(seconds)
    for (second, *_), cell in record.cells.items():
        if 0 <= second < len(seconds):
            retries[second] += cell.retries
    return [
        Panel(
            "gap",
            "Corrected against naive p99",
            "From the intended start and from the moment of sending: the gap is what a load test "
            "that waits for answers hides.",
            " ms",
            [
                Series("corrected", _quantiles(seconds, 0.99), "--shed"),
                Series("naive", naive, "--offered", DASHED),
            ],
            nothing="No request was admitted.",
        ),
        Panel(
            "classes",
            "Success by class",
            "Share of the requests of each class answered within the objective; critical ones "
            "should keep theirs longest.",
            " %",
            _success_by_class(record, len(seconds)),
            nothing="No request was made.",
        ),
        Panel(
            "retries",
            "Retries and Retry-After",
            "Requests that repeated a failed one; and of the answers 503, those that said when to "
            "come back.",
            "/s",
            [
                Series("answers 503", [w.answers_503 for w in seconds], "--shed"),
                Series("with Retry-After", [w.with_retry_after for w in seconds], "--text", DASHED),
                Series("retries", retries, "--failed", DOTTED),
            ],
            zero_is_nothing=True,
            nothing="No answer was 503, and no request a retry.",
        ),
        Panel(
            "distribution",
            "Distribution of the corrected latency",
            "The stronger the colour, the more requests; two bands are two populations, of which "
            "one met something slow.",
            " ms",
            _distribution(seconds),
            kind="heat",
            zero_is_nothing=True,
            nothing="No request was admitted.",
        ),
    ]


def _quantiles(seconds: Iterable[Window], q: float) -> list[float | None]:
    return [milliseconds(w.admitted.quantile(q)) for w in seconds]


def _naive(record: Record, length: int) -> list[float | None]:
    """The p99 of admitted requests from the moment of sending, in each second."""
    service = [LogHistogram() for _ in range(length)]
    for (second, _, _, outcome), cell in record.cells.items():
        if 0 <= second < length and outcome not in REFUSED and outcome != Outcome.CONNECTION:
            service[second].merge(cell.service)
    return [milliseconds(histogram.quantile(0.99)) for histogram in service]


def _success_by_class(record: Record, length: int) -> list[Series]:
    offered: dict[str, Counter[int]] = defaultdict(Counter)
    good: dict[str, Counter[int]] = defaultdict(Counter)
    for (second, _, criticality, outcome), cell in record.cells.items():
        offered[criticality][second] += cell.count
        if outcome == Outcome.OK:
            good[criticality][second] += cell.count
    known = [name for name, _, _ in _CLASSES]
    others = [(name, "--muted", ()) for name in sorted(offered) if name not in known]
    return [
        Series(name, _shares(good[name], offered[name], length), colour, dash)
        for name, colour, dash in (*_CLASSES, *others)
        if offered[name]
    ]


def _shares(part: Counter[int], whole: Counter[int], length: int) -> list[float | None]:
    return [round(100 * part[s] / whole[s], 1) if whole[s] else None for s in range(length)]


def _distribution(seconds: Sequence[Window]) -> list[Series]:
    rows = [[0.0] * len(seconds) for _ in (*_EDGES_MS, math.inf)]
    for number, window in enumerate(seconds):
        for bucket, count in window.admitted.counts.items():
            row = sum(middle_of(bucket) * 1000 > edge for edge in _EDGES_MS)
            rows[row][number] += count
    return [Series(label, row) for label, row in zip(_row_labels(), rows, strict=True)]


def _row_labels() -> Iterator[str]:
    yield from (f"≤ {edge}" for edge in _EDGES_MS)
    yield f"> {_EDGES_MS[-1]}"
