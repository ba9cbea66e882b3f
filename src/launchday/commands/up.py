"""`launchday up`: the whole stack without Docker, until Ctrl-C."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click

from launchday.errors import PreflightError
from launchday.runs import local_prometheus
from launchday.runs.processes import Processes, any_free_port, check_port
from launchday.runs.session import LOGS
from launchday.runs.stack import LocalStack, RunningStack, project_root, running
from launchday.runs.stop import Interrupted, Stop
from launchday.settings import Settings, load_settings, toxiproxy_url

# Those of the containers, so that a command or a bookmark is right for both.
_BACKEND_PORT, _PROMETHEUS_PORT, _CONDUCTOR_PORT = 8000, 9090, 9102
_GENERATORS = 4
_FOLDER = "launchday-up-"
_PORT = click.IntRange(0, 65535)


@dataclass(frozen=True)
class _Up:
    """What runs where; `prometheus` is None if there is none."""

    stack: RunningStack
    prometheus: str | None
    conductor_port: int

    @property
    def environment(self) -> dict[str, str]:
        """What a run against this stack is told, for its faults, its audit and Prometheus."""
        return {
            "TOXIPROXY_URL": self.stack.toxiproxy_url,
            "LAUNCHDAY_TARGET__ADMIN_TOKEN": self.stack.admin_token,
            "LAUNCHDAY_RUN__METRICS_PORT": str(self.conductor_port),
        }

    @property
    def run(self) -> str:
        """The command that runs a scenario against it."""
        words = [*_launchday(), "run", "three_regions" if self.stack.edges else "launch_day"]
        words += ["--target", self.stack.target_url, "--metrics", self.stack.metrics_url]
        if self.stack.edges:
            return shlex.join([*words, "-p", f"regions={self.stack.regions}"])
        return shlex.join([*words, "--experiment", "slow_gateway"])


@click.command("up")
@click.option(
    "--shedding/--no-shedding", default=True, help="The middleware of the backend on or off."
)
@click.option(
    "--port",
    type=_PORT,
    help=f"Of the reference backend; 0 picks one.  [default: {_BACKEND_PORT}]",
)
@click.option(
    "--prometheus-port",
    type=_PORT,
    default=_PROMETHEUS_PORT,
    show_default=True,
    help="Of Prometheus, if it is on PATH; 0 picks one.",
)
@click.option(
    "--link",
    "links",
    multiple=True,
    type=click.Choice(["edge", "database"]),
    help="Through Toxiproxy besides the gateway: the clients' way in, or a PostgreSQL.",
)
@click.option("--json", "as_json", is_flag=True, help="The addresses as one line of JSON.")
def up(
    shedding: bool,
    port: int | None,
    prometheus_port: int,
    links: tuple[str, ...],
    as_json: bool,
) -> None:
    """Start reference backend, vehicle gateway, Toxiproxy and Prometheus here, until Ctrl-C.

    No Docker: they are processes of this machine, and end with this one, however it ends. What
    they stored is thrown away. Prometheus is started when it is on PATH.
    """
    settings = load_settings()
    stack = _stack(settings, shedding, port, links)
    prometheus_port = _checked_ports(stack, prometheus_port)
    stop = Stop.installed()
    conductor = settings.run.metrics_port or _CONDUCTOR_PORT
    _remove_leftovers()
    prefix = f"{_FOLDER}{os.getpid()}-"
    with (
        tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder,
        Processes(Path(folder) / LOGS) as processes,
        _started(stack, processes, prometheus_port, conductor, stop) as started,
    ):
        click.echo(json.dumps(_addresses(started)) if as_json else _words(started))
        _stay(processes, stop)


def _remove_leftovers() -> None:
    """Remove the files of those that were killed: one that ended in order removed its own."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*-*"):
        owner = folder.name.removeprefix(_FOLDER).partition("-")[0]
        if owner.isdecimal() and not _lives(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True


def _stack(
    settings: Settings, shedding: bool, port: int | None, links: tuple[str, ...]
) -> LocalStack:
    local = LocalStack(
        shedding=shedding, toxiproxy_url=toxiproxy_url(settings), **settings.local.model_dump()
    )
    if port is None:
        # Regions have a backend each, and choose their ports.
        port = local.target_port or (0 if local.regions else _BACKEND_PORT)
    return replace(local, target_port=port, links=links)


def _checked_ports(stack: LocalStack, prometheus_port: int) -> int:
    """Complain of a taken port before anything starts; the port for Prometheus."""
    if stack.target_port:
        check_port(stack.target_port, "the reference backend", "choose another: --port 0")
    if prometheus_port == 0 or local_prometheus.found() is None:
        return prometheus_port or any_free_port()
    check_port(prometheus_port, "Prometheus", "choose another: --prometheus-port 0")
    return prometheus_port


@contextmanager
def _started(
    stack: LocalStack, processes: Processes, prometheus_port: int, conductor: int, stop: Stop
) -> Iterator[_Up]:
    with running(stack, processes, stop) as backend:
        program = local_prometheus.found()
        if program is None:
            yield _Up(backend, None, conductor)
            return
        generators = range(conductor + 1, conductor + 1 + _GENERATORS)
        jobs: dict[str, Sequence[str]] = {
            **backend.scraped,
            "launchday": [f"127.0.0.1:{conductor}"],
            "generator": [f"127.0.0.1:{port}" for port in generators],
        }
        folder = processes.logs.parent / "prometheus"
        yield _Up(
            backend,
            local_prometheus.start(
                program, processes, project_root(), folder, prometheus_port, jobs, stop
            ),
            conductor,
        )


def _stay(processes: Processes, stop: Stop) -> None:
    """Return when asked to stop: that is how this command ends.

    Raises:
        PreflightError: something that was started has ended by itself.
    """
    try:
        while True:
            stop.wait(0.5)
            for child in processes.children:
                if child.exit_code:
                    raise PreflightError(f"{child.name} ended: {child.last_words()}")
    except Interrupted:
        return


def _addresses(started: _Up) -> dict[str, object]:
    stack = started.stack
    return {
        **({"targets": dict(stack.targets)} if stack.targets else {}),
        "target": stack.target_url,
        "docs": f"{stack.target_url}/docs",
        "status": f"{stack.target_url}/status",
        "metrics": stack.metrics_url,
        "toxiproxy": stack.toxiproxy_url,
        "prometheus": started.prometheus,
        "environment": started.environment,
        "run": started.run,
    }


def _words(started: _Up) -> str:
    # No line is wrapped or cut: they are to be copied.
    exports = " ".join(f"{name}={shlex.quote(v)}" for name, v in started.environment.items())
    lines = [
        *(f"{name:<20}{where}" for name, where in _table(started)),
        "",
        "In another terminal, a launch day against it:",
        "",
        f"  export {exports}",
        f"  {started.run}",
        "",
        f"Faults are injected by {started.stack.toxiproxy_words}. Ctrl-C ends everything.",
    ]
    return "\n".join(lines)


def _table(started: _Up) -> Iterator[tuple[str, str]]:
    stack, prometheus = started.stack, started.prometheus
    for region, url in (stack.targets or {"": stack.target_url}).items():
        yield f"API docs {region}", f"{url}/docs"
        yield f"Status page {region}", f"{url}/status"
    yield "Metrics", stack.metrics_url
    yield "Toxiproxy", f"{stack.toxiproxy_url}/proxies"
    if prometheus is None:
        yield "Prometheus", "not on PATH; the report of a run has its graphs anyway"
        return
    yield "Prometheus", prometheus
    yield "  admitted, refused", local_prometheus.useful_query(prometheus)
    yield "  alerts", f"{prometheus}/alerts"


def _launchday() -> list[str]:
    """How this command was called, for the commands that it shows."""
    called = Path(sys.argv[0])
    return [sys.argv[0]] if called.name == "launchday" else [sys.executable, "-m", "launchday"]
