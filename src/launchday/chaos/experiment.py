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

from launchday.errors import PreflightError

NAME_PATTERN = re.compile(r"[A-Za-z0-9_.-]+")
LONGEST_LATENCY_MS = 3_600_000
STREAMS = ("downstream", "upstream")
# `down` is no toxic of Toxiproxy: the proxy of the link is disabled.
ATTRIBUTES = {"latency": ("latency", "jitter"), "timeout": ("timeout",), "down": ()}


def checked_name(argument: str, value: str) -> str:
    """Return `value` when Toxiproxy can address it in a URL, else raise ValueError."""
    if not isinstance(value, str) or not NAME_PATTERN.fullmatch(value):
        raise ValueError(f"{argument} must consist of letters, digits, _ . -, got {value!r}")
    return value


@dataclass(frozen=True)
class Fault:
    """One injected failure on one link.

    `toxic` is `latency`, `timeout` or `down`; `attributes` are those of Toxiproxy, in ms.
    `stream` is `downstream` (answers, the default) or `upstream` (requests).
    `toxicity` is the share of connections that are hit, 0 to 1; each connection draws once.
    Raises ValueError that names the argument and the value.
    """

    link: str
    toxic: str
    attributes: Mapping[str, int]
    stream: str = "downstream"
    toxicity: float = 1.0

    def __post_init__(self) -> None:
        checked_name("link", self.link)
        if self.toxic not in ATTRIBUTES:
            raise ValueError(f"toxic must be one of {', '.join(ATTRIBUTES)}, got {self.toxic!r}")
        if set(self.attributes) != set(ATTRIBUTES[self.toxic]):
            wanted = ", ".join(ATTRIBUTES[self.toxic]) or "nothing"
            raise ValueError(f"attributes of {self.toxic} must be {wanted}, got {self.attributes}")
        for name, value in self.attributes.items():
            _check_ms(f"{name}_ms", value)
        if self.jitter_ms > self.attributes.get("latency", 0):
            raise ValueError(f"jitter_ms must be 0 to latency_ms, got {self.jitter_ms!r}")
        if self.stream not in STREAMS:
            raise ValueError(f"stream must be downstream or upstream, got {self.stream!r}")
        if not 0 <= self.toxicity <= 1:
            raise ValueError(f"toxicity must be 0 to 1, got {self.toxicity!r}")

    @property
    def jitter_ms(self) -> int:
        """How far a latency strays to both sides; 0 for faults of another kind."""
        return self.attributes.get("jitter", 0)

    @property
    def words(self) -> str:
        """The fault as a person would say it, for reports: `latency 400 ms ± 100 downstream`."""
        if self.toxic == "down":
            return "down"
        value = f"{self.toxic} {self.attributes[self.toxic]} ms"
        jitter = f" ± {self.jitter_ms}" if self.jitter_ms else ""
        share = f" on {self.toxicity:.0%} of connections" if self.toxicity < 1 else ""
        return f"{value}{jitter} {self.stream}{share}"


def _check_ms(argument: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{argument} must be a whole number, got {value!r}")
    if not 0 <= value <= LONGEST_LATENCY_MS:
        raise ValueError(f"{argument} must be 0 to {LONGEST_LATENCY_MS}, got {value!r}")


def latency(
    link: str,
    *,
    latency_ms: int,
    jitter_ms: int = 0,
    stream: str = "downstream",
    toxicity: float = 1.0,
) -> Fault:
    """Every chunk arrives `latency_ms` ± `jitter_ms` later; once per round trip and stream."""
    return Fault(link, "latency", {"latency": latency_ms, "jitter": jitter_ms}, stream, toxicity)


def timeout(
    link: str, *, timeout_ms: int = 0, stream: str = "downstream", toxicity: float = 1.0
) -> Fault:
    """No data passes; the connection closes after `timeout_ms` of silence, 0 (default) = never."""
    return Fault(link, "timeout", {"timeout": timeout_ms}, stream, toxicity)


def down(link: str) -> Fault:
    """Nobody listens: new connections are refused, live ones are closed."""
    return Fault(link, "down", {})


def _check_faults(faults: object) -> None:
    # `faults=(latency(...))` is what everybody writes once.
    whole = isinstance(faults, tuple) and all(isinstance(fault, Fault) for fault in faults)
    if not whole or not faults:
        raise ValueError(
            f"faults must be a tuple of at least one Fault, like (down('db'),), got {faults!r}"
        )


@dataclass(frozen=True)
class Experiment:
    """Faults that start in one phase of a scenario, in order, one right after the other.

    `after_seconds` is counted from the start of `phase` (default `peak`); `duration_seconds` is
    how long the faults last. `breaks` are beginnings of the names of endpoints that must fail
    meanwhile (default none): during the faults, and as long as recovery may take, the verdict
    looks at all others only. `probe_path` (default `/healthz`) is what
    the effect probe asks for through each link. Raises ValueError that names the argument.
    """

    title: str
    description: str
    faults: tuple[Fault, ...]
    after_seconds: float
    duration_seconds: float
    phase: str = "peak"
    probe_path: str = "/healthz"
    breaks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.title.strip():
            raise ValueError(f"title must say what is tried, got {self.title!r}")
        _check_faults(self.faults)
        if not (math.isfinite(self.after_seconds) and self.after_seconds >= 0):
            raise ValueError(f"after_seconds must be 0 or more, got {self.after_seconds!r}")
        if not (math.isfinite(self.duration_seconds) and self.duration_seconds > 0):
            raise ValueError(f"duration_seconds must be positive, got {self.duration_seconds!r}")
        checked_name("phase", self.phase)
        if not re.fullmatch(r"/[!-~]*", self.probe_path):
            raise ValueError(f"probe_path must start with / and be ASCII, got {self.probe_path!r}")

    @property
    def links(self) -> tuple[str, ...]:
        """The links that the faults touch, each once, in order."""
        return tuple(dict.fromkeys(fault.link for fault in self.faults))


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
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path]
    return (lines[-1] if lines else None) or 1
