"""The session with which `launchday plan --validate` drives the target of the records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from launchday.commands.plan_request import Asked
from launchday.errors import PreflightError, SettingsError
from launchday.record import Record
from launchday.runs.preflight import find_scenario
from launchday.runs.session import Session, Target
from launchday.runs.stack import LocalStack
from launchday.runs.validate import parameters_of, scenario_of, stack_of
from launchday.settings import load_settings

SCENARIOS = Path("locustfiles")
_OTHER_ARRIVALS = 1_000_003  # added to the seed: not the arrivals that the plan was made from


def validation_session(asked: Asked, records: Sequence[Record]) -> Session:
    """The last record's run again: scenario, parameters, rules and target, with other arrivals.

    Raises:
        SettingsError: the target that is asked for is not that of the records.
        PreflightError: their scenario is not to be found.
    """
    record = records[-1]
    info, settings = record.info, load_settings()
    scenario = find_scenario(scenario_of(record, SCENARIOS), SCENARIOS)
    return Session(
        title="validation",
        scenario=scenario,
        target=_target(asked, record),
        directory=asked.runs or settings.run.directory,
        rules=info.rules,
        seed=int(info.settings.get("seed", 1)) + _OTHER_ARRIVALS,
        request_timeout_seconds=float(info.settings.get("request_timeout_seconds", 1.0)),
        late_after_seconds=float(info.settings.get("late_after_seconds", 0.01)),
        parameters=parameters_of(record),
        processes=int(info.settings.get("processes", 1)),
    )


def _target(asked: Asked, record: Record) -> Target | LocalStack:
    stack = stack_of(record)
    if asked.local and (asked.target or asked.metrics):
        raise SettingsError("--local brings its own target: leave out --target and --metrics")
    if stack is not None:
        if asked.target or asked.metrics:
            raise SettingsError(
                "these records are of a local stack, which --validate starts anew: leave out "
                "--target and --metrics"
            )
        return stack
    if asked.local:
        raise SettingsError(f"--local: these records are of {record.info.target}, not of a stack")
    return _remote(asked, record)


def _remote(asked: Asked, record: Record) -> Target:
    url, settings = record.info.target.rstrip("/"), load_settings()
    if asked.target is not None and asked.target.rstrip("/") != url:
        raise SettingsError(
            f"--target is {asked.target!r}: these records are of {url}, and a plan holds for the "
            "target that it was made from"
        )
    if not url:
        raise PreflightError("the records do not say which target they are of")
    of = settings.target
    own = of.url is None or of.url.rstrip("/") == url
    found = Target(
        url=url,
        metrics_url=asked.metrics or (of.metrics_url if own else None),
        health_path=of.health_path,
        yours=of.yours,
    )
    token = of.admin_token.get_secret_value() if of.admin_token and own else None
    return replace(found, admin_token=token)
