"""One run from preflight to verdict: against any target, or with the local stack around it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from launchday.chaos.experiment import Experiment
from launchday.chaos.lease import LEASE_SECONDS
from launchday.errors import LaunchdayError, PreflightError, RecordError
from launchday.record import Record, Rules, create_run_directory
from launchday.runs.conclude import conclude
from launchday.runs.conduct import RunPlan, conduct
from launchday.runs.preflight import check_answers, check_metrics, check_ownership
from launchday.runs.processes import Processes
from launchday.runs.progress import Progress
from launchday.runs.stack import LocalStack, describe_toxiproxy, running
from launchday.runs.stop import Stop
from launchday.runs.verdict import Verdict

LOGS = "logs"


@dataclass(frozen=True)
class Target:
    """A service that somebody else runs; `admin_token` opens its ledger."""

    url: str
    metrics_url: str | None = None
    health_path: str = "/healthz"
    yours: tuple[str, ...] = ()
    toxiproxy_url: str | None = None
    admin_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Session:
    """What to run, against which target (or with which local stack), and where to record it."""

    title: str
    scenario: Path
    target: Target | LocalStack
    directory: Path
    experiment: Experiment | None = None
    rules: Rules = field(default_factory=Rules)
    seed: int = 1
    request_timeout_seconds: float = 1.0
    late_after_seconds: float = 0.01
    parameters: Mapping[str, str] = field(default_factory=dict)
    processes: int = 1
    lease_seconds: float = LEASE_SECONDS
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"


@dataclass(frozen=True)
class Result:
    """A finished run: its record, verdict, and the error that ended it early, if any."""

    record: Record
    verdict: Verdict
    error: LaunchdayError | None = None

    @property
    def exit_code(self) -> int:
        """The verdict's code, or that of the error that ended the run early."""
        return self.error.exit_code if self.error else self.verdict.exit_code


def run(session: Session, on_progress: Callable[[Progress], None], stop: Stop) -> Result:
    """Run a session and judge it, also if it was interrupted after its load had begun.

    Raises:
        LaunchdayError: it could not be run at all.
    """
    if isinstance(session.target, Target):
        check_ownership(session.target.url, session.target.yours)
        check_answers(session.target.url, session.target.health_path)
        check_metrics(session.target.metrics_url)
    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{session.scenario.stem}"
    path = _new_directory(session.directory, run_id)
    error: LaunchdayError | None = None
    try:
        with Processes(path / LOGS) as processes:
            _conduct(session, path, processes, on_progress, stop)
    except PreflightError:
        raise
    except LaunchdayError as raised:
        error = raised
        if not any(path.glob("samples-*.jsonl")):
            raise
    try:
        record, verdict = conclude(path)
    except RecordError:
        # A full disk, say: what ended the run before matters more than the missing report.
        if error:
            raise error from None
        raise
    return Result(record, verdict, error)


def _new_directory(runs: Path, run_id: str) -> Path:
    for number in range(1, 100):
        name = run_id if number == 1 else f"{run_id}-{number}"
        if not (runs / name).exists():
            return create_run_directory(runs, name)
    return create_run_directory(runs, run_id)


def _conduct(
    session: Session,
    path: Path,
    processes: Processes,
    on_progress: Callable[[Progress], None],
    stop: Stop,
) -> None:
    if isinstance(session.target, LocalStack):
        wanted = session.experiment.links if session.experiment else ()
        with running(replace(session.target, links=wanted), processes, stop) as stack:
            plan = _plan(session, stack.target_url, stack.metrics_url, stack.toxiproxy_url)
            plan = replace(
                plan,
                toxiproxy_words=stack.toxiproxy_words,
                toxiproxy_owned=stack.toxiproxy_owned,
                # Each region has a ledger of its own; one of them alone says nothing.
                admin_token=None if stack.edges else stack.admin_token,
                exclusive=True,
                parameters={
                    **session.parameters,
                    **({"regions": stack.regions} if stack.edges else {}),
                },
                settings={"local": _without_secrets(session.target)},
            )
            conduct(plan, path, processes, on_progress, stop)
        return
    target = session.target
    words = describe_toxiproxy(target.toxiproxy_url) if target.toxiproxy_url else None
    plan = _plan(session, target.url, target.metrics_url, target.toxiproxy_url)
    plan = replace(plan, toxiproxy_words=words, admin_token=target.admin_token)
    conduct(plan, path, processes, on_progress, stop)


def _plan(session: Session, target: str, metrics: str | None, toxiproxy: str | None) -> RunPlan:
    return RunPlan(
        title=session.title,
        scenario=session.scenario,
        target=target,
        rules=session.rules,
        metrics_url=metrics,
        experiment=session.experiment,
        lease_seconds=session.lease_seconds,
        toxiproxy_url=toxiproxy,
        seed=session.seed,
        request_timeout_seconds=session.request_timeout_seconds,
        late_after_seconds=session.late_after_seconds,
        parameters=session.parameters,
        processes=session.processes,
        listen_port=session.metrics_port,
        listen_host=session.metrics_host,
        argv=tuple(sys.argv),
    )


def _without_secrets(stack: LocalStack) -> dict[str, Any]:
    """What the stack was started with; of the database URL, which may hold a password, its kind."""
    kind = (stack.database_url or "sqlite").partition(":")[0]
    return {**asdict(stack), "database_url": kind}
