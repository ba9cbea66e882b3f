"""Drives the loads that validate a plan: two steps of one run, at the target of its records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from launchday.errors import PreflightError, SettingsError
from launchday.load.generator import options_of
from launchday.record import Record
from launchday.runs.progress import Progress
from launchday.runs.session import Result, Session, run
from launchday.runs.stack import LocalStack
from launchday.runs.stop import Stop
from launchday.timeline import window

SHORTEST_SECONDS, LONGEST_SECONDS = 10.0, 3600.0

_CLEAN_SHARE = 0.999
# What the curve of `breakpoint` and that of `launch_day` are called on a command line.
_STEPS = ("--from-rps", "--to-rps", "--steps", "--step-seconds")
_SURGE = (
    "--baseline-rps",
    "--multiple",
    "--quiet-seconds",
    "--rise-seconds",
    "--peak-seconds",
    "--decay-seconds",
    "--tail-seconds",
)
_SHAPE = (
    "order", "order_seed", "edge_rps", "replicates", "rest_seconds", "form", "spacing",
)  # fmt: skip


def drive(
    session: Session,
    records: Sequence[Record],
    rates: tuple[float, float],
    step_seconds: float,
    on_progress: Callable[[Progress], None],
    stop: Stop,
) -> Result:
    """Hold two loads (requests per second, the lower first) for `step_seconds` each.

    `session` says scenario, target and parameters of the records; its curve is replaced.

    Raises:
        SettingsError: `step_seconds` is not from 10 to 3600, or the scenario's curve cannot hold
            a rate.
        LaunchdayError: as `session.run`.
    """
    if not SHORTEST_SECONDS <= step_seconds <= LONGEST_SECONDS:
        raise SettingsError(
            f"--validate-seconds is {step_seconds:g}: it must be from {SHORTEST_SECONDS:g} to "
            f"{LONGEST_SECONDS:g}"
        )
    known = options_of(session.scenario)
    if known is None:
        raise PreflightError(f"the scenario {session.scenario} cannot be read")
    each = requests_per_arrival(records)
    low, high = (rate / each for rate in rates)
    held = {
        name: value
        for name, value in session.parameters.items()
        if name.replace("-", "_") not in _SHAPE
    }
    curve = curve_parameters(known, low, high, step_seconds, session.scenario.stem)
    return run(replace(session, parameters={**held, **curve}), on_progress, stop)


def requests_per_arrival(records: Sequence[Record]) -> float:
    """How many requests an arrival makes, where nobody was refused or failed.

    An arrival is a journey of one or more requests; one that is refused may end early.

    Raises:
        PreflightError: there is no such second.
    """
    requests = arrivals = 0
    for record in records:
        for second, begun in record.arrivals.items():
            seen = window(record, [second])
            if seen.offered and seen.shed + seen.errors <= (1 - _CLEAN_SHARE) * seen.offered:
                requests += seen.offered
                arrivals += begun.started
    if not arrivals:
        raise PreflightError("in no second of the records was everybody served")
    return requests / arrivals


def curve_parameters(
    known: Mapping[str, object], low_rps: float, high_rps: float, seconds: float, name: str
) -> dict[str, str]:
    """Parameters with which a scenario holds two rates of arrivals, `seconds` each.

    Raises:
        SettingsError: its curve has not the parameters of `breakpoint` or of `launch_day`.
    """
    if all(option in known for option in _STEPS):
        given: dict[str, Any] = {
            "from_rps": low_rps, "to_rps": high_rps, "steps": 2, "step_seconds": seconds
        }  # fmt: skip
    elif all(option in known for option in _SURGE):
        given = {
            "baseline_rps": low_rps, "multiple": high_rps / low_rps, "quiet_seconds": seconds,
            "rise_seconds": 1, "peak_seconds": seconds, "decay_seconds": 1, "tail_seconds": 1,
        }  # fmt: skip
    else:
        raise SettingsError(
            f"--validate cannot hold a rate with the scenario {name}: its curve must take the "
            "parameters of breakpoint or launch_day (`launchday curves show breakpoint`)"
        )
    return {key: f"{value:.10g}" for key, value in given.items()}


def stack_of(record: Record) -> LocalStack | None:
    """The local stack of a record, with free ports; None if its target was another."""
    local = record.info.settings.get("local")
    if not isinstance(local, dict):
        return None
    known = {field.name for field in fields(LocalStack)}
    kept = {name: value for name, value in local.items() if name in known}
    if kept.pop("database_url", "sqlite") not in ("sqlite", None):
        raise SettingsError(
            "--validate cannot start the database of these records: its URL is not in them; plan "
            "with --target, where the reference backend runs already"
        )
    if kept.pop("regions", None):
        raise SettingsError("--validate: a plan is made of one region, these records are of many")
    ports = {"target_port": 0, "gateway_port": 0, "toxiproxy_url": None, "links": ()}
    return LocalStack(**{**kept, **ports})


def parameters_of(record: Record) -> dict[str, str]:
    """The parameters that the scenario of a record was given."""
    given = record.info.settings.get("parameters")
    return {str(k): str(v) for k, v in given.items()} if isinstance(given, dict) else {}


def scenario_of(record: Record, directory: Path) -> str:
    """What to look a record's scenario up by: its name, or the path that `run` was given."""
    name = record.info.scenario
    if (directory / f"{name}.py").exists():
        return name
    given = [word for word in record.info.argv if Path(word).stem == name and word.endswith(".py")]
    return given[0] if given else name
