"""`launchday plan`: capacity from records or from other tools' files, and its validation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from launchday import plan_terminal, terminal
from launchday.capacity import pipeline
from launchday.capacity.answer import Plan, Status
from launchday.capacity.document import document, to_json
from launchday.capacity.exposition import capacity_exposition
from launchday.capacity.importers import KINDS, read_table
from launchday.capacity.loads import measure
from launchday.capacity.page import render_page
from launchday.capacity.retry_verdict import POLICIES
from launchday.capacity.steps import Measured, Objective
from launchday.capacity.validation import Checked, check, rates_to_drive, recommended_rps
from launchday.commands.plan_request import (
    Asked,
    columns_of,
    objective_of,
    request_of,
    without_held_out,
)
from launchday.commands.plan_runs import validation_session
from launchday.errors import SettingsError
from launchday.record import Record, read_record, write_atomically
from launchday.runs import validate
from launchday.runs.stop import Stop
from launchday.settings import load_settings

JSON_FILE, PAGE_FILE, METRICS_FILE = "capacity.json", "capacity.html", "capacity.prom"
VALIDATE_SECONDS = 60.0
_NOTHING = (
    "no rate is proved, so none is recommended; hold the steps longer, or repeat them near the "
    "edge (-p edge_rps=…)"
)
_CODES = {Status.VALIDATED: 0, Status.REFUTED: 1, Status.UNVALIDATED: 0}


@click.command("plan")
@click.argument(
    "inputs", metavar="RECORD...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option("--slo", metavar="pQ=TIME", help="Like p99=500ms or mean=0.2s.")
@click.option("--shed", metavar="SHARE", help="Most that may be shed, like 0.1% (the default).")
@click.option("--errors", metavar="SHARE", help="Most that may fail, like 0.1% (the default).")
@click.option("--forecast", metavar="RPS[±RPS]", help="The peak that is expected.")
@click.option("--from-users", metavar="LIST", help="Or: email=500000,open=22%±4%,journey=5.")
@click.option("--zones", type=click.IntRange(1, 20), help="Zones, of which one may be lost.")
@click.option("--growth", metavar="GROWTH", help="Growth of the fleet, like 12%±3%/quarter over 8.")
@click.option("--replicas-now", type=click.IntRange(1, 100_000), help="Replicas that run today.")
@click.option("--price", metavar="PRICE", help="Price of a replica, like €0.12/h.")
@click.option(
    "--utilisation",
    type=float,
    metavar="SHARE",
    help="Share of the proved rate to plan with (0.8).",
)
@click.option(
    "--attempts-per-request",
    type=float,
    metavar="A",
    help="Attempts that clients send for a request (1).",
)
@click.option("--retry-policy", metavar="POLICY", help=f"{', '.join(POLICIES)}; default: all.")
@click.option(
    "--retry-attempts", type=click.IntRange(1, 100), help="Attempts a client makes at most (5)."
)
@click.option("--refusal-ratio", type=float, metavar="K", help="CPU of a refusal by an answer's.")
@click.option(
    "--held-out",
    type=float,
    multiple=True,
    metavar="RPS",
    help="Leave this step out of the fit, and predict it.",
)
@click.option(
    "--from", "from_kind", type=click.Choice(list(KINDS)), help="The inputs are files of this tool."
)
@click.option("--column", multiple=True, metavar="NAME=COLUMN", help="With --from csv.")
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), help="Where the files go."
)
@click.option("--png", is_flag=True, help="The plots as pictures, too (launchday[plots]).")
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="Of random draws."
)
@click.option("--validate", is_flag=True, help="Drive the recommended rate and compare.")
@click.option(
    "--against",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="RECORD",
    help="Compare with a run made after it.",
)
@click.option("--target", metavar="URL", help="With --validate: it must be that of the records.")
@click.option("--metrics", metavar="URL", help="With --validate: the target's metrics.")
@click.option("--local", is_flag=True, help="With --validate: the local stack of the records.")
@click.option(
    "--validate-seconds", type=float, metavar="S", help="Length of each of two steps (60)."
)
@click.option("--runs", type=click.Path(path_type=Path), help="With --validate: for the record.")
@click.option("--json", "as_json", is_flag=True, help="capacity.json on standard output.")
def plan(as_json: bool, **given: Any) -> int:
    """Capacity at an objective, what limits it, and how many replicas a forecast needs.

    From RECORDs of runs of loads (launchday run breakpoint), or with --from from other tools'
    files. Writes capacity.json and capacity.html beside the last record, or into --output.

    Exit code: 0 a plan was made (read its flags), 1 its validation refuted it, 2 it could not be
    made or validated.
    """
    asked = Asked(**given)
    console = Console(stderr=as_json)
    records: list[Record] = []
    if asked.from_kind is None:
        records = [_read(path) for path in asked.inputs]
    answer = _plan(asked, records)
    directory = asked.output or (asked.inputs[-1] if records else Path.cwd())
    _write(answer, directory, asked.png)
    if records and not answer.refused:
        _tell_prometheus(answer, asked.inputs[-1].resolve().parent)
    doubts: Sequence[str] = ()
    not_compared: Sequence[str] = ()
    if (asked.validate or asked.against) and not answer.refused:
        checked = _checked(asked, answer, records, console)
        doubts, not_compared = checked.doubts, checked.not_compared
        if checked.validations and not doubts:
            answer = pipeline.with_validations(answer, checked.validations)
            _write(answer, directory, asked.png)
    if as_json:
        click.echo(to_json(answer), nl=False)
    else:
        plan_terminal.print_plan(console, answer)
        terminal.print_where(console, "Plan", (directory / PAGE_FILE).resolve())
    for part in not_compared:
        console.print(f"not compared: {part}", markup=False, soft_wrap=True)
    for doubt in doubts:
        console.print(f"could not tell whether it is right: {doubt}", markup=False, soft_wrap=True)
    return 2 if answer.refused or doubts else _CODES[answer.status]


def _read(path: Path) -> Record:
    # The metrics of an hour are a gigabyte: `measure` takes what it needs from the disk.
    return read_record(path, metrics=False)


def _plan(asked: Asked, records: Sequence[Record]) -> Plan:
    recorded = records[0].info.rules.objective_seconds if records else None
    objective = objective_of(asked, recorded)
    request = request_of(asked, objective, _shedding(records))
    measured = _measured(asked, records, objective)
    return pipeline.plan(without_held_out(measured, asked.held_out), request)


def _measured(asked: Asked, records: Sequence[Record], objective: Objective) -> Measured:
    if asked.from_kind is not None:
        return read_table(asked.inputs, asked.from_kind, objective, columns_of(asked))
    return measure(records, objective)


def _shedding(records: Sequence[Record]) -> bool:
    """Whether the target refuses at all: of a local stack it is known, else it is assumed."""
    stacks = [stack for record in records if (stack := record.info.settings.get("local"))]
    return all(stack.get("shedding", True) for stack in stacks)


def _checked(asked: Asked, answer: Plan, records: Sequence[Record], console: Console) -> Checked:
    if recommended_rps(answer) is None:
        return Checked((), (_NOTHING,))
    objective = answer.request.objective
    if asked.against:
        return check(answer, measure([_read(path) for path in asked.against], objective))
    session = validation_session(asked, records)
    rates = rates_to_drive(answer)
    seconds = VALIDATE_SECONDS if asked.validate_seconds is None else asked.validate_seconds
    words = f"Validation: {rates[0]:.4g} and {rates[1]:.4g} requests per second, {seconds:g} s each"
    console.print(words, markup=False, highlight=False)
    with terminal.live_progress(console) as progress:
        result = validate.drive(session, records, rates, seconds, progress, Stop.installed())
    terminal.print_where(console, "Record", result.record.path.resolve())
    if result.error:
        return Checked((), (str(result.error),))
    return check(answer, measure([result.record], objective))


def _write(answer: Plan, directory: Path, png: bool) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise SettingsError(f"--output is {str(directory)!r}: it is no directory") from error
    except OSError as error:
        raise SettingsError(f"--output is {str(directory)!r}: {error.strerror}") from error
    write_atomically(directory / JSON_FILE, to_json(answer))
    write_atomically(directory / PAGE_FILE, render_page(answer))
    if png:
        _write_pngs(answer, directory)


def _tell_prometheus(answer: Plan, runs: Path) -> None:
    """In the directory of runs, which compose serves: the capacity board shows the last plan."""
    if runs == load_settings().run.directory.resolve():
        write_atomically(runs / METRICS_FILE, capacity_exposition(document(answer)))


def _write_pngs(answer: Plan, directory: Path) -> None:
    # Where it keeps its fonts, and that this takes a while once, is nothing to act on.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        from launchday.capacity.plots.png import write_pngs
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        raise SettingsError(
            f"--png needs the package {missing}: install launchday[plots]; the page has the "
            "pictures, too"
        ) from error
    try:
        write_pngs(answer, directory)
    except OSError as error:
        raise SettingsError(f"cannot write to {directory}: {error.strerror}") from error
