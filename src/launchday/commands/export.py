"""`launchday chaos export`: an experiment as a file of Chaos Toolkit."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import click
import yaml

from launchday.chaos.experiment import load_experiment
from launchday.chaos.toolkit.export import Exported, Surroundings, exported
from launchday.errors import SettingsError
from launchday.record import write_atomically
from launchday.settings import Settings, load_settings, toxiproxy_url

_EXPERIMENTS = Path("chaos")
_USUAL = Surroundings()


@click.command("export")
@click.argument("experiment")
@click.option("--output", metavar="FILE", type=click.Path(path_type=Path), help=".json or .yaml.")
@click.option(
    "--path",
    "paths",
    multiple=True,
    metavar="NAME=/PATH",
    help="What a client asks for at the endpoint NAME of the scenario.",
)
def export_command(experiment: str, output: Path | None, paths: tuple[str, ...]) -> None:
    """Write EXPERIMENT (a file in chaos/) as one that Chaos Toolkit's `chaos run` executes.

    Without --output it is JSON on standard output. What Chaos Toolkit cannot say is listed on
    standard error and in the file.
    """
    settings = load_settings()
    around = _surroundings(settings, dict(_pair(text) for text in paths))
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", Path(experiment).stem)
    result = exported(load_experiment(experiment, _EXPERIMENTS), name, around)
    text = _text(result, output)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_atomically(output, text)
        click.echo(f"wrote {output}\n\nNext:\n  chaos run --rollback-strategy always {output}")
    for sentence in result.left_out:
        click.echo(f"left out: {sentence}", err=True)


def _surroundings(settings: Settings, paths: Mapping[str, str]) -> Surroundings:
    return Surroundings(
        toxiproxy_url=toxiproxy_url(settings) or _USUAL.toxiproxy_url,
        target_url=settings.target.url or _USUAL.target_url,
        metrics_url=settings.target.metrics_url or _USUAL.metrics_url,
        health_path=settings.target.health_path,
        paths=paths,
        objective_seconds=settings.rules.objective_seconds,
        patience_seconds=settings.run.request_timeout_seconds,
    )


def _pair(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not name or not equals or not re.fullmatch(r"/[!-~]*", path):
        raise SettingsError(f"--path {text!r} must be NAME=/PATH, for example state=/vehicles")
    return name, path


def _text(result: Exported, output: Path | None) -> str:
    suffix = output.suffix if output else ".json"
    if suffix == ".json":
        return json.dumps(result.document, indent=2, ensure_ascii=False) + "\n"
    if suffix in (".yaml", ".yml"):
        return yaml.safe_dump(result.document, sort_keys=False, allow_unicode=True, width=100)
    raise SettingsError(f"--output is {str(output)!r}; it must end in .json, .yaml or .yml")
