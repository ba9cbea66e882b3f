"""`launchday curves`: which surges have a name, and what each looks like."""

from __future__ import annotations

import difflib
import json
import logging
import mimetypes
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from launchday.errors import SettingsError
from launchday.load.arrivals import Mode
from launchday.load.curve_files import Values, curve_from_csv
from launchday.load.curve_html import render_html
from launchday.load.curve_plot import CurveView, facts, phase_rows, short, terminal_lines
from launchday.load.curve_stages import (
    curve_from_k6,
    curve_from_k6_json,
    curve_from_stages,
    is_k6,
)
from launchday.load.curves import CURVES, CurveDefinition, RateCurve
from launchday.record import write_atomically

_WIDEST = 120


@click.group("curves", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="As JSON on standard output.")
@click.pass_context
def curves(context: click.Context, as_json: bool) -> None:
    """The surges that have a name; `launchday curves show NAME` plots one."""
    if context.invoked_subcommand:
        return
    if as_json:
        rows = [{**_described(d), **_totals(d.curve())} for d in CURVES.values()]
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    table = Table("name", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("arrivals", "peak/s", "s"):
        table.add_column(column, justify="right")
    table.add_column("what happens")
    for definition in CURVES.values():
        curve = definition.curve()
        numbers = (short(curve.total), short(curve.peak_rps), short(curve.duration_seconds))
        table.add_row(definition.name, *numbers, definition.summary)
    Console().print(table)


@dataclass(frozen=True)
class _Asked:
    """The options that say which curve, and what is done to it."""

    name: str | None
    param: tuple[str, ...]
    csv: Path | None
    values: Values | None
    stages: str | None
    per_user_rps: float | None
    scale: float | None
    compress: float | None
    clip: float | None
    noise: float | None


@curves.command("show")
@click.argument("name", required=False)
@click.option("--param", "-p", multiple=True, metavar="NAME=VALUE", help="Of the named curve.")
@click.option("--csv", type=click.Path(path_type=Path), help="Of a real day: time,rate or count.")
@click.option("--values", type=click.Choice(["rate", "count"]), help="With --csv: if no header.")
@click.option(
    "--stages", metavar="STAGES", help="k6's 30s:100,1m:500, or a .json, k6's or Locust's."
)
@click.option("--per-user-rps", type=float, help="With Locust's stages: arrivals of one user.")
@click.option("--compress", type=float, metavar="FACTOR", help="1/FACTOR of the time, same rates.")
@click.option("--scale", type=float, metavar="FACTOR", help="Every rate times FACTOR.")
@click.option("--clip", type=float, metavar="RPS", help="No rate above.")
@click.option("--noise", type=float, metavar="SHARE", help="Random factors, new each second.")
@click.option("--arrivals", type=click.Choice(["poisson", "even"]), help="Draw one schedule, too.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of --arrivals and --noise.")
@click.option("--png", type=click.Path(path_type=Path), help="Write a picture (launchday[plots]).")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page.")
@click.option("--json", "as_json", is_flag=True, help="As JSON on standard output; no plot.")
def show(
    arrivals: Mode | None,
    seed: int,
    png: Path | None,
    html: Path | None,
    as_json: bool,
    **which: Any,
) -> None:
    """Plot the curve NAME, or one from --csv or --stages, in the terminal and into files.

    What is done to it is done in this order: compress, scale, clip, noise.
    """
    asked = _Asked(**which)
    _check_suffix("--html", html, "text/html")
    _check_suffix("--png", png, "image/png")
    try:
        view = _view(asked, seed, (arrivals, seed) if arrivals else None)
        if html:
            write_atomically(html, render_html(view))
        if png:
            _write_png(png, view)
        if as_json:
            click.echo(json.dumps(_as_json(view, asked), ensure_ascii=False))
        else:
            _print(Console(), view)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    for path in (html, png):
        if path:
            click.echo(f"Written: {path.resolve()}", err=as_json)


def _view(asked: _Asked, seed: int, arrivals: tuple[Mode, int] | None) -> CurveView:
    _check(asked)
    if asked.csv:
        curve = curve_from_csv(asked.csv, values=asked.values)
        view = CurveView(asked.csv.name, "from a file", curve)
    elif asked.stages:
        curve = _from_stages(asked.stages, asked.per_user_rps)
        view = CurveView("stages", asked.stages, curve)
    else:
        view = _named(asked.name or "", asked.param)
    changed = _changed(view.curve, asked, seed)
    return CurveView(view.title, view.summary, changed, view.source, view.parameters, arrivals)


def _check(asked: _Asked) -> None:
    """Refuse options that do not belong together."""
    if sum(each is not None for each in (asked.name, asked.csv, asked.stages)) != 1:
        raise SettingsError(
            "give one of: the NAME of a curve (`launchday curves` lists them), --csv FILE, "
            "--stages STAGES"
        )
    if asked.name is None and asked.param:
        raise SettingsError("--param belongs to a named curve: leave it out")
    if asked.csv is None and asked.values:
        raise SettingsError("--values belongs to --csv: leave it out")
    if asked.per_user_rps is not None and not (asked.stages or "").endswith(".json"):
        raise SettingsError("--per-user-rps belongs to Locust's stages (a .json): leave it out")


def _check_suffix(flag: str, path: Path | None, wanted: str) -> None:
    """Refuse a name that says that the file is something else."""
    kind, encoding = mimetypes.guess_type(path.name) if path else (None, None)
    if kind not in (None, wanted) or encoding:
        suffix = mimetypes.guess_extension(wanted)
        raise SettingsError(f"{flag} is {str(path)!r}: its name must end in {suffix}")


def _named(name: str, param: tuple[str, ...]) -> CurveView:
    definition = _definition(name)
    pairs = [text.partition("=") for text in param]
    for text, (_, equals, _) in zip(param, pairs, strict=True):
        if not equals:
            raise SettingsError(f"--param {text!r} must be NAME=VALUE, for example multiple=5")
    values = definition.checked({key.replace("-", "_"): value for key, _, value in pairs})
    rows = tuple(
        (p.name, f"{_shown(values.get(p.name, p.default))} {p.unit}".strip(), p.meaning)
        for p in definition.parameters
    )
    curve = definition.curve(values)
    return CurveView(name, definition.summary, curve, definition.source, rows)


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else short(value)


def _definition(name: str) -> CurveDefinition:
    if name in CURVES:
        return CURVES[name]
    near = difflib.get_close_matches(name, CURVES, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise SettingsError(f"there is no curve {name!r}; {hint}`launchday curves` lists them")


def _from_stages(stages: str, per_user_rps: float | None) -> RateCurve:
    if not stages.endswith(".json"):
        return curve_from_k6(stages)
    try:
        found = json.loads(Path(stages).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{stages} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"{stages} is no JSON: {error}") from error
    if not is_k6(found):
        return _from_locust(stages, found, per_user_rps)
    if per_user_rps is not None:
        raise SettingsError(
            f"{stages} holds k6's stages, which are arrivals: leave out --per-user-rps"
        )
    try:
        return curve_from_k6_json(found)
    except ValueError as error:
        raise SettingsError(f"{stages}, read as k6's ramping-arrival-rate: {error}") from error


def _from_locust(stages: str, found: object, per_user_rps: float | None) -> RateCurve:
    if not isinstance(found, list):
        raise SettingsError(
            f"{stages} must hold a list of stages (Locust's or k6's), or a table with the key "
            "'stages' (k6's)"
        )
    if per_user_rps is None:
        raise SettingsError("Locust's stages are users: say --per-user-rps, too")
    try:
        return curve_from_stages(found, per_user_rps=per_user_rps)
    except ValueError as error:
        raise SettingsError(f"{stages}, read as Locust's stages: {error}") from error


def _changed(curve: RateCurve, asked: _Asked, seed: int) -> RateCurve:
    steps: tuple[tuple[str, float | None, Callable[[RateCurve, float], RateCurve]], ...] = (
        ("--compress", asked.compress, RateCurve.compress),
        ("--scale", asked.scale, RateCurve.scale),
        ("--clip", asked.clip, RateCurve.clip),
        ("--noise", asked.noise, lambda changed, share: changed.noise(share, seed=seed)),
    )
    for flag, value, change in steps:
        if value is not None:
            try:
                curve = change(curve, value)
            except ValueError as error:
                # What is called factor, max_rps or share in Python is the flag here.
                words = re.sub(r"^(factor|max_rps|share)(?= must)", flag, str(error))
                words = words if words.startswith(flag) else f"{flag} {value:g}: {words}"
                raise SettingsError(words) from error
    return curve


def _print(console: Console, view: CurveView) -> None:
    dumb = os.environ.get("TERM") == "dumb"  # rich asks only if it prints to a terminal
    plain = dumb or not console.encoding.lower().startswith("utf")
    console.print(Text(f"{view.title}: {view.summary}", style="bold"))
    console.print(Text(facts(view.curve)))
    console.print()
    for line in terminal_lines(view, width=min(console.width, _WIDEST), plain=plain):
        text = Text(line, no_wrap=True)
        text.highlight_regex(r"[▁-█#]+", "bright_blue")
        text.highlight_regex(r"●+", "orange3")
        console.print(text, overflow="crop")
    _print_rows(console, ("phase", "seconds", "arrivals", "mean/s"), phase_rows(view.curve), 3)
    _print_rows(console, ("parameter", "value", "meaning"), view.parameters, 1)
    if view.source:
        console.print(Text(f"\nSource: {view.source}"))


def _print_rows(
    console: Console, head: tuple[str, ...], rows: Sequence[tuple[str, ...]], numbers: int
) -> None:
    if not rows:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, name in enumerate(head):
        table.add_column(name, justify="right" if 0 < index <= numbers else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print()
    console.print(table)


def _write_png(path: Path, view: CurveView) -> None:
    # Where it keeps its fonts, and that this takes a while once, is nothing to act on.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        from launchday.load.curve_png import render_png
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        raise SettingsError(
            f"--png needs the package {missing}: install launchday[plots], or use --html"
        ) from error
    try:
        path.write_bytes(render_png(view))
    except OSError as error:
        raise SettingsError(f"cannot write {path}: {error.strerror}") from error


def _described(definition: CurveDefinition) -> dict[str, Any]:
    parameters = [
        {"name": p.name, "default": p.default, "unit": p.unit, "meaning": p.meaning,
         "must": p.allowed}
        for p in definition.parameters
    ]  # fmt: skip
    return {
        "name": definition.name,
        "summary": definition.summary,
        "source": definition.source,
        "parameters": parameters,
    }


def _totals(curve: RateCurve) -> dict[str, float]:
    return {
        "arrivals": curve.total,
        "peak_rps": curve.peak_rps,
        "duration_seconds": curve.duration_seconds,
    }


def _as_json(view: CurveView, asked: _Asked) -> dict[str, Any]:
    drawn = view.drawn()
    return {
        **(_described(CURVES[asked.name]) if asked.name else {"name": view.title}),
        **_totals(view.curve),
        "phases": [asdict(phase) for phase in view.curve.phases],
        "points": view.curve.points,
        "drawn": asdict(drawn) if drawn else None,
    }
