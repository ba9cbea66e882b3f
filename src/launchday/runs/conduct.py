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
from launchday.chaos.inject import Injection, injected
from launchday.chaos.inject import preflight as check_links
from launchday.chaos.injection import AHEAD_SECONDS
from launchday.chaos.lease import LEASE_SECONDS, LeaseLostError
from launchday.chaos.timetable import active_seconds
from launchday.chaos.toxiproxy import Toxiproxy
from launchday.errors import GeneratorError, PreflightError, RecordError
from launchday.load.generator import GeneratorPlan, command, environment, why_it_failed
from launchday.record import (
    FAULTS_FILE,
    AppendLog,
    Rules,
    RunInfo,
    Schedule,
    write_run_info,
)
from launchday.runs.abort import AbortWatch
from launchday.runs.exposition import exposed
from launchday.runs.fault_window import fault_window
from launchday.runs.hypotheses import CannotTellError, check_room, require_steady
from launchday.runs.processes import Child, Processes, free_port
from launchday.runs.progress import LiveRecord, Progress
from launchday.runs.schedule_clock import ScheduleClock
from launchday.runs.scrape import Scraper
from launchday.runs.steady_watch import SteadyWatch
from launchday.runs.stop import Interrupted, Stop
from launchday.runs.stored import Question, ask

_TICK_SECONDS = 0.5
_FAULT_TICK_SECONDS = 0.1  # steps of ramps and flaps must not come late
_LATE_SECONDS = 2.0
_START_SECONDS = 60.0
_DRAIN_SECONDS = 30.0


@dataclass(frozen=True)
class RunPlan:
    """Everything that one run needs; it is written to run.json.

    `experiment` needs `toxiproxy_url`; `metrics_url` may be None for a target without metrics.
    `lease_seconds` (default 10): faults are undone when the conductor hangs for so long.
    `listen_port` is where the conductor's own metrics are (default None: nowhere); those of its
    generator processes are on the ports after it.
    `admin_token` is for asking the target what it stored, and the one thing that is not written
    down; `exclusive`: nobody but this run uses the target.
    """

    title: str
    scenario: Path
    target: str
    rules: Rules = field(default_factory=Rules)
    metrics_url: str | None = None
    listen_port: int | None = None
    listen_host: str = "127.0.0.1"
    experiment: Experiment | None = None
    toxiproxy_url: str | None = None
    toxiproxy_words: str | None = None
    toxiproxy_owned: bool = False
    lease_seconds: float = LEASE_SECONDS
    admin_token: str | None = field(default=None, repr=False)
    exclusive: bool = False
    seed: int = 1
    request_timeout_seconds: float = 1.0
    late_after_seconds: float = 0.01
    parameters: Mapping[str, str] = field(default_factory=dict)
    processes: int = 1
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
        NotSteadyError: the target was not steady before the faults; none was injected.
        CannotTellError: nobody can say whether it was, or the conductor stood still meanwhile.
        LeaseLostError: it stood still during the faults, and they were taken away.
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
            "processes": plan.processes,
            "experiment": asdict(plan.experiment) if plan.experiment else None,
        },
    )


def _refuse_late(late_seconds: float, window_seconds: float) -> None:
    """Inject nothing into what is left of a window when most of it went by unattended."""
    if late_seconds > max(_LATE_SECONDS, window_seconds / 2):
        raise CannotTellError(
            f"the conductor stood still: the faults would come {late_seconds:.1f} s late, and were "
            f"to last {window_seconds:g} s; none was injected"
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
        self._gauges = stack.enter_context(exposed(plan.listen_port, plan.listen_host))
        self._live = stack.enter_context(closing(LiveRecord(path)))
        self._scraper = stack.enter_context(Scraper(plan.metrics_url, path))
        hypothesis = plan.experiment.hypothesis if plan.experiment else None
        # Judging costs time of the run: only where somebody is told.
        told = hypothesis if plan.listen_port is not None else None
        self._steady = SteadyWatch(told) if told else None
        self._fault_words = ""
        self._ticked = 0.0
        self._clock: ScheduleClock | None = None
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
            processes=self._plan.processes,
            master_port=free_port(0, "the generator's master", ""),
            # Beside the conductor's own; a worker more, a port more.
            metrics_port=self._plan.listen_port and self._plan.listen_port + 1,
            metrics_host=self._plan.listen_host,
        )
        home = self._processes.logs
        home.mkdir(parents=True, exist_ok=True)
        self._generator = self._processes.start(
            "generator", command(plan), env=environment(home), cwd=home
        )

    def _wait_for_schedule(self) -> Schedule:
        """Each of its processes says what it is going to do before its first arrival."""
        deadline = time.monotonic() + _START_SECONDS
        while len(self._live.record.schedules) < self._plan.processes:
            self._check_generator()
            if time.monotonic() > deadline:
                raise GeneratorError(
                    f"{self._plan.scenario.name} began no schedule within {_START_SECONDS:.0f} s; "
                    "it needs a SurgeShape and an ArrivalUser of launchday.load.locust_user"
                )
            self._stop.wait(0.1)
            self._live.poll()
        return self._live.record.schedules[0]

    def _follow_with_faults(
        self, schedule: Schedule, toxiproxy: Toxiproxy, experiment: Experiment
    ) -> None:
        start, end = fault_window(schedule, experiment)
        if experiment.hypothesis:
            check_room(experiment.title, experiment.hypothesis, schedule, start, end)
        self._note_plan(experiment, start)
        self._follow(schedule, until_seconds=start - AHEAD_SECONDS)
        _refuse_late(self._elapsed(schedule) - start, end - start)
        with injected(
            toxiproxy,
            experiment,
            self._note,
            run_id=self._path.name,
            log=self._path / FAULTS_FILE,
            owned=self._plan.toxiproxy_owned,
            lease_seconds=self._plan.lease_seconds,
            wait=lambda seconds: self._wait(schedule, seconds),
            settle=False,
        ) as injection:
            self._probe_ahead(schedule, injection, start)
            now = self._elapsed(schedule)
            _refuse_late(now - start, end - start)
            require_steady(self._live.record, experiment, now, self._note)
            self._move_faults(schedule, injection, start, end)
        self._fault_words = ""
        self._follow_to_the_end(schedule)

    def _probe_ahead(self, schedule: Schedule, injection: Injection, start: float) -> None:
        """Look at the links before the window begins: probes take time that is the faults'."""
        try:
            while (now := self._elapsed(schedule)) < start:
                injection.advance(now - start)
                self._look(schedule)
                self._check_generator()
                self._stop.wait(_FAULT_TICK_SECONDS)
        except LeaseLostError as error:
            raise CannotTellError(
                f"the conductor stood still before the faults; none was injected ({error})"
            ) from error

    def _move_faults(
        self, schedule: Schedule, injection: Injection, start: float, end: float
    ) -> None:
        """Keep the timetable of the faults until their window is over, or they must end early."""
        experiment = injection.experiment
        watch = AbortWatch(experiment.abort, experiment.breaks, start) if experiment.abort else None
        while (now := self._elapsed(schedule)) < end or injection.is_looking:
            injection.advance(now - start)
            self._fault_words = injection.active_words
            self._look(schedule)
            reason = watch.reason(self._live.record, now) if watch else None
            if reason:
                injection.abort(reason)
                return
            self._check_generator()
            self._stop.wait(_FAULT_TICK_SECONDS)
        injection.note_use()

    def _note_plan(self, experiment: Experiment, start: float) -> None:
        active = active_seconds(experiment)
        for number, fault in enumerate(experiment.faults):
            self._note(
                {
                    "event": "planned",
                    "experiment": experiment.title,
                    "link": fault.link,
                    "fault": fault.words,
                    "unix": time.time(),
                    "start_seconds": start + fault.start_seconds,
                    "end_seconds": start + fault.ends_seconds(experiment.duration_seconds),
                    "active_seconds": active[number],
                }
            )

    def _note(self, event: dict[str, object]) -> None:
        self._faults.write(event)
        self._gauges.saw(event)

    def _elapsed(self, schedule: Schedule) -> float:
        """Seconds into the schedule, also when the clock of the wall is set meanwhile."""
        if self._clock is None:
            self._clock = ScheduleClock(schedule.epoch_unix)
        return self._clock.elapsed_seconds()

    def _follow(self, schedule: Schedule, until_seconds: float) -> None:
        while self._elapsed(schedule) < until_seconds:
            self._tick(schedule)
            self._check_generator()

    def _follow_to_the_end(self, schedule: Schedule) -> None:
        deadline = schedule.duration_seconds + _DRAIN_SECONDS
        while self._generator.running:
            self._tick(schedule)
            if self._elapsed(schedule) > deadline:
                raise GeneratorError(
                    f"Locust did not end within {_DRAIN_SECONDS:.0f} s of its schedule "
                    f"(log: {self._generator.log})"
                )
        self._check_generator(ended_is_fine=True)

    def _tick(self, schedule: Schedule) -> None:
        self._wait(schedule, _TICK_SECONDS)

    def _wait(self, schedule: Schedule, seconds: float) -> None:
        self._look(schedule)
        self._stop.wait(seconds)

    def _look(self, schedule: Schedule) -> None:
        """Read and show what was recorded, at most every half second: it costs time of the run."""
        if time.monotonic() - self._ticked < 0.9 * _TICK_SECONDS:
            return
        self._ticked = time.monotonic()
        self._live.poll()
        fault = self._fault_words or None
        progress = self._live.progress(schedule, time.time(), fault)
        self._gauges.at(
            self._path.name,
            (phase.name for phase in schedule.phases),
            progress.phase,
            schedule.curve.rate(progress.elapsed_seconds),
        )
        self._tell_steady(schedule)
        self._on_progress(progress)
        if self._scraper.failed:
            raise self._scraper.failed

    def _tell_steady(self, schedule: Schedule) -> None:
        if self._steady and self._plan.experiment:
            judged = self._steady.judged(self._live.record, self._elapsed(schedule))
            self._gauges.steady(self._plan.experiment.title, judged)

    def _check_generator(self, *, ended_is_fine: bool = False) -> None:
        code = self._generator.exit_code
        if code is None or (code == 0 and ended_is_fine):
            return
        log = self._generator.log.read_text(encoding="utf-8", errors="replace")
        killed = f"it was killed by signal {code - 128}" if code > 128 else ""
        why = killed or why_it_failed(log, self._plan.scenario)
        raise GeneratorError(f"the generator stopped early (exit {code}): {why}")
