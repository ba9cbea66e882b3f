"""`launchday import har`: a recorded browser session becomes a scenario."""

from __future__ import annotations

from pathlib import Path

import click

from launchday.commands.init import write_files
from launchday.errors import SettingsError
from launchday.scaffold.har import MOST_BYTES, parse
from launchday.scaffold.har_journey import COOKIE, Journey, journey_of
from launchday.scaffold.har_selection import select
from launchday.scaffold.har_text import journey_text
from launchday.scaffold.scenario_text import Peak
from launchday.scaffold.service import scenario_name

_SCENARIOS = Path("locustfiles")


@click.group("import")
def import_() -> None:
    """Turn what was recorded elsewhere into a scenario."""


@import_.command("har")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--output", metavar="FILE", type=click.Path(path_type=Path), help="The scenario.")
@click.option("--host", metavar="HOST", help="Whose requests; else the first document's.")
@click.option("--include-static", is_flag=True, help="Scripts, styles, pictures and fonts, too.")
@click.option("--think-time/--no-think-time", default=True, help="Pause as the person did.")
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
def har_command(
    file: Path,
    output: Path | None,
    host: str | None,
    include_static: bool,
    think_time: bool,
    force: bool,
) -> None:
    """Turn FILE, a browser session (HAR), into a scenario of one journey.

    Record it in the developer tools: Network, then "Save all as HAR". What is called or looks
    like a cookie, a token or a password is not written down: the scenario takes it from earlier
    answers, or reads it from the environment. Look through the file before you commit it.
    """
    exchanges, unread = parse(_read(file), str(file))
    selection = select(exchanges, host=host, static=include_static)
    name = scenario_name(output.stem if output else file.stem)
    path = output or _SCENARIOS / f"{name}.py"
    if path.suffix != ".py" or path.stem != name:
        raise SettingsError(
            f"--output is {str(path)!r}; it must end in a name that a scenario can have, like "
            f"{str(path.with_name(name + '.py'))!r}"
        )
    journey = journey_of(selection, name, think_time=think_time)
    text = journey_text(journey, file.name, Peak())
    write_files(Path(), {path: text}, force=force)
    click.echo(f"wrote {path}: {len(journey.steps)} requests to {journey.url}")
    for reason, count in selection.left_out:
        click.echo(f"left out {count} {reason}")
    if journey.tracking_cookies:
        listed = ", ".join(journey.tracking_cookies)
        click.echo(f"left out cookies of statistics, advertisements and consent: {listed}")
    if unread:
        click.echo(f"left out {unread} entries that could not be read")
    _say_next(journey, path, output is not None)


def _say_next(journey: Journey, path: Path, chosen: bool) -> None:
    taken = [take.variable for step in journey.steps for take in step.takes]
    if taken:
        click.echo(f"taken from answers: {', '.join(taken)}")
    for constant, variable in journey.secrets:
        cookies = "; ".join(f"{name}=..." for name in journey.cookies)
        what = f" ({cookies}; its comment says more)" if cookies and constant == COOKIE else ""
        click.echo(f"secret, so read from the environment: {variable}{what}")
    click.echo(
        f"{len(journey.secrets)} values were moved to the environment, as they are called or look "
        f"like secrets; others may be left in {path}: look through it before you commit it"
    )
    variables = "".join(f"{variable}=... " for _, variable in journey.secrets)
    scenario = path if chosen and path.parent != _SCENARIOS else journey.name
    click.echo(f"\nNext:\n  {variables}launchday run {scenario} --target {journey.url}")


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as recording:
            return recording.read(MOST_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror or error}") from error
