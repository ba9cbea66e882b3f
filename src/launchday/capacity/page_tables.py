"""The tables of the page: rows of text, made from a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from launchday.capacity.answer import Plan
from launchday.capacity.paragraph import compared
from launchday.capacity.results import Estimate, Validation
from launchday.capacity.steps import Step
from launchday.capacity.wording import milliseconds, number, percent, signed_percent

Row = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table: heads, rows, and which columns hold words (the others are numbers)."""

    title: str
    heads: Row
    rows: tuple[Row, ...]
    words: frozenset[int]
    note: str = ""


def tables(plan: Plan) -> list[Table]:
    """Those that have rows, in the order of the page."""
    made = (
        _numbers(plan),
        _validations("Validation runs", plan.validations),
        _validations("Steps kept out of the fit", plan.held_out),
        _what_if(plan),
        _growth(plan),
        _retry(plan),
        _steps(plan),
        _left_out(plan),
    )
    return [table for table in made if table.rows]


def _numbers(plan: Plan) -> Table:
    heads = ("number", "value", "95 % from", "to", "n", "method", "from")
    rows = [
        (name, *_cells(estimate, scale), source)
        for name, estimate, scale, source in _estimates(plan)
        if estimate is not None
    ]
    return Table("Numbers", heads, tuple(rows), frozenset({0, 5, 6}))


def _cells(estimate: Estimate, scale: float) -> Row:
    low, high = estimate.low, estimate.high
    return (
        number(estimate.value * scale),
        "-" if low is None else number(low * scale),
        "-" if high is None else number(high * scale),
        str(estimate.n),
        estimate.method,
    )


def _estimates(plan: Plan) -> list[tuple[str, Estimate | None, float, str]]:
    every, found, fit = "all steady steps", plan.found, plan.usl
    rows: list[tuple[str, Estimate | None, float, str]] = []
    if found:
        rows += [("objective crossed, rps", found.crossing, 1, every)]
        rows += [("proved, rps", found.proved, 1, found.proved_source)]
    rows += [("recommended per replica, rps", plan.per_replica, 1, every)]
    for demand in plan.bottleneck.demands if plan.bottleneck else ():
        name = demand.resource
        rows += [(f"{name}, ms a request", demand.seconds, 1000, "steps below the knee")]
        rows += [(f"{name} full, rps", demand.saturates_rps, 1, "steps below the knee")]
    if fit:
        names = ("alpha (contention)", "beta (coherency)", "gamma, rps", "peak, in flight")
        estimates = (fit.alpha, fit.beta, fit.gamma, fit.peak_concurrency)
        where = "steady steps that were fitted" + (" (NOT USED)" if fit.refused else "")
        rows += [(n, e, 1, where) for n, e in zip(names, estimates, strict=True)]
    return rows


def _validations(title: str, validations: Sequence[Validation]) -> Table:
    heads = ("what", "at rps", "predicted", "measured", "off by", "", "from")
    rows = tuple(
        (
            row.what,
            number(row.rps),
            *compared(row),
            signed_percent(row.error_share),
            "within" if row.within else "MISSED",
            row.source,
        )
        for row in validations
    )
    return Table(title, heads, rows, frozenset({0, 5, 6}))


def _what_if(plan: Plan) -> Table:
    heads = ("objective", "surge", "rps", "rps per replica", "replicas to run", "")
    rows = tuple(
        (
            f"<= {milliseconds(row.objective_seconds)}",
            f"{number(row.surge)}x",
            number(row.forecast_rps),
            "-" if row.per_replica_rps is None else number(row.per_replica_rps),
            "-" if row.replicas is None else f"{row.replicas:,}",
            row.words,
        )
        for row in plan.what_if
    )
    return Table("What if", heads, rows, frozenset({0, 5}))


def _growth(plan: Plan) -> Table:
    heads = ("quarter", "rps", "95 % from", "to", "replicas to run", "those of today")
    rows = tuple(
        (
            str(row.quarter),
            *_cells(row.rps, 1)[:3],
            f"{row.replicas:,}",
            "enough" if row.enough else "NOT ENOUGH",
        )
        for row in plan.growth
    )
    return Table("Growth", heads, rows, frozenset({5}), plan.run_out)


def _retry(plan: Plan) -> Table:
    heads = ("policy", "attempts", "load", "V", "largest load it leaves", "")
    rows = tuple(
        (
            row.policy,
            str(row.attempts),
            percent(row.utilisation),
            number(row.vulnerability),
            "-"
            if row.largest_recoverable_surge is None
            else f"{number(row.largest_recoverable_surge)}x",
            row.sentence,
        )
        for row in plan.retry
    )
    note = "V above 1: a state exists that retries keep up after the surge is over."
    return Table("Retries", heads, rows, frozenset({0, 5}), note)


def _steps(plan: Plan) -> Table:
    latency = "mean" if plan.request.objective.quantile is None else "quantile"
    heads = (
        *("step", "offered", "answered", "good", "in flight"),
        *(f"{latency} ms", "95 % from", "to", "shed", "errors", ""),
    )
    rows = tuple(_step(step) for step in sorted(plan.measured.steps, key=_by_load))
    return Table("Steps", heads, rows, frozenset({0, 10}), "Rates are per second.")


def _by_load(step: Step) -> tuple[float, float]:
    return step.offered_rps, step.concurrency


def _step(step: Step) -> Row:
    ends = (step.latency_seconds, step.low_seconds, step.high_seconds)
    kept_out = ("kept out of the fit",) if step.held_out else ()
    why = "; ".join((*step.unsteady, *kept_out))
    return (
        step.source,
        number(step.offered_rps),
        number(step.throughput_rps),
        number(step.goodput_rps),
        number(step.concurrency),
        *("-" if end is None else number(end * 1000) for end in ends),
        percent(step.shed_share),
        percent(step.error_share),
        f"not steady: {why}" if step.unsteady else why,
    )


def _left_out(plan: Plan) -> Table:
    rows = tuple((part.source, part.reason) for part in plan.measured.left_out)
    return Table("Left out", ("what", "why"), rows, frozenset({0, 1}))
