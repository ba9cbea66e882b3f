"""`launchday proxies`: the links of a Toxiproxy, and those of launchday.toml made so there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click

from launchday.chaos.links import AppliedLink, Link, apply_links
from launchday.chaos.toxiproxy import ProxyState, ToxicState, Toxiproxy
from launchday.errors import PreflightError, SettingsError
from launchday.settings import SETTINGS_FILE, Settings, load_settings, toxiproxy_url

_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.group(invoke_without_command=True)
@_JSON
@click.pass_context
def proxies(context: click.Context, as_json: bool) -> None:
    """List the links of the Toxiproxy (run.toxiproxy_url or TOXIPROXY_URL) and their toxics."""
    if context.invoked_subcommand:
        return
    with _toxiproxy(load_settings()) as toxiproxy:
        found = sorted(toxiproxy.proxies().values(), key=lambda proxy: proxy.name)
        version, url = toxiproxy.version(), toxiproxy.url
    if as_json:
        _echo_json({"toxiproxy": url, "version": version, "proxies": [asdict(p) for p in found]})
        return
    links = "1 link" if len(found) == 1 else f"{len(found) or 'no'} links"
    click.echo(f"Toxiproxy {version} at {url}: {links}")
    for proxy in found:
        click.echo(f"{_line(proxy)}{'' if proxy.enabled else '  disabled'}")
        for toxic in proxy.toxics:
            click.echo(f"  {_toxic_line(toxic)}")


@proxies.command("apply")
@_JSON
def apply_command(as_json: bool) -> None:
    """Make the [links.NAME] of launchday.toml so: create, change, or keep as they are.

    What is as it should be keeps its toxics and connections; proxies that launchday.toml does not
    name are not touched. Doing it twice does nothing the second time.
    """
    settings = load_settings()
    links = [Link(name, link.listen, link.upstream) for name, link in settings.links.items()]
    if not links:
        raise SettingsError(
            f"{SETTINGS_FILE} names no links: add [links.NAME] with listen and upstream, both "
            "host:port"
        )
    with _toxiproxy(settings) as toxiproxy:
        applied = apply_links(toxiproxy, links)
        url = toxiproxy.url
    if as_json:
        _echo_json({"toxiproxy": url, "links": [_as_json(each) for each in applied]})
        return
    for each in applied:
        click.echo(_applied_line(each))


@contextmanager
def _toxiproxy(settings: Settings) -> Iterator[Toxiproxy]:
    url = toxiproxy_url(settings)
    if url is None:
        raise PreflightError(
            "no Toxiproxy: set toxiproxy_url under [run] in launchday.toml, or TOXIPROXY_URL; "
            "`launchday toxiproxy` starts one at http://127.0.0.1:8474"
        )
    toxiproxy = Toxiproxy(url)
    try:
        yield toxiproxy
    finally:
        toxiproxy.close()


def _line(proxy: ProxyState) -> str:
    return f"{proxy.name:<16} {proxy.listen} -> {proxy.upstream}"


def _toxic_line(toxic: ToxicState) -> str:
    attributes = "".join(f", {name} {value}" for name, value in toxic.attributes.items())
    share = f", on {toxic.toxicity:.0%} of connections" if toxic.toxicity < 1 else ""
    return f"{toxic.name}: {toxic.type} {toxic.stream}{attributes}{share}"


def _applied_line(applied: AppliedLink) -> str:
    notes = list(applied.changes)
    names = ", ".join(toxic.name for toxic in applied.proxy.toxics)
    notes += [f"toxics: {names}"] if names else []
    notes += [] if applied.proxy.enabled else ["disabled: nobody gets through"]
    more = f" ({'; '.join(notes)})" if notes else ""
    return f"{_line(applied.proxy)}  {applied.done}{more}"


def _as_json(applied: AppliedLink) -> dict[str, object]:
    proxy = applied.proxy
    return {
        "name": proxy.name,
        "listen": proxy.listen,
        "upstream": proxy.upstream,
        "enabled": proxy.enabled,
        "toxics": [toxic.name for toxic in proxy.toxics],
        "done": applied.done,
        "changes": list(applied.changes),
    }


def _echo_json(values: object) -> None:
    click.echo(json.dumps(values, ensure_ascii=False))
