"""Conducts one run: starts the generator, injects faults in time, writes the record.

The only place where load and chaos meet.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from launchday.chaos.experiment import Experiment
from launchday.chaos.inject import injected
from launchday.chaos.inject import preflight as check_links
from launchday.chaos.toxiproxy import Toxiproxy
from launchday.errors import GeneratorError, PreflightError, RecordError
from launchday.load.generator import GeneratorPlan, command, environment, why_it_failed
from launchday.rate_curve import Phase
from launchday.record import (
    FAULTS_FILE,
    AppendLog,
    Rules,
    RunInfo,
    Schedule,
    write_run_info,
)
from launchday.runs.processes import Child, Processes
from launchday.runs.progress import LiveRecord, Progress
from launchday.runs.scrape import Scraper
from launchday.runs.stop import Interrupted, Stop
from launchday.runs.stored import Question, ask

_TICK_SECONDS = 0.5
_START_SECONDS = 60.0
_DRAIN_SECONDS = 30.0


@dataclass(frozen=True)
class RunPlan:
    """Everything that one run needs; it is written to run.json.

    `experiment` needs `toxiproxy_url`; `metrics_url` may be None for a target without metrics.
    `admin_token` is for asking the target what it stored, and the one thing that is not written
    down; `exclusive`: nobody but this run uses the target.
    """

    title: str
    scenario: Path
    target: str
    rules: Rules = field(default_factory=Rules)
    metrics_url: str | None = None
    experiment: Experiment | None = None
    toxiproxy_url: str | None = None
    toxiproxy_words: str | None = None
    toxiproxy_owned: bool = False
    admin_token: str | None = field(default=None, repr=False)
    exclusive: bool = False
    seed: int = 1
    request_timeout_seconds: float = 1.0
    late_after_seconds: float = 0.01
    parameters: Mapping[str, str] = field(default_factory=dict)
    argv: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def conduct(
    plan: RunPlan,
    path: Path,
    processes: Processes,
    on_progress: Callable[[Progress], None],
    stop: Stop,
) -> None:
    """Run `plan` and leave its record in the directory `path`.

    Raises:
        PreflightError: a link is unknown or dirty, or the experiment's phase does not exist.
        GeneratorError: Locust did not start or stopped early.
        RecordError: the record cannot be written.
        ResidualFaultError: a fault could not be undone.
        Interrupted: the user asked to stop; faults are undone.
    """
    info = _run_info(plan, path)
    write_run_info(path, info)
    ended = "failed"
    try:
        with ExitStack() as stack:
            _Conductor(plan, path, processes, on_progress, stop, stack).run()
        question = Question(plan.target, plan.admin_token, info.started_unix, plan.exclusive)
        ask(question, path, stop)
        ended = "completed"
    except Interrupted:
        ended = "interrupted"
        raise
    finally:
        # A full disk must not hide what went wrong before: a fault that stayed, say.
        with suppress(RecordError):
            write_run_info(path, replace(info, ended=ended, ended_unix=time.time()))


def _run_info(plan: RunPlan, path: Path) -> RunInfo:
    versions = {name: version(name) for name in ("launchday", "locust", "toxiproxy-python")}
    return RunInfo(
        run_id=path.name,
        scenario=plan.scenario.stem,
        target=plan.target,
        started_unix=time.time(),
        title=plan.title,
        experiment=plan.experiment.title if plan.experiment else None,
        rules=plan.rules,
        toxiproxy=plan.toxiproxy_words,
        argv=plan.argv,
        versions=versions | {"python": platform.python_version()},
        settings={
            **plan.settings,
            "seed": plan.seed,
            "request_timeout_seconds": plan.request_timeout_seconds,
            "late_after_seconds": plan.late_after_seconds,
            "parameters": dict(plan.parameters),
            "experiment": asdict(plan.experiment) if plan.experiment else None,
        },
    )


class _Conductor:
    """The moving parts of one run, opened on `stack` and closed with it."""

    def __init__(
        self,
        plan: RunPlan,
        path: Path,
        processes: Processes,
        on_progress: Callable[[Progress], None],
        stop: Stop,
        stack: ExitStack,
    ) -> None:
        self._plan = plan
        self._path = path
        self._processes = processes
        self._on_progress = on_progress
        self._stop = stop
        self._faults = stack.enter_context(closing(AppendLog(path / FAULTS_FILE)))
        self._live = stack.enter_context(closing(LiveRecord(path)))
        self._scraper = stack.enter_context(Scraper(plan.metrics_url, path))
        self._fault_words: str | None = None
        self._generator: Child

    def run(self) -> None:
        experiment = self._plan.experiment
        if experiment is None:
            self._start_generator()
            self._follow_to_the_end(self._wait_for_schedule())
            return
        if self._plan.toxiproxy_url is None:
            raise PreflightError(
                "an experiment needs a Toxiproxy between the target and its dependencies: set "
                "TOXIPROXY_URL, or use --local, which starts one"
            )
        with closing(Toxiproxy(self._plan.toxiproxy_url)) as toxiproxy:
            check_links(toxiproxy, experiment)
            self._start_generator()
            self._follow_with_faults(self._wait_for_schedule(), toxiproxy, experiment)

    def _start_generator(self) -> None:
        plan = GeneratorPlan(
            scenario=self._plan.scenario,
            target=self._plan.target,
            record=self._path,
            seed=self._plan.seed,
            objective_seconds=self._plan.rules.objective_seconds,
            request_timeout_seconds=self._plan.request_timeout_seconds,
            late_after_seconds=self._plan.late_after_seconds,
            parameters=self._plan.parameters,
        )
        home = self._processes.logs
        home.mkdir(parents=True, exist_ok=True)
        self._generator = self._processes.start(
            "generator", command(plan), env=environment(home), cwd=home
        )

    def _wait_for_schedule(self) -> Schedule:
        """The generator says what it is going to do before its first arrival."""
        deadline = time.monotonic() + _START_SECONDS
        while self._live.record.schedule is None:
            self._check_generator()
            if time.monotonic() > deadline:
                raise GeneratorError(
                    f"{self._plan.scenario.name} began no schedule within {_START_SECONDS:.0f} s; "
                    "it needs a SurgeShape and an ArrivalUser of launchday.load.locust_user"
                )
            self._stop.wait(0.1)
            self._live.poll()
        return self._live.record.schedule

    def _follow_with_faults(
        self, schedule: Schedule, toxiproxy: Toxiproxy, experiment: Experiment
    ) -> None:
        start = _fault_start(schedule, experiment)
        end = start + experiment.duration_seconds
        for fault in experiment.faults:
            self._faults.write(
                {
                    "event": "planned",
                    "experiment": experiment.title,
                    "link": fault.link,
                    "fault": fault.words,
                    "unix": time.time(),
                    "start_seconds": start,
                    "end_seconds": end,
                }
            )
        self._follow(schedule, until_seconds=start)
        with injected(
            toxiproxy,
            experiment,
            self._faults.write,
            run_id=self._path.name,
            log=self._path / FAULTS_FILE,
            owned=self._plan.toxiproxy_owned,
        ):
            self._fault_words = ", ".join(f"{f.words} on {f.link}" for f in experiment.faults)
            self._follow(schedule, until_seconds=end)
        self._fault_words = None
        self._follow_to_the_end(schedule)

    def _follow(self, schedule: Schedule, until_seconds: float) -> None:
        while time.time() - schedule.epoch_unix < until_seconds:
            self._tick(schedule)
            self._check_generator()

    def _follow_to_the_end(self, schedule: Schedule) -> None:
        deadline = schedule.epoch_unix + schedule.duration_seconds + _DRAIN_SECONDS
        while self._generator.running:
            self._tick(schedule)
            if time.time() > deadline:
                raise GeneratorError(
                    f"Locust did not end within {_DRAIN_SECONDS:.0f} s of its schedule "
                    f"(log: {self._generator.log})"
                )
        self._check_generator(ended_is_fine=True)

    def _tick(self, schedule: Schedule) -> None:
        self._live.poll()
        self._on_progress(self._live.progress(schedule, time.time(), self._fault_words))
        if self._scraper.failed:
            raise self._scraper.failed
        self._stop.wait(_TICK_SECONDS)

    def _check_generator(self, *, ended_is_fine: bool = False) -> None:
        code = self._generator.exit_code
        if code is None or (code == 0 and ended_is_fine):
            return
        log = self._generator.log.read_text(encoding="utf-8", errors="replace")
        killed = f"it was killed by signal {code - 128}" if code > 128 else ""
        why = killed or why_it_failed(log, self._plan.scenario)
        raise GeneratorError(f"the generator stopped early (exit {code}): {why}")


def _fault_start(schedule: Schedule, experiment: Experiment) -> float:
    for phase in schedule.phases:
        if phase.name == experiment.phase:
            start = phase.start_seconds + experiment.after_seconds
            _check_fits(schedule, experiment, phase, start)
            return start
    known = ", ".join(phase.name for phase in schedule.phases) or "none"
    raise PreflightError(
        f"experiment {experiment.title!r} starts in phase {experiment.phase!r}, which the scenario "
        f"does not have; its phases are: {known}"
    )


def _check_fits(
    schedule: Schedule, experiment: Experiment, phase: Phase, start_seconds: float
) -> None:
    lasts = phase.end_seconds - phase.start_seconds
    if start_seconds >= phase.end_seconds:
        raise PreflightError(
            f"experiment {experiment.title!r} starts {experiment.after_seconds:g} s into the phase "
            f"{phase.name!r}, which lasts only {lasts:g} s: make the phase longer"
        )
    end_seconds = start_seconds + experiment.duration_seconds
    if end_seconds >= schedule.duration_seconds:
        raise PreflightError(
            f"experiment {experiment.title!r} ends at {end_seconds:g} s, after the schedule of the "
            f"scenario ({schedule.duration_seconds:g} s): nobody would see the recovery"
        )
