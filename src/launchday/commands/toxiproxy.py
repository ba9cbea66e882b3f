"""`launchday toxiproxy`: the embedded Toxiproxy alone, for links of your own."""

from __future__ import annotations

from pathlib import Path

import click

from launchday.chaos import embedded


@click.command("toxiproxy")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the API.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8474,
    show_default=True,
    help="Of the API; 0 picks one.",
)
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="JSON array of proxies, as of the real server; they may have toxics.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Which connections a toxicity below 1 hits, and jitter.",
)
def toxiproxy(host: str, port: int, config: Path | None, seed: int) -> None:
    """Start the Toxiproxy that comes with launchday and serve until Ctrl-C.

    It has the HTTP API and the toxics of Toxiproxy 2.12.0, and no authentication: leave it on
    127.0.0.1, or on a network of your own.
    """
    embedded.run(host, port, config, seed=seed)
