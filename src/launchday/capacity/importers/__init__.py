"""Plans from what other tools measured: `read_table` turns their files into loads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from launchday.capacity.importers.jmeter import read_jmeter
from launchday.capacity.importers.k6 import read_k6
from launchday.capacity.importers.locust import read_locust
from launchday.capacity.importers.sniff import refuse_other_tools
from launchday.capacity.importers.source import Source, digest_of, read_sources
from launchday.capacity.importers.table import read_loads
from launchday.capacity.importers.wrk import read_wrk
from launchday.capacity.steps import LeftOut, Measured, Objective, Step
from launchday.errors import RecordError, SettingsError

__all__ = ["KINDS", "read_table"]

_Reader = Callable[
    [Sequence[Source], Objective, Mapping[str, str]], tuple[list[Step], list[LeftOut]]
]

KINDS: Mapping[str, _Reader] = MappingProxyType(
    {
        "csv": read_loads,
        "k6": read_k6,
        "wrk": read_wrk,
        "locust": read_locust,
        "jmeter": read_jmeter,
    }
)
"""What `--from` may name, and who reads it."""

_NO_COLUMNS: Mapping[str, str] = MappingProxyType({})


def read_table(
    paths: Sequence[Path],
    kind: str,
    objective: Objective,
    columns: Mapping[str, str] = _NO_COLUMNS,
) -> Measured:
    """The loads in files of another tool; `kind` is one of `KINDS`.

    `columns` (what to header, kind csv only) choose columns of a table whose names do not say it:
    `{"throughput": "txn_rate", "concurrency": "db_time"}`.

    Raises:
        SettingsError: an unknown kind, the same file twice, `columns` that are not there or have
            no effect.
        RecordError: a file that cannot be read, or holds no load; names file and line.
    """
    if kind not in KINDS:
        raise SettingsError(f"--from {kind}: there is no such kind; one of {', '.join(KINDS)}")
    if columns and kind != "csv":
        raise SettingsError(f"--column has no effect with --from {kind}: its columns are known")
    sources = read_sources(paths)
    for source in sources:
        refuse_other_tools(source, kind)
    steps, left_out = KINDS[kind](sources, objective, columns)
    for step in steps:
        _refuse_nothing(step)
    if not steps:
        names = ", ".join(source.path.name for source in sources)
        first = f": {left_out[0].source}: {left_out[0].reason}" if left_out else ""
        raise RecordError(f"there is no load in {names}{first}")
    return Measured(steps=tuple(steps), left_out=tuple(left_out), digest=digest_of(sources))


def _refuse_nothing(step: Step) -> None:
    """Latencies of 0 ms: faster than the tool's clock."""
    if min(step.concurrency, step.throughput_rps, step.mean_seconds or 0.0) <= 0:
        raise RecordError(f"{step.source}: every request took 0 ms: the tool's clock is too coarse")
