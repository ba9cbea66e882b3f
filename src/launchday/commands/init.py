"""`launchday init`: a scenario, an experiment and settings for a service of your own."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Mapping
from pathlib import Path

import click
import httpx

from launchday.errors import SettingsError
from launchday.scaffold import asked
from launchday.scaffold.addresses import check_address, public
from launchday.scaffold.documents import MOST_BYTES, parse
from launchday.scaffold.openapi import service_of
from launchday.scaffold.other_texts import (
    experiment_name,
    experiment_text,
    proxies_text,
    settings_text,
)
from launchday.scaffold.scenario_text import Peak, scenario_text
from launchday.scaffold.service import Operation, Service

_FETCH_SECONDS = 10.0
_SHOWN = 8


@click.command("init")
@click.argument("directory", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option("--openapi", metavar="URL_OR_FILE", help="Its OpenAPI 3.0 or 3.1 document.")
@click.option("--host", metavar="URL", help="Where it answers, if the document does not say.")
@click.option("--value", "-v", multiple=True, metavar="NAME=VALUE", help="Of a path's parameter.")
@click.option("--include-writes", is_flag=True, help="Switch on what changes something, too.")
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
def init(
    directory: Path,
    openapi: str | None,
    host: str | None,
    value: tuple[str, ...],
    include_writes: bool,
    force: bool,
) -> None:
    """Write a scenario, an experiment and launchday.toml for a service of your own.

    From its OpenAPI document, or by asking. Reading requests are on; those that change something
    are written too, but off.
    """
    _check_host(host)
    somebody = sys.stdin.isatty() and sys.stdout.isatty()
    if openapi is None and not somebody:
        raise SettingsError(
            "nothing to read and nobody to ask: give --openapi URL_OR_FILE, or run `launchday "
            "init` in a terminal"
        )
    peak = Peak()
    if openapi is None:
        service, include_writes, peak = _ask(host)
    else:
        service = service_of(parse(_read(openapi), public(openapi)), openapi, host=host)
    service = service.with_values(_values(value, service))
    if somebody:
        service = service.with_values(_ask_values(service, writes=include_writes))
    _check_something_is_on(service, writes=include_writes)
    files = _files(service, peak, writes=include_writes)
    write_files(directory, files, force=force)
    _say(directory, list(files), service, writes=include_writes)


def _files(service: Service, peak: Peak, *, writes: bool) -> dict[Path, str]:
    try:
        return {
            Path("locustfiles", f"{service.slug}.py"): scenario_text(service, peak, writes=writes),
            Path("chaos", f"{experiment_name(service)}.py"): experiment_text(service),
            Path("chaos", "proxies.json"): proxies_text(service),
            Path("launchday.toml"): settings_text(service, peak),
        }
    except UnicodeEncodeError as error:
        half = error.object[error.start : error.end]
        raise SettingsError(
            f"{service.origin} holds {half!r}, half of a character, which no request can carry: "
            "correct it"
        ) from error


def write_files(directory: Path, files: Mapping[Path, str], *, force: bool) -> None:
    """Write `files`, whose paths are below `directory`: all, or none if one is there already.

    Raises:
        SettingsError: a file is there (and `force` is not set), or cannot be written.
    """
    there = [str(directory / path) for path in files if (directory / path).exists()]
    if there and not force:
        raise SettingsError(f"{', '.join(there)} would be overwritten; --force does it")
    for path, text in files.items():
        try:
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_text(text, encoding="utf-8")
        except OSError as error:
            raise SettingsError(f"{directory / path}: {error.strerror or error}") from error


def _check_host(host: str | None) -> None:
    check_address(host or "", "--host is")
    try:
        url = httpx.URL(host or "http://127.0.0.1")
        wrong = url.scheme not in ("http", "https") or not url.host or url.query or url.fragment
    except httpx.InvalidURL:
        wrong = True
    if wrong:
        raise SettingsError(
            f"--host is {public(host or '')!r}; it must be like http://127.0.0.1:8000"
        )


def _read(source: str) -> bytes:
    if not source.lower().startswith(("http://", "https://")):
        try:
            with Path(source).open("rb") as file:
                return file.read(MOST_BYTES + 1)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise SettingsError(f"--openapi {source}: {why}") from error
    check_address(source, "--openapi is")
    try:
        return _fetch(source)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        words = str(error) or type(error).__name__
        raise SettingsError(f"--openapi {public(source)} cannot be read: {words}") from error


def _fetch(url: str) -> bytes:
    content = b""
    # Proxies of the environment are for elsewhere; certificates that it trusts are not.
    with (
        httpx.Client(
            timeout=_FETCH_SECONDS,
            trust_env=False,
            follow_redirects=True,
            verify=ssl.create_default_context(),
        ) as client,
        client.stream("GET", url) as answer,
    ):
        if answer.status_code != 200:
            raise SettingsError(f"--openapi {public(url)} answers {answer.status_code}")
        for part in answer.iter_bytes():
            content += part
            if len(content) > MOST_BYTES:
                break
    return content


def _values(given: tuple[str, ...], service: Service) -> dict[str, str]:
    values = {}
    known = sorted({each.key(p) for each in service.operations for p in each.parameters})
    names = {p.name for each in service.operations for p in each.parameters}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise SettingsError(f"--value {text!r} must be NAME=VALUE, for example product_id=17")
        if name not in known and name not in names:
            listed = ", ".join(known) or "there is none"
            raise SettingsError(f"--value {text!r}: no parameter is called so; known are: {listed}")
        values[name] = value
    return values


def _check_something_is_on(service: Service, *, writes: bool) -> None:
    if any(each.on(writes=writes) for each in service.operations):
        return
    if not service.operations:
        raise SettingsError(f"{service.origin} names no request that a client makes")
    wanted = [f"--value {key}=..." for key in list(service.unknown())[:_SHOWN]]
    if not writes and any(each.on(writes=True) for each in service.operations):
        wanted.append("--include-writes")
    hint = f"give {' or '.join(wanted)}" if wanted else "none can be called as it stands"
    raise SettingsError(f"no request of {service.title} can be made yet: {hint}")


def _ask(host: str | None) -> tuple[Service, bool, Peak]:
    source = click.prompt(
        "Its OpenAPI document, a URL or a file (Enter if there is none)",
        default="",
        show_default=False,
    )
    if source:
        service = service_of(parse(_read(source), public(source)), source, host=host)
        writes = click.confirm("Switch on what changes something, too?", default=False)
    else:
        service, writes = _ask_service(host), True
    return service, writes, _ask_peak()


def _ask_peak() -> Peak:
    positive = click.FloatRange(min=0.0, min_open=True)
    baseline = click.prompt("Arrivals per second on a quiet evening", default=10.0, type=positive)
    multiple = click.prompt("Peak over baseline", default=5.0, type=click.FloatRange(min=1.0))
    return Peak(baseline, multiple)


def _ask_service(host: str | None) -> Service:
    title = click.prompt("What is the service called?", default="shop")
    url = host or click.prompt("Where does it answer?", default="http://127.0.0.1:8000")
    _check_host(url)
    operations: list[Operation] = []
    while True:
        more = "" if not operations else ", or Enter if that is all"
        request = click.prompt(
            f"A request that clients make{more}",
            default="" if operations else "GET /",
            show_default=not operations,
        )
        if not request:
            break
        operation = _ask_operation(request)
        if operation:
            operations.append(operation)
    kind = click.prompt("How do they sign in?", default="none", type=click.Choice(asked.SIGN_INS))
    header = "X-API-Key"
    if kind == "api-key":
        header = click.prompt("In which header?", default=header)
    return asked.service(title, url, operations, kind, header)


def _ask_operation(request: str) -> Operation | None:
    try:
        operation = asked.operation(request)
        body = ""
        if operation.method in ("POST", "PUT", "PATCH"):
            body = click.prompt("  its body, as JSON", default="{}")
        weight = click.prompt("  its weight", default=1, type=click.IntRange(1, 10_000))
        return asked.operation(request, body=body, weight=weight)
    except ValueError as error:
        click.echo(f"  {error}")
        return None


def _ask_values(service: Service, *, writes: bool) -> dict[str, str]:
    values: dict[str, str] = {}
    for key, operations in service.unknown().items():
        if any(not each.trouble and (each.reads or writes) for each in operations):
            value = click.prompt(
                f"A real {key}, for {operations[0].name} (Enter: leave it off)",
                default="",
                show_default=False,
            )
            values |= {key: value} if value else {}
    return values


def _say(directory: Path, paths: list[Path], service: Service, *, writes: bool) -> None:
    for path in paths:
        click.echo(f"wrote {directory / path}")
    for address in service.stripped:
        click.echo(f"user, password and query of {address} were left out of the files")
    on = [each for each in service.operations if each.on(writes=writes)]
    click.echo(f"{len(on)} of {len(service.operations)} requests are on: {_names(on)}")
    for key, operations in service.unknown().items():
        click.echo(f"no value for {key}: {_names(operations)} (give --value {key}=...)")
    for name, reason in service.left_out:
        click.echo(f"left out {name}: {reason}")
    used = {name for each in on for name in each.schemes}
    change = "" if directory == Path(".") else f"cd {directory} && "
    needed = [scheme for scheme in service.schemes if scheme.name in used]
    for scheme in needed:
        where = f" (all of the header {scheme.field})" if scheme.kind == "header" else ""
        click.echo(f"secret, so read from the environment: {scheme.variable}{where}")
    variables = "".join(f"{scheme.variable}={scheme.example} " for scheme in needed)
    target = "" if service.url else " --target URL"
    click.echo(f"\nNext:\n  {change}{variables}launchday run {service.slug}{target}")


def _names(operations: list[Operation]) -> str:
    names = [each.name for each in operations]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
