"""A curve from a CSV of a real day."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Literal

from launchday.rate_curve import Phase, RateCurve

Values = Literal["rate", "count"]
PEAK_SHARE = 0.1
_NAMES: dict[str, Values] = {
    **dict.fromkeys(("rate", "rate_rps", "rps", "qps", "requests_per_second"), "rate"),
    **dict.fromkeys(("count", "counts", "requests", "arrivals", "hits"), "count"),
}
_SPACING_TOLERANCE = 0.01


def curve_from_csv(path: Path | str, *, values: Values | None = None) -> RateCurve:
    """The curve of a file with the columns time and rate, or time and count.

    Times are seconds (also since the epoch) or ISO 8601, in order; the curve starts at the first.
    Rates are arrivals per second and are joined by straight lines, two at the same time make a
    step. A count is of the interval that starts at its time; intervals are equally long, and the
    count of each is kept exactly: its rate is count / length. The header says which it is (`rate`,
    `rps`, `qps`; `count`, `requests`, `arrivals`, `hits`), or else `values` does. The first line
    is a header if its first cell is no time.

    The phase `peak` is the tenth of the time that holds most arrivals, between `before` and
    `after`.

    Raises:
        ValueError: the file cannot be read, or a line makes no sense; says which line and why.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = list(_rows(csv.reader(file)))
        kind, rows = _kind(rows, values)
        times, numbers = _times(rows), [_value(line, cell, kind) for line, _, cell in rows]
        curve = (
            _from_counts(rows, times, numbers) if kind == "count" else _from_rates(times, numbers)
        )
        _check_countable(curve)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 (byte {error.start})") from error
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from error
    return with_peak(curve)


def with_peak(curve: RateCurve, share: float = PEAK_SHARE) -> RateCurve:
    """The curve with the phases `before`, `peak`, `after` in place of its own.

    The peak is `share` of the curve's time: of all stretches of that length that start or end at
    a breakpoint the one with most arrivals (the first, if several have as many).

    Raises:
        ValueError: `share` is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share!r}")
    length = share * curve.duration_seconds
    latest = curve.duration_seconds - length
    starts = {min(max(t - back, 0.0), latest) for t, _ in curve.points for back in (0.0, length)}
    start = max(sorted(starts), key=lambda at: curve.cumulative(at + length) - curve.cumulative(at))
    end = min(start + length, curve.duration_seconds)
    phases = (
        Phase("before", 0.0, start),
        Phase("peak", start, end),
        Phase("after", end, curve.duration_seconds),
    )
    return replace(curve, phases=tuple(p for p in phases if p.end_seconds > p.start_seconds))


Row = tuple[int, str, str]
"""line number, time, value"""


def _rows(lines: Iterator[list[str]]) -> Iterator[Row]:
    for number, cells in enumerate(lines, 1):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != 2:
            hint = "; separate them by a comma" if ";" in cells[0] or "\t" in cells[0] else ""
            raise ValueError(
                f"line {number} has {len(cells)} column(s); it must have two, time and rate or "
                f"count{hint}"
            )
        yield number, cells[0].strip(), cells[1].strip()


def _kind(rows: list[Row], values: Values | None) -> tuple[Values, list[Row]]:
    """Whether values are rates or counts, and the rows without a header."""
    if not rows:
        raise ValueError("the file is empty")
    line, first, name = rows[0]
    header = None
    if not (_is_time(first) or _resembles_number(name)):
        header, rows = name, rows[1:]
    if len(rows) < 2:
        raise ValueError(f"there must be at least two lines of data, got {len(rows)}")
    kind = values or _NAMES.get((header or "").lower().replace(" ", "_"))
    if kind is None:
        what = f"calls its values {header!r}" if header else "has no header"
        raise ValueError(
            f"line {line} {what}: name the column rate or count, or say which it is "
            "(values: rate or count)"
        )
    return kind, rows


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return _resembles_number(text)
    return True


def _resembles_number(text: str) -> bool:
    # Looser than _number: a first line with 1_000 is wrong data, and no header.
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(text: str) -> float:
    if "_" in text:  # Python's own 1_000: no other reader of the file takes it for a number
        raise ValueError
    return float(text)


def _times(rows: list[Row]) -> list[float]:
    """Seconds from the first row on."""
    found = [_time(line, text) for line, text, _ in rows]
    start, first_kind = found[0]
    for (line, text, _), (_, kind) in zip(rows, found, strict=True):
        if kind != first_kind:
            raise ValueError(f"line {line}: {text!r} is {kind}, the lines before are {first_kind}")
    times = [seconds - start for seconds, _ in found]
    for (line, text, _), (before, now) in zip(rows[1:], pairwise(times), strict=True):
        if now < before:
            raise ValueError(
                f"line {line}: {text!r} is earlier than the line before; sort the file"
            )
    if times[-1] <= 0:
        raise ValueError(f"every line is at {rows[0][1]!r}: the curve has no length")
    return times


def _time(line: int, text: str) -> tuple[float, str]:
    try:
        seconds = _number(text)
    except ValueError:
        return _iso_time(line, text)
    if not math.isfinite(seconds):
        raise ValueError(f"line {line}: the time must be finite, got {text!r}")
    return seconds, "in seconds"


def _iso_time(line: int, text: str) -> tuple[float, str]:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"line {line}: the time must be in seconds or ISO 8601 (2026-11-21T18:00:00Z), got "
            f"{text!r}"
        ) from None
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC).timestamp(), "ISO 8601 without a time zone"
    return moment.timestamp(), "ISO 8601 with a time zone"


def _value(line: int, text: str, kind: Values) -> float:
    try:
        value = _number(text)
    except ValueError:
        raise ValueError(f"line {line}: the {kind} must be a number, got {text!r}") from None
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"line {line}: the {kind} must be finite and at least 0, got {text!r}")
    return value


def _check_countable(curve: RateCurve) -> None:
    # Twice the rate times the time is above every sum and product of the integration.
    if not math.isfinite(2 * curve.peak_rps * max(curve.duration_seconds, 1.0)):
        raise ValueError(
            f"rates of up to {curve.peak_rps:g} per second for {curve.duration_seconds:g} s add up "
            "to more arrivals than a number can hold: correct the values"
        )


def _from_rates(times: list[float], rates: list[float]) -> RateCurve:
    return RateCurve(tuple(zip(times, rates, strict=True)))


def _from_counts(rows: list[Row], times: list[float], counts: list[float]) -> RateCurve:
    length = times[1]
    for (line, _, _), (before, now) in zip(rows[1:], pairwise(times), strict=True):
        if abs(now - before - length) > _SPACING_TOLERANCE * length or now == before:
            raise ValueError(
                f"line {line} is {now - before:g} s after the line before, the second line "
                f"{length:g} s after the first: counts need equal intervals, and a line for those "
                "with 0, too"
            )
    ends = [*times[1:], times[-1] + length]
    points: list[tuple[float, float]] = []
    for start, end, count in zip(times, ends, counts, strict=True):
        points += [(start, count / (end - start)), (end, count / (end - start))]
    return RateCurve(tuple(points))
