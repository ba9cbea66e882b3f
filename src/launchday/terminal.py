"""What a person sees in the terminal: live progress, the side-by-side, the verdict."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from launchday.record import RunInfo
from launchday.runs.audit import Audit, sentence
from launchday.runs.compare import Summary, side_by_side
from launchday.runs.progress import Progress
from launchday.runs.verdict import Verdict, VerdictOutcome

_PLAIN_INTERVAL_SECONDS = 5.0
_FINDINGS_SHOWN = 20
_LATE_SECONDS = 0.01
# Blue and orange stay apart for every colour vision; the word says it too.
_STYLES = {
    VerdictOutcome.HELD: "bold bright_blue",
    VerdictOutcome.BREACHED: "bold orange3",
    VerdictOutcome.INCONCLUSIVE: "bold",
}


class LiveProgress:
    """Shows a Progress: redrawn in a terminal, a plain line every 5 s elsewhere."""

    def __init__(self, console: Console, live: Live | None) -> None:
        self._console = console
        self._live = live
        self._last_plain = -_PLAIN_INTERVAL_SECONDS

    def __call__(self, progress: Progress) -> None:
        """Show one look at the run."""
        if self._live:
            self._live.update(_panel(progress), refresh=True)
            return
        now = time.monotonic()
        if now - self._last_plain >= _PLAIN_INTERVAL_SECONDS:
            self._last_plain = now
            self._console.print(_line(progress), markup=False, highlight=False, soft_wrap=True)


@contextmanager
def live_progress(console: Console) -> Iterator[LiveProgress]:
    """Live progress for the time of the `with` block."""
    if not console.is_terminal:
        yield LiveProgress(console, None)
        return
    # Redrawn by whoever reports progress: no second thread that writes to the terminal.
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield LiveProgress(console, live)


def _rates(p: Progress) -> str:
    p99 = "-" if p.p99_seconds is None else f"{p.p99_seconds * 1000:.0f} ms"
    return (
        f"offered {p.offered_rps:.0f}/s  admitted {p.admitted_rps:.0f}/s  good "
        f"{p.goodput_rps:.0f}/s  shed {p.shed_rps:.0f}/s  failed {p.failed_rps:.0f}/s  p99 {p99}"
    )


def _generator(p: Progress) -> str:
    """How far to trust the numbers, if there is a doubt."""
    parts = []
    if p.lateness_p99_seconds is not None and p.lateness_p99_seconds > _LATE_SECONDS:
        parts.append(f"p99 {p.lateness_p99_seconds * 1000:.0f} ms late")
    if p.not_started:
        parts.append(f"{p.not_started} arrivals not started")
    if parts and p.generator_cpu_share is not None:
        parts.append(f"CPU {p.generator_cpu_share:.0%}")
    return f"GENERATOR {', '.join(parts)}" if parts else ""


def _line(p: Progress) -> str:
    fault = f"  FAULT {p.fault}" if p.fault else ""
    generator = f"  {doubt}" if (doubt := _generator(p)) else ""
    return f"{p.phase:<8} {p.left_seconds:3.0f} s left  {_rates(p)}{fault}{generator}"


def _panel(p: Progress) -> Group:
    total = p.elapsed_seconds + p.left_seconds
    head = Table.grid(padding=(0, 1))
    head.add_row(
        Text(p.title, style="bold"),
        Text(p.phase, style="bright_blue"),
        ProgressBar(total=max(total, 1.0), completed=min(p.elapsed_seconds, total), width=30),
        f"{p.left_seconds:.0f} s left",
    )
    fault = Text(f"fault: {p.fault}", style="bold orange3") if p.fault else Text("no fault active")
    doubt = Text(_generator(p), style="bold orange3")
    return Group(head, Text(_rates(p)), fault, doubt)


def print_side_by_side(console: Console, summaries: list[Summary]) -> None:
    """The numbers of each run, a column a run."""
    table = Table(title="Side by side", title_justify="left", title_style="bold")
    table.add_column("")
    for summary in summaries:
        table.add_column(summary.title)
    for name, values in side_by_side(summaries):
        table.add_row(name, *values)
    console.print(table)


def print_verdict(console: Console, verdict: Verdict, title: str) -> None:
    """The verdict with its reasons."""
    console.print(
        Text.assemble(
            (f"{title}: ", "bold"), (verdict.outcome.value.upper(), _STYLES[verdict.outcome])
        )
    )
    for reason in verdict.reasons:
        console.print(f"  - {reason}", markup=False, highlight=False)


def print_audit(console: Console, result: Audit) -> None:
    """The audit in a paragraph, and the first findings."""
    console.print(sentence(result), markup=False, highlight=False, soft_wrap=True)
    kinds = {**result.violations, "unresolved": result.unresolved}
    rows = [(kind, finding) for kind, findings in kinds.items() for finding in findings]
    if not rows:
        return
    table = Table("", "endpoint", "what", "Idempotency-Key")
    for kind, finding in rows[:_FINDINGS_SHOWN]:
        # Text, not markup: keys and states come from outside.
        cells = (kind, finding.endpoint or "-", finding.sentence, finding.key)
        table.add_row(*(Text(cell, overflow="fold") for cell in cells))
    console.print(table)
    if len(rows) > _FINDINGS_SHOWN:
        rest = f"{len(rows) - _FINDINGS_SHOWN} more: --json has all of them."
        console.print(rest, markup=False, highlight=False)


def print_toxiproxy(console: Console, info: RunInfo) -> None:
    """Which server injected the faults, if any did."""
    if info.toxiproxy:
        words = f"Faults were injected by Toxiproxy: {info.toxiproxy}"
        console.print(words, markup=False, highlight=False, soft_wrap=True)


def print_where(console: Console, what: str, path: Path) -> None:
    """Where a file is, on a line of its own that a terminal makes clickable."""
    console.print(f"{what}: {path}", markup=False, highlight=False, soft_wrap=True)
