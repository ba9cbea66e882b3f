"""What a plot of a curve shows, and the plot for a terminal: plain lines of text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from launchday.load.arrivals import Mode, schedule
from launchday.rate_curve import Phase, Points, RateCurve

MOST_DRAWN = 5_000_000
_MOST_POINTS = 2000
_ROWS = 12
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_HASHES = "    #####"


@dataclass(frozen=True)
class Drawn:
    """One schedule drawn from a curve, counted in bins of equal length."""

    mode: Mode
    seed: int
    bin_seconds: float
    counts: tuple[int, ...]

    @property
    def rates(self) -> tuple[float, ...]:
        """Arrivals per second of each bin."""
        return tuple(count / self.bin_seconds for count in self.counts)


@dataclass(frozen=True)
class CurveView:
    """A curve with what is written around it.

    `parameters` are rows of name, value with unit, and meaning.
    """

    title: str
    summary: str
    curve: RateCurve
    source: str = ""
    parameters: tuple[tuple[str, str, str], ...] = ()
    arrivals: tuple[Mode, int] | None = None

    def drawn(self, bins: int | None = None) -> Drawn | None:
        """The schedule of `arrivals` (mode and seed) in so many bins, by default of about 1 s."""
        if self.arrivals is None:
            return None
        mode, seed = self.arrivals
        bins = bins or min(400, max(50, math.ceil(self.curve.duration_seconds)))
        return draw(self.curve, mode, seed, bins)


def draw(curve: RateCurve, mode: Mode, seed: int, bins: int) -> Drawn:
    """Count the arrivals of a schedule in bins.

    Raises:
        ValueError: the curve has more than five million arrivals.
    """
    if curve.total > MOST_DRAWN:
        raise ValueError(
            f"{curve.total:,.0f} arrivals are more than the {MOST_DRAWN:,} that are drawn: "
            "compress or scale the curve first"
        )
    length = curve.duration_seconds / bins
    counts = [0] * bins
    for arrival in schedule(curve, seed=seed, mode=mode):
        counts[min(int(arrival.due_seconds / length), bins - 1)] += 1
    return Drawn(mode, seed, length, tuple(counts))


def mean_rates(curve: RateCurve, bins: int) -> list[float]:
    """The mean rate of each of so many equal parts of the curve."""
    edges = [curve.duration_seconds * k / bins for k in range(bins + 1)]
    return [
        (curve.cumulative(end) - curve.cumulative(start)) / (end - start)
        for start, end in pairwise(edges)
    ]


def outline(curve: RateCurve) -> Points:
    """The points to draw; of a curve with very many the means of 1000 parts, as steps."""
    if len(curve.points) <= _MOST_POINTS:
        return curve.points
    bins = _MOST_POINTS // 2
    length = curve.duration_seconds / bins
    rates = mean_rates(curve, bins)
    return tuple(
        point
        for k, rate in enumerate(rates)
        for point in ((k * length, rate), ((k + 1) * length, rate))
    )


def ticks(highest: float, about: int) -> list[float]:
    """Round numbers from 0 on: some `about` steps of 1, 2 or 5 times a power of ten.

    The last is the first that is not below `highest`.
    """
    rough = highest / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    return [step * k for k in range(math.ceil(highest / step - 1e-9) + 1)]


def short(number: float) -> str:
    """A number as people write it: 730, 25,616, 0.5."""
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.3g}"


def facts(curve: RateCurve) -> str:
    """The curve in one line."""
    return (
        f"{short(curve.total)} arrivals in {short(curve.duration_seconds)} s, "
        f"peak {short(curve.peak_rps)}/s, mean {short(curve.total / curve.duration_seconds)}/s"
    )


def phase_rows(curve: RateCurve) -> list[tuple[str, str, str, str]]:
    """Name, span, arrivals and mean rate of each phase."""
    rows = []
    for phase in curve.phases:
        arrivals = curve.cumulative(phase.end_seconds) - curve.cumulative(phase.start_seconds)
        seconds = phase.end_seconds - phase.start_seconds
        span = f"{short(phase.start_seconds)} - {short(phase.end_seconds)}"
        rows.append((phase.name, span, short(arrivals), short(arrivals / seconds)))
    return rows


def terminal_lines(view: CurveView, *, width: int = 80, plain: bool = False) -> list[str]:
    """The plot as lines of at most `width` columns; `plain` uses ASCII characters only.

    A column is the mean rate of its part of the time, so that areas are arrivals; the drawn
    schedule is a mark in each column, at its rate.
    """
    curve = view.curve
    margin = max(len(short(curve.peak_rps)) + 3, 7)
    columns = max(width - margin - 3, 10)
    drawn = view.drawn(columns)
    marks = list(drawn.rates) if drawn else []
    levels = ticks(max([curve.peak_rps, *marks]), 4)
    bars = _bars(mean_rates(curve, columns), levels[-1], _HASHES if plain else _EIGHTHS)
    _mark(bars, marks, levels[-1], "o" if plain else "●")
    labels = {round(level / levels[-1] * _ROWS): short(level) for level in levels[1:]}
    axis = ("|", "+", "-", "+") if plain else ("│", "┤", "─", "└")
    lines = ["arrivals per second"]
    for row in range(_ROWS, 0, -1):
        label = labels.get(row, "")
        lines.append(
            f"{label:>{margin - 2}} {axis[1] if label else axis[0]}{bars[row - 1]}".rstrip()
        )
    return [
        *lines,
        f"{'0':>{margin - 2}} {axis[3]}{axis[2] * columns}",
        *_below(curve, columns, margin),
        *_legend(drawn, plain),
    ]


def _bars(rates: list[float], top: float, eighths: str) -> list[str]:
    """Rows from the bottom up; a rate above 0 is always to be seen."""
    heights = [max(round(8 * _ROWS * rate / top), 1 if rate > 0 else 0) for rate in rates]
    if eighths == _HASHES:
        heights = [max(height, 4) if height else 0 for height in heights]
    return [
        "".join(eighths[min(max(height - 8 * row, 0), 8)] for height in heights)
        for row in range(_ROWS)
    ]


def _mark(bars: list[str], rates: list[float], top: float, mark: str) -> None:
    for column, rate in enumerate(rates):
        row = min(int(_ROWS * rate / top), _ROWS - 1)
        bars[row] = bars[row][:column] + mark + bars[row][column + 1 :]


def _below(curve: RateCurve, columns: int, margin: int) -> list[str]:
    """Times and phases under the axis."""
    per_second = columns / curve.duration_seconds
    times = [" "] * (margin + columns + 3)
    for at in ticks(curve.duration_seconds, 6):
        text, column = short(at), round(at * per_second)
        if column + len(text) <= columns:
            times[margin - 1 + column : margin - 1 + column + len(text)] = text
    line = "".join(times).rstrip() + " s"
    names = [" "] * columns
    for phase in curve.phases:
        _name(names, phase, per_second)
    return [line, *([" " * (margin - 1) + "".join(names).rstrip()] if curve.phases else [])]


def _name(names: list[str], phase: Phase, per_second: float) -> None:
    start = round(phase.start_seconds * per_second)
    room = min(round(phase.end_seconds * per_second), len(names)) - start
    text = f"|{phase.name}" if len(phase.name) < room else "|"
    if room > 0:
        names[start : start + len(text)] = text


def _legend(drawn: Drawn | None, plain: bool) -> list[str]:
    if drawn is None:
        return []
    bar, mark = ("#", "o") if plain else ("█", "●")
    return [
        f"{bar} the curve   {mark} one schedule drawn from it ({drawn.mode}, seed {drawn.seed}): "
        f"{sum(drawn.counts):,} arrivals,",
        f"  counted in columns of {short(drawn.bin_seconds)} s",
    ]
