"""`launchday chaos`: what experiments may have left behind, and what can be done with them."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from launchday.chaos.clear import Cleared, clear
from launchday.chaos.toxiproxy import Toxiproxy
from launchday.commands.export import export_command
from launchday.errors import SettingsError
from launchday.settings import load_settings, toxiproxy_url


@click.group("chaos")
def chaos() -> None:
    """Experiments: what breaks, and what they may have left behind."""


chaos.add_command(export_command)


@chaos.command("clear")
@click.option("--toxiproxy", "url", metavar="URL", help="Its API (default: TOXIPROXY_URL).")
@click.option("--link", metavar="NAME", help="On this link only.")
@click.option("--all", "everything", is_flag=True, help="Also what launchday did not put there.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def clear_command(
    url: str | None, link: str | None, everything: bool, dry_run: bool, as_json: bool
) -> int:
    """Remove the faults that runs of launchday left behind, and enable links that they disabled.

    Leaves alone what others put there, and the faults of a run that still goes on, unless --all.
    Exit code: 0 nothing of ours is left but for a run that goes on, 2 the Toxiproxy does not answer
    or says no.
    """
    url = url or toxiproxy_url(load_settings())
    if not url:
        raise SettingsError(
            "which Toxiproxy? Name its API: --toxiproxy http://HOST:PORT, or TOXIPROXY_URL in the "
            "environment"
        )
    toxiproxy = Toxiproxy(url)
    try:
        cleared = clear(toxiproxy, link=link, everything=everything, dry_run=dry_run)
    finally:
        toxiproxy.close()
    if as_json:
        click.echo(json.dumps({"toxiproxy": url, "dry_run": dry_run, **asdict(cleared)}))
    else:
        _print(cleared, dry_run)
    return 0


def _print(cleared: Cleared, dry_run: bool) -> None:
    for each in cleared.removed:
        done = "enabled" if each.toxic is None else "removed"
        click.echo(f"{f'would be {done}' if dry_run else done}  {each}")
    for each in cleared.left_alone:
        why = "its run goes on" if each.running else "not by launchday"
        click.echo(f"left alone  {each}: {why}; --all takes it, too")
    if not cleared.removed and not any(each.mine for each in cleared.left_alone):
        click.echo("nothing of launchday is left there")
