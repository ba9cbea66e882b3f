"""What a person sees of a plan in the terminal: the paragraph, a small table, what to do next."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from launchday.capacity.answer import Plan, Status
from launchday.capacity.needs import planned
from launchday.capacity.paragraph import replicas_tested
from launchday.capacity.wording import joined, number, percent, with_interval

# Blue and orange stay apart for every colour vision; the word says it too.
_STYLES = {
    Status.UNVALIDATED: "bold orange3",
    Status.VALIDATED: "bold bright_blue",
    Status.REFUTED: "bold red",
}


def print_plan(console: Console, plan: Plan) -> None:
    """Print the paragraph first, then the numbers, the doubts, and what to do next."""
    style = "bold red" if plan.refused else _STYLES[plan.status]
    head = f"NO PLAN · {plan.status.value}" if plan.refused else plan.status.value
    console.print(Text(head, style=style))
    _say(console, plan.paragraph)
    if rows := _rows(plan):
        table = Table("", "", show_header=False, box=None, padding=(0, 2, 0, 0))
        for name, value in rows:
            # Text, not markup: names of resources come from outside.
            table.add_row(Text(name), Text(value, overflow="fold"))
        console.print(table)
    for flag in plan.flags:
        _say(console, f"  - {flag}")
    for advice in next_steps(plan):
        _say(console, f"Next: {advice}")


def _say(console: Console, words: str) -> None:
    console.print(Text(words), soft_wrap=not console.is_terminal)


def _rows(plan: Plan) -> list[tuple[str, str]]:
    rows = []
    if plan.per_replica:
        rows.append(("recommended per replica", f"{with_interval(plan.per_replica)} rps"))
    if plan.found and plan.found.crossing:
        binding = plan.found.binding or "nothing"
        together = replicas_tested(plan)
        of = f" of {together:,} replicas together" if together > 1 else ""
        crossing = f"{with_interval(plan.found.crossing)} rps{of}, {binding} is missed first"
        rows.append(("objective crossed at", crossing))
    for demand in plan.bottleneck.demands[:3] if plan.bottleneck else ():
        rows.append((f"{demand.resource} full at", f"{with_interval(demand.saturates_rps)} rps"))
    if plan.usl and not (plan.usl.refused or plan.refused):
        rows.append(("scalability", _usl(plan)))
    if plan.replicas:
        rows.append(("replicas to run", f"{planned(plan.replicas):,}"))
    if plan.retry:
        rows.append(("retries", _retries(plan)))
    return rows


def _usl(plan: Plan) -> str:
    fit = plan.usl
    assert fit is not None
    three = ((name, getattr(fit, name).value) for name in ("alpha", "beta", "gamma"))
    words = ", ".join(f"{name} {number(value)}" for name, value in three)
    if "no peak identified" in fit.flags:
        return f"{words}; no peak identified"
    return f"{words}; peak at {with_interval(fit.peak_concurrency)} in flight"


def _retries(plan: Plan) -> str:
    stuck = [row.policy for row in plan.retry if row.stuck]
    load = percent(plan.retry[0].utilisation)
    if not stuck:
        assumed = plan.request.shedding and plan.retry[0].ratio is None
        doubt = ", if it refuses what is too much at little cost (assumed)" if assumed else ""
        return f"cannot hold the target down at {load} of capacity{doubt}"
    return f"can hold the target down at {load} of capacity: {joined(stuck)}"


def _to_validate(plan: Plan) -> str:
    if plan.per_replica is None:
        return "hold the steps longer, or repeat them near the edge: no rate is proved yet."
    return "launchday plan --validate drives the recommended rate and compares."


def next_steps(plan: Plan) -> list[str]:
    """What would make the answer better, the most useful first."""
    advice = []
    if plan.refused:
        advice.append("mend what the refusal names and measure again: launchday run breakpoint.")
    elif plan.found and plan.found.crossing is None and plan.found.proved:
        advice.append("test higher loads until the objective is missed: the limit was not found.")
    if not plan.refused and plan.status is Status.UNVALIDATED:
        advice.append(
            _to_validate(plan)
            if plan.by_rate
            else "measure with launchday run breakpoint: only such plans can be validated."
        )
    if not plan.refused and plan.request.forecast is None:
        advice.append("give --forecast to have replicas counted.")
    return advice
