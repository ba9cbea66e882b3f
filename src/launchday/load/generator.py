"""Locust's command line, its environment, and what its log says when it fails."""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from launchday.errors import SettingsError

# What the harness decides, and what would make Locust another program; the rest is the scenario's.
_NOT_PARAMETERS = (
    "host", "seed", "objective-seconds", "request-timeout-seconds", "late-after-seconds",
    "launchday-record", "locustfile", "config", "headless", "autostart", "autoquit", "master",
    "master-host", "master-port", "master-bind-host", "master-bind-port", "worker", "processes",
    "expect-workers", "users", "spawn-rate", "run-time", "web-host", "web-port", "web-login",
    "web-base-path", "tls-cert", "tls-key", "csv", "csv-full-history", "html", "json", "logfile",
    "loglevel", "skip-log-setup", "exit-code-on-error", "stop-timeout", "only-summary",
    "print-stats", "reset-stats", "tags", "exclude-tags", "class-picker", "otel", "profile",
    "allow-public-target", "metrics-port", "metrics-host", "list", "show-task-ratio",
    "show-task-ratio-json", "help", "version", "iterations",
)  # fmt: skip

# Locust's --help is printed before the scenario is read, so it is asked in a process of its own.
_ASK_FOR_OPTIONS = """
import json, sys
from locust.argument_parser import get_parser
from locust.util.load_locustfile import load_locustfile
before = {action.dest for action in get_parser()._actions}
load_locustfile(sys.argv[1])
added = [action for action in get_parser()._actions if action.dest not in before]
defaults = {action.option_strings[0]: action.default for action in added if action.option_strings}
print("\\n" + json.dumps(defaults, default=str))
"""
_ASK_SECONDS = 20.0


@dataclass(frozen=True)
class GeneratorPlan:
    """What Locust is started with. `parameters` are options of the scenario (`name` to value).

    `processes`: with more than one, Locust runs a master and that many workers on this machine,
    which meet on `master_port`. `metrics_port`: worker i serves its metrics on that plus i.
    """

    scenario: Path
    target: str
    record: Path
    seed: int = 1
    objective_seconds: float = 0.5
    request_timeout_seconds: float = 1.0
    late_after_seconds: float = 0.01
    parameters: Mapping[str, str] = field(default_factory=dict)
    processes: int = 1
    master_port: int = 5557
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"


def check_parameters(names: Iterable[str]) -> None:
    """Refuse parameters that are not the scenario's to define.

    Raises:
        SettingsError: an empty name, or one that the harness or Locust uses itself (also
            abbreviated, which Locust's command line would take).
    """
    for name in names:
        option = name.replace("_", "-").strip("-")
        if not option or any(known.startswith(option) for known in _NOT_PARAMETERS):
            raise SettingsError(
                f"{name!r} is no parameter of a scenario: only those that its file defines are; "
                "what the harness decides is set by other options or in launchday.toml"
            )


def command(plan: GeneratorPlan) -> list[str]:
    """The whole command: nothing is left to Locust's configuration files or environment."""
    options = {
        "host": plan.target,
        "seed": plan.seed,
        "objective-seconds": plan.objective_seconds,
        "request-timeout-seconds": plan.request_timeout_seconds,
        "late-after-seconds": plan.late_after_seconds,
        "launchday-record": plan.record.resolve(),
        # Whoever starts a run was asked already.
        "allow-public-target": urlsplit(plan.target).hostname or "",
        **{name.replace("_", "-"): value for name, value in plan.parameters.items()},
    }
    if plan.metrics_port is not None:
        options |= {"metrics-port": plan.metrics_port, "metrics-host": plan.metrics_host}
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return [
        sys.executable, "-m", "locust", "-f", str(plan.scenario),
        # Whether a failed request is a failure is for the verdict.
        "--exit-code-on-error", "0",
        "--headless", "--only-summary", "--loglevel", "INFO", *flags, *_distributed(plan),
    ]  # fmt: skip


def _distributed(plan: GeneratorPlan) -> list[str]:
    if plan.processes == 1:
        return []
    port = str(plan.master_port)
    return [
        "--processes", str(plan.processes),
        "--master-bind-host", "127.0.0.1", "--master-bind-port", port,
        "--master-host", "127.0.0.1", "--master-port", port,
    ]  # fmt: skip


def environment(home: Path) -> dict[str, str]:
    """The environment without Locust's own variables; ~/.locust.conf is looked up in `home`."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LOCUST_")}
    return inherited | {"HOME": str(home.resolve()), "PYTHONUNBUFFERED": "1"}


def why_it_failed(log: str, scenario: Path) -> str:
    """One sentence from the log of a Locust process that failed."""
    ours = re.findall(r"ERROR/launchday: launchday: (.*)", log)
    if ours:
        return str(ours[-1])
    if re.search(r"unrecognized arguments: .*--launchday-record", log):
        return f"{scenario.name} has no SurgeShape and ArrivalUser of launchday.load.locust_user"
    unknown = re.findall(r"unrecognized arguments: (--\S+)", log)
    if unknown:
        return _no_parameter(unknown[-1].removeprefix("--"), scenario)
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Exit)\b", line)]
    refused = [line for line in lines if "error: " in line]
    words = (raised or refused or lines or ["it printed nothing"])[-1]
    places = re.findall(rf'File "{re.escape(str(scenario))}", line (\d+)', log)
    return f"{words} ({scenario.name}, line {places[-1]})" if places else words


def options_of(scenario: Path) -> dict[str, object] | None:
    """The options that Locust has because of `scenario`, launchday's first, and their defaults.

    None if the scenario cannot be read, or not within 20 s.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK_FOR_OPTIONS, str(scenario)],
            env=clean,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ASK_SECONDS,
            check=True,
        )
        return cast(dict[str, object], json.loads(done.stdout.splitlines()[-1]))
    except (OSError, ValueError, LookupError, subprocess.SubprocessError):
        return None


def _no_parameter(name: str, scenario: Path) -> str:
    options = options_of(scenario) or {}
    flags = [option.removeprefix("--") for option in options]
    known = [flag.replace("-", "_") for flag in flags if flag not in _NOT_PARAMETERS]
    near = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    listed = f"; {hint}it has {', '.join(sorted(known))}" if known else ""
    return f"scenario {scenario.stem} has no parameter {name!r}{listed}"
