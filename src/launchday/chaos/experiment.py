"""What breaks and when: faults and experiments as frozen data, and how their files are loaded."""

from __future__ import annotations

import importlib.util
import math
import re
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from launchday.chaos.faults import (
    ATTRIBUTES,
    LONGEST_LATENCY_MS,
    Fault,
    Flapping,
    bandwidth,
    checked_name,
    down,
    latency,
    limit_data,
    reset_peer,
    slicer,
    slow_close,
    timeout,
)
from launchday.chaos.hypothesis import Abort, Hypothesis
from launchday.errors import PreflightError

# The files in chaos/ import all that they need from here.
__all__ = [
    "ATTRIBUTES",
    "LONGEST_LATENCY_MS",
    "Experiment",
    "Fault",
    "Flapping",
    "bandwidth",
    "checked_name",
    "down",
    "latency",
    "limit_data",
    "load_experiment",
    "reset_peer",
    "slicer",
    "slow_close",
    "timeout",
]

PROBES = ("http", "tls", "postgres", "tcp")
WHOLE_SECONDS = 1.0
"""So long at least a fault that grows must stay in its full size: only that is probed."""
_USUAL_ABORT = Abort()


@dataclass(frozen=True)
class Experiment:
    """Faults in one window of a run, and what must hold before, during and after them.

    The window starts `after_seconds` into `phase` (default `peak`; None: after the start of the
    schedule) and lasts `duration_seconds`; each fault has its times in it, and faults that start
    together start in order, one right after the other. `breaks` are beginnings of the names of
    endpoints that must fail meanwhile (default none): during the faults, and as long as recovery
    may take, the verdict looks at all others only.

    `probe` is the protocol in which the effect probe speaks through each link: `http` (default;
    it asks for `probe_path`, default `/healthz`), `tls` (the same in TLS, the certificate not
    verified; what speaks another protocol in TLS can be probed for its handshake), `postgres`, or
    `tcp` for servers that speak first; or a mapping from links to one of these.

    `hypothesis` (default None: the rules of the run alone) is what must hold; `abort` (default: see
    `Abort`; None: never) ends the experiment. Raises ValueError that names the argument.
    """

    title: str
    description: str
    faults: tuple[Fault, ...]
    after_seconds: float
    duration_seconds: float
    phase: str | None = "peak"
    probe_path: str = "/healthz"
    breaks: tuple[str, ...] = ()
    hypothesis: Hypothesis | None = None
    abort: Abort | None = _USUAL_ABORT
    probe: str | Mapping[str, str] = "http"

    def __post_init__(self) -> None:
        if not self.title.strip():
            raise ValueError(f"title must say what is tried, got {self.title!r}")
        _check_faults(self.faults)
        _check_window(self.after_seconds, self.duration_seconds, self.phase)
        _check_breaks(self.breaks)
        _check_probe(self)
        for fault in self.faults:
            _check_in_window(fault, self.duration_seconds)
        _check_together(self)

    @property
    def links(self) -> tuple[str, ...]:
        """The links that the faults touch, each once, in order."""
        return tuple(dict.fromkeys(fault.link for fault in self.faults))

    def probe_of(self, link: str) -> str:
        """The protocol of the effect probe through `link`."""
        return self.probe if isinstance(self.probe, str) else self.probe.get(link, "http")


def _check_window(after_seconds: float, duration_seconds: float, phase: str | None) -> None:
    if not (math.isfinite(after_seconds) and after_seconds >= 0):
        raise ValueError(f"after_seconds must be 0 or more, got {after_seconds!r}")
    if not (math.isfinite(duration_seconds) and duration_seconds > 0):
        raise ValueError(f"duration_seconds must be positive, got {duration_seconds!r}")
    if phase is not None:
        checked_name("phase", phase)


def _check_probe(experiment: Experiment) -> None:
    if not re.fullmatch(r"/[!-~]*", experiment.probe_path):
        raise ValueError(
            f"probe_path must start with / and be ASCII, got {experiment.probe_path!r}"
        )
    probe = experiment.probe
    for link in () if isinstance(probe, str) else probe:
        if link not in experiment.links:
            raise ValueError(f"probe must be about links of the faults, got {link!r}")
    for link in experiment.links:
        if experiment.probe_of(link) not in PROBES:
            raise ValueError(
                f"probe must be one of {', '.join(PROBES)}, got {experiment.probe_of(link)!r}"
            )


def _check_faults(faults: object) -> None:
    # `faults=(latency(...))` is what everybody writes once.
    whole = isinstance(faults, tuple) and all(isinstance(fault, Fault) for fault in faults)
    if not whole or not faults:
        raise ValueError(
            f"faults must be a tuple of at least one Fault, like (down('db'),), got {faults!r}"
        )


def _check_breaks(breaks: object) -> None:
    # `breaks=("eu ")` is what everybody writes once; every name begins with "".
    whole = isinstance(breaks, tuple) and all(isinstance(b, str) and b.strip() for b in breaks)
    if not whole:
        raise ValueError(f"breaks must be a tuple of names, like ('eu ',), got {breaks!r}")


def _check_in_window(fault: Fault, window_seconds: float) -> None:
    if fault.start_seconds >= window_seconds:
        raise ValueError(
            f"start_seconds of {fault.words!r} must be less than the {window_seconds:g} s that the "
            f"experiment lasts, got {fault.start_seconds!r}"
        )
    end = fault.ends_seconds(window_seconds)
    if end > window_seconds:
        raise ValueError(
            f"{fault.words!r} must end within the {window_seconds:g} s that the experiment lasts, "
            f"got start_seconds + duration_seconds = {end:g}"
        )
    longest = end - fault.start_seconds - WHOLE_SECONDS
    if fault.ramp_seconds > max(0.0, longest):
        raise ValueError(
            f"ramp_seconds of {fault.words!r} must be at least {WHOLE_SECONDS:g} s less than the "
            f"{end - fault.start_seconds:g} s that the fault lasts, so that it is seen in its full "
            f"size, got {fault.ramp_seconds!r}"
        )


def _check_together(experiment: Experiment) -> None:
    """Refuse faults that could not be told apart, undone or verified beside each other."""
    order = sorted(experiment.faults, key=lambda fault: fault.start_seconds)
    for number, first in enumerate(order):
        end = first.ends_seconds(experiment.duration_seconds)
        for second in order[number + 1 :]:
            if second.link == first.link and second.start_seconds < end:
                _check_pair(first, second)


def _check_pair(first: Fault, second: Fault) -> None:
    where = f"on {first.link}"
    if first.words == second.words:
        raise ValueError(
            f"faults must not overlap under the same name: {first.words!r} {where} is there twice; "
            "give each a name of its own, or one after the other"
        )
    if first.toxic == "down":
        raise ValueError(
            f"faults must not start {where} while it is down: nothing would show the effect of "
            f"{second.words!r}"
        )
    if second.start_seconds < first.start_seconds + first.ramp_seconds:
        raise ValueError(
            f"faults must not start {where} while {first.words!r} grows: {second.words!r} would "
            "vouch for it"
        )


def load_experiment(name: str, directory: Path) -> Experiment:
    """Import `<directory>/<name>.py`, or the file `name` when it ends in `.py`: its `EXPERIMENT`.

    Raises PreflightError: no such experiment (lists the known ones), or a file that does not
    import (or ends the program) or defines no EXPERIMENT (names file, line and cause).
    """
    path = Path(name) if name.endswith(".py") else directory / f"{name}.py"
    if not path.is_file():
        known = sorted(file.stem for file in directory.glob("[!_]*.py"))
        raise PreflightError(
            f"unknown experiment {name!r}: {directory} has {', '.join(known) or 'none'}"
        )
    experiment = getattr(_imported(path), "EXPERIMENT", None)
    if not isinstance(experiment, Experiment):
        raise PreflightError(f"{path}: defines no EXPERIMENT = Experiment(...)")
    return experiment


def _imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_launchday_experiment_{path.stem}", path)
    assert spec is not None  # a name that ends in .py has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses and pickling look a class's module up while its body runs.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        cause = f"{type(error).__name__}: {getattr(error, 'msg', None) or error}"
        raise PreflightError(f"{path}:{_line_of(error, path)}: {cause}") from error
    finally:
        sys.modules.pop(spec.name, None)
    return module


def _line_of(error: BaseException, path: Path) -> int:
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path.absolute()]
    return (lines[-1] if lines else None) or 1
