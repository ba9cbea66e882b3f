"""The commands of launchday: options, settings, what is printed, exit codes."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import click
from rich.console import Console

from launchday import __version__, terminal
from launchday.chaos.experiment import load_experiment
from launchday.commands.chaos import chaos
from launchday.commands.curves import curves
from launchday.commands.har import import_
from launchday.commands.init import init
from launchday.commands.plan import plan
from launchday.commands.proxies import proxies
from launchday.commands.toxiproxy import toxiproxy
from launchday.commands.up import up
from launchday.errors import PreflightError, SettingsError
from launchday.load.generator import check_parameters
from launchday.record import (
    COMPARISON_FILE,
    REPORT_FILE,
    Rules,
    read_run_info,
    write_atomically,
)
from launchday.runs import audit, conclude
from launchday.runs.compare import distinct, summarise
from launchday.runs.preflight import find_scenario
from launchday.runs.report import render_comparison
from launchday.runs.session import Result, Session, Target, run
from launchday.runs.stack import LocalStack
from launchday.runs.stop import Stop
from launchday.settings import Settings, load_settings, toxiproxy_url

SCENARIOS = Path("locustfiles")
EXPERIMENTS = Path("chaos")
# What two cores can do, generator included: 8 slots of 50 ms serve 160 requests per second, and
# the 730 arrivals per second at the peak of launch_day make 803 requests, 5 times that.
_DEMO_SLOTS = 8
_RUN_ARGUMENT = click.argument("run_directory", type=click.Path(path_type=Path, file_okay=False))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def launchday() -> None:
    """What happens on launch day, and how much capacity the launch needs."""


launchday.add_command(chaos)
launchday.add_command(curves)
launchday.add_command(import_)
launchday.add_command(init)
launchday.add_command(plan)
launchday.add_command(proxies)
launchday.add_command(toxiproxy)
launchday.add_command(up)


@launchday.command("run")
@click.argument("scenario")
@click.option("--target", metavar="URL", help="The service under test.")
@click.option("--metrics", metavar="URL", help="Its Prometheus metrics, if it has any.")
@click.option("--local", is_flag=True, help="Start the reference backend here and test it.")
@click.option(
    "--shedding/--no-shedding", default=True, help="With --local: the middleware on or off."
)
@click.option("--experiment", metavar="NAME", help="What breaks meanwhile: a file in chaos/.")
@click.option("--param", "-p", multiple=True, metavar="NAME=VALUE", help="Of the scenario.")
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Of the generator, for more load than one core sends.",
)
@click.option("--runs", type=click.Path(path_type=Path), help="Where records go (runs/).")
@click.option("--json", "as_json", is_flag=True, help="The verdict as JSON on standard output.")
def run_command(
    scenario: str,
    target: str | None,
    metrics: str | None,
    local: bool,
    shedding: bool,
    experiment: str | None,
    param: tuple[str, ...],
    processes: int,
    runs: Path | None,
    as_json: bool,
) -> int:
    """Run SCENARIO (a file in locustfiles/), record and judge it.

    Exit code: 0 held, 1 breached, 2 inconclusive or could not run, 3 not steady before the fault,
    4 a fault had no effect, 5 a fault could not be undone, 130 or 143 interrupted.
    """
    if local and (target or metrics):
        raise SettingsError("--local brings its own target: leave out --target and --metrics")
    if not local and not shedding:
        raise SettingsError("--no-shedding is about the reference backend: it needs --local")
    settings = _settings(runs)
    session = _session(
        settings,
        scenario,
        _local_stack(settings, shedding) if local else _target(settings, target, metrics),
        experiment,
        _parameters(param),
    )
    session = replace(session, processes=processes)
    console = Console(stderr=as_json)
    result = _run(session, console, Stop.installed())
    if as_json:
        click.echo(json.dumps(asdict(result.verdict), ensure_ascii=False))
    _show_result(console, result)
    return result.exit_code


@launchday.command("demo")
@click.option("--experiment", default="slow_gateway", show_default=True)
@click.option("--runs", type=click.Path(path_type=Path), help="Where records go (runs/).")
def demo_command(experiment: str, runs: Path | None) -> int:
    """The same launch-day surge twice, without and with load shedding, side by side.

    The exit code is that of the run with load shedding.
    """
    settings = _settings(runs)
    stop = Stop.installed()
    console = Console()
    results = []
    for shedding in (False, True):
        title = f"{'with' if shedding else 'without'} load shedding"
        stack = replace(_local_stack(settings, shedding), slots=_DEMO_SLOTS, shed_limit=None)
        session = _session(settings, "launch_day", stack, experiment, {})
        results.append(_run(replace(session, title=title), console, stop))
        if results[-1].error:
            return _show_result(console, results[-1])
    where = _write_comparison("Launch day, without and with load shedding", results)
    summaries = [s for r in results if (s := summarise(r.record, r.verdict))]
    terminal.print_side_by_side(console, summaries)
    terminal.print_toxiproxy(console, results[-1].record.info)
    for result in results:
        terminal.print_verdict(console, result.verdict, result.record.info.title)
    terminal.print_where(console, "\nReport, both runs side by side", where)
    for result in results:
        path = result.record.path / REPORT_FILE
        terminal.print_where(console, f"Report, {result.record.info.title}", path.resolve())
    return results[-1].exit_code


@launchday.command("verdict")
@_RUN_ARGUMENT
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def verdict_command(run_directory: Path, as_json: bool) -> int:
    """Judge an old record anew, also one whose run was killed. Exit codes as for `run`."""
    record, verdict = conclude.judge_record(run_directory)
    if as_json:
        click.echo(json.dumps(asdict(verdict), ensure_ascii=False))
    else:
        terminal.print_verdict(Console(), verdict, record.info.title or record.info.run_id)
    return verdict.exit_code


@launchday.command("audit")
@_RUN_ARGUMENT
@click.option("--json", "as_json", is_flag=True, help="As JSON, with every finding.")
def audit_command(run_directory: Path, as_json: bool) -> int:
    """What clients were told against what is stored and what the cars executed.

    Exit code: 0 clean, 1 something was lost, doubled or invented (a ghost), 2 cannot tell.
    """
    read_run_info(run_directory)
    result = audit.audit_record(run_directory)
    if as_json:
        click.echo(json.dumps(asdict(result), ensure_ascii=False))
    else:
        terminal.print_audit(Console(), result)
    return result.exit_code


@launchday.command("report")
@_RUN_ARGUMENT
def report_command(run_directory: Path) -> None:
    """Write the report of an old record anew, also of one whose run was killed."""
    record, _ = conclude.conclude(run_directory)
    terminal.print_where(Console(), "Report", (record.path / REPORT_FILE).resolve())


@launchday.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", default=COMPARISON_FILE, show_default=True, type=click.Path())
def compare_command(runs: tuple[Path, ...], output: str) -> None:
    """Put two or more old records side by side."""
    results = [Result(*conclude.judge_record(path)) for path in runs]
    console = Console()
    summaries = distinct([s for r in results if (s := summarise(r.record, r.verdict))])
    terminal.print_side_by_side(console, summaries)
    text = render_comparison("Side by side", [(r.record, r.verdict) for r in results])
    write_atomically(Path(output), text)
    terminal.print_where(console, "Report", Path(output).resolve())


def _settings(runs: Path | None) -> Settings:
    settings = load_settings()
    if runs is None:
        return settings
    return settings.model_copy(update={"run": settings.run.model_copy(update={"directory": runs})})


def _parameters(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    wrong = [text for text, (name, equals, _) in zip(given, pairs, strict=True) if not equals]
    if wrong:
        raise SettingsError(f"--param {wrong[0]!r} must be NAME=VALUE, for example multiple=5")
    return {name: value for name, _, value in pairs}


def _rules(settings: Settings) -> Rules:
    rules, patience = settings.rules, settings.run.request_timeout_seconds
    if rules.objective_seconds >= patience:
        raise SettingsError(
            f"rules.objective_seconds is {rules.objective_seconds:g}: it must be below "
            f"run.request_timeout_seconds ({patience:g}), or clients give up before it is missed"
        )
    return Rules(**rules.model_dump())


def _target(settings: Settings, url: str | None, metrics: str | None) -> Target:
    target = settings.target
    chosen = url or target.url
    if chosen is None:
        raise PreflightError("no target: give --target URL, or --local for the reference backend")
    token = target.admin_token
    own = target.url is None or target.url.rstrip("/") == chosen.rstrip("/")
    return Target(
        url=chosen.rstrip("/"),
        metrics_url=metrics or (target.metrics_url if chosen == target.url else None),
        health_path=target.health_path,
        yours=target.yours,
        toxiproxy_url=toxiproxy_url(settings),
        # As the metrics: what belongs to one target is not told to another.
        admin_token=token.get_secret_value() if token and own else None,
    )


def _local_stack(settings: Settings, shedding: bool) -> LocalStack:
    return LocalStack(
        shedding=shedding, toxiproxy_url=toxiproxy_url(settings), **settings.local.model_dump()
    )


def _session(
    settings: Settings,
    scenario: str,
    target: Target | LocalStack,
    experiment: str | None,
    parameters: dict[str, str],
) -> Session:
    path = find_scenario(scenario, SCENARIOS)
    parameters = {k: str(v) for k, v in settings.scenario.get(path.stem, {}).items()} | parameters
    check_parameters(parameters)
    return Session(
        title=path.stem,
        scenario=path,
        target=target,
        directory=settings.run.directory,
        experiment=load_experiment(experiment, EXPERIMENTS) if experiment else None,
        rules=_rules(settings),
        seed=settings.run.seed,
        request_timeout_seconds=settings.run.request_timeout_seconds,
        late_after_seconds=settings.run.late_after_seconds,
        parameters=parameters,
        lease_seconds=settings.run.lease_seconds,
        metrics_port=settings.run.metrics_port,
        metrics_host=settings.run.metrics_host,
    )


def _run(session: Session, console: Console, stop: Stop) -> Result:
    console.print(f"{session.title}: starting", markup=False, highlight=False)
    with terminal.live_progress(console) as progress:
        return run(session, progress, stop)


def _show_result(console: Console, result: Result) -> int:
    terminal.print_toxiproxy(console, result.record.info)
    terminal.print_verdict(console, result.verdict, result.record.info.title)
    terminal.print_where(console, "Report", (result.record.path / REPORT_FILE).resolve())
    if result.error:
        sys.stderr.write(f"launchday: {result.error}\n")
    return result.exit_code


def _write_comparison(title: str, results: list[Result]) -> Path:
    directory = results[-1].record.path.parent
    path = directory / f"{time.strftime('%Y%m%d-%H%M%S')}-{COMPARISON_FILE}"
    write_atomically(path, render_comparison(title, [(r.record, r.verdict) for r in results]))
    return path.resolve()
