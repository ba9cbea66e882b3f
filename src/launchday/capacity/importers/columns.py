"""Which column of a table holds what: the usual names, their units, and refusals of doubt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from launchday.capacity.importers.source import Source
from launchday.errors import SettingsError

_SPELT: Mapping[str, str] = {
    "concurrency": "concurrency n size load processors cpus in_flight inflight concurrent "
    "concurrent_requests users user_count threads clients connections vus allthreads",
    "throughput": "throughput tput rate x rps qps tps req_per_s requests_per_s req_per_second "
    "requests_per_second throughput_rps requests_per_sec req_per_sec",
    "offered": "offered offered_rps offered_rate target_rps intended_rps",
    "goodput": "goodput goodput_rps",
    "mean": "mean avg average latency mean_latency avg_latency average_latency latency_mean "
    "latency_avg response_time mean_response_time avg_response_time average_response_time r",
    "errors": "errors error failures failed failure_count error_count",
    "error_share": "error_rate error_share failure_rate error_ratio",
    "error_percent": "error_percent errors_percent error_pct failure_percent",
    "error_rps": "error_rps errors_per_s failures_per_s errors_per_second failures_per_second",
    "shed": "shed rejected throttled shed_count",
    "shed_share": "shed_rate shed_share shed_ratio",
    "shed_percent": "shed_percent shed_pct",
    "shed_rps": "shed_rps shed_per_s rejected_per_s shed_per_second",
    "replicas": "replicas instances",
    "seconds": "seconds duration duration_s duration_seconds held_seconds",
    "requests": "requests request_count count samples total_requests",
    "time": "timestamp time ts second elapsed_seconds",
}
_NAMES = {field: frozenset(names.split()) for field, names in _SPELT.items()}
USERS = frozenset(("users", "user_count", "threads", "clients", "connections", "vus"))
"""Who they are, not what is in flight: they may pause between requests."""

_UNITS = {
    "us": 1e-6,
    "µs": 1e-6,
    "microseconds": 1e-6,
    "ms": 1e-3,
    "millis": 1e-3,
    "milliseconds": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "secs": 1.0,
    "seconds": 1.0,
}
DEFAULT_UNIT = "ms"
_QUANTILE = re.compile(
    r"(?:latency_|response_time_)?(?:p|q|pct|percentile)_?(\d{1,2}(?:[._]\d+)?|99\d{1,3})"
)
_QUANTILE_PERCENT = re.compile(r"(\d{1,2}(?:\.\d+)?)(?:%|th|_percentile|th_percentile)")
_MEDIAN = frozenset({"median", "med", "median_response_time", "median_latency"})


@dataclass(frozen=True)
class Column:
    """A column that is read: where it stands, its header, and seconds per unit (latencies)."""

    index: int
    header: str
    seconds_per_unit: float = 1.0


@dataclass(frozen=True)
class Columns:
    """The columns of a table by what they hold; `quantiles` by the quantile, 0 to 1.

    `unused` are the headers of which nobody knows what they mean.
    """

    by_field: Mapping[str, Column]
    quantiles: Mapping[float, Column]
    unused: tuple[str, ...] = ()


def find_columns(source: Source, header: Sequence[str], chosen: Mapping[str, str]) -> Columns:
    """Which column holds what; `chosen` (field to header) goes before the usual names.

    Raises:
        SettingsError: a chosen field or header does not exist.
        RecordError: two columns could be the same thing, or a header is there twice.
    """
    found: dict[str, Column] = {}
    for field, name in chosen.items():
        column = _chosen(source, header, field, name)
        taken_as = [of for of, other in found.items() if other.index == column.index]
        if taken_as or _field(field) in found:
            again = (
                f"{name!r} is the {taken_as[0]}" if taken_as else f"the {_field(field)} is there"
            )
            raise SettingsError(f"--column {field}={name}: {again} already")
        found[_field(field)] = column
    for index, name in enumerate(header):
        field, unit = _meaning(name)
        if not field or field in _chosen_fields(chosen) or name.strip() in chosen.values():
            continue
        if field in found:
            raise source.refused(
                f"columns {found[field].header!r} and {name!r} could both be the {field}: "
                f"choose with --column {field}=NAME"
            )
        found[field] = Column(index, name, unit)
    quantiles = {float(f[1:]): c for f, c in found.items() if re.fullmatch(r"q0?\.\d+", f)}
    taken = {column.index for column in found.values()}
    unused = tuple(
        title.strip()
        for index, title in enumerate(header)
        if title.strip() and index not in taken and not _meaning(title)[0]
    )
    return Columns({f: c for f, c in found.items() if f in _NAMES}, quantiles, unused)


def _chosen_fields(chosen: Mapping[str, str]) -> frozenset[str]:
    return frozenset(_field(field) for field in chosen)


def _field(name: str) -> str:
    """The field that a user means by `name`, as in `--column p99=slowest_ms`."""
    field, _ = _meaning(name)
    if not field:
        raise SettingsError(
            f"--column {name}=…: there is no such thing as {name!r}; "
            f"one of {', '.join(_NAMES)} or a quantile as p99"
        )
    return field


def _chosen(source: Source, header: Sequence[str], field: str, name: str) -> Column:
    places = [i for i, title in enumerate(header) if title.strip() == name.strip()]
    if len(places) != 1:
        what = "has no column" if not places else "has more than one column"
        raise SettingsError(
            f"--column {field}={name}: {source.path.name} {what} {name!r}; "
            f"it has {', '.join(repr(title) for title in header)}"
        )
    _, unit = _split_unit(_normal(name))
    is_time = _field(field) in ("mean",) or _field(field).startswith("q")
    return Column(places[0], header[places[0]], (unit or _UNITS[DEFAULT_UNIT]) if is_time else 1.0)


def _meaning(title: str) -> tuple[str, float]:
    """The field of a header (`q0.99` for a quantile; empty: unknown) and its seconds per unit."""
    name = _normal(title)
    for field, names in _NAMES.items():
        if name in names:
            return field, _UNITS[DEFAULT_UNIT] if field == "mean" else 1.0
    bare, unit = _split_unit(name)
    seconds = unit or _UNITS[DEFAULT_UNIT]
    if bare in _NAMES["mean"]:
        return "mean", seconds
    quantile = _quantile(bare)
    return (f"q{quantile!r}", seconds) if quantile else ("", 1.0)


def _quantile(name: str) -> float | None:
    if name in _MEDIAN:
        return 0.5
    match = _QUANTILE.fullmatch(name) or _QUANTILE_PERCENT.fullmatch(name)
    if match is None:
        return None
    digits = match[1].replace("_", ".")
    if "." not in digits:  # p999 is 99.9 %
        digits = f"{digits[:2]}.{digits[2:] or 0}"
    value = float(f"{float(digits) / 100:.8g}")
    return value if 0 < value < 1 else None


def _normal(title: str) -> str:
    """Lower case, units in brackets as a suffix, `/s` spelt out, blanks and dashes as `_`."""
    name = title.strip().lower()
    name = re.sub(r"\s*/\s*(s|sec|second)\b", "_per_s", name)
    name = re.sub(r"\s*[(\[]\s*([^)\]]*?)\s*[)\]]\s*$", r"_\1", name)
    return re.sub(r"[\s\-]+", "_", name).strip("_")


def _split_unit(name: str) -> tuple[str, float | None]:
    bare, _, suffix = name.rpartition("_")
    return (bare, _UNITS[suffix]) if bare and suffix in _UNITS else (name, None)
