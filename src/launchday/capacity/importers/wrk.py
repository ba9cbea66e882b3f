"""What wrk and wrk2 print: one load for each output, in one file or in many."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from launchday.capacity.importers.quantiles import choose_quantile
from launchday.capacity.importers.source import Source
from launchday.capacity.steps import LeftOut, Objective, Step
from launchday.errors import RecordError

_START = re.compile(r"^Running (\S+) test @ (\S+)")
_CONNECTIONS = re.compile(r"^\s*\d+ threads? and (\d{1,15}) connections?")
_MEAN = re.compile(r"^\s*Latency\s+(\S+)\s+\S+\s+\S+\s+\S+%?\s*$")
_QUANTILE = re.compile(r"^\s*(\d{1,3}(?:\.\d+)?)%\s+(\S+)\s*$")
_SPECTRUM = re.compile(r"^\s+(\d{1,15}\.\d+)\s+([01]\.\d+)\s+\d+\s+(?:\d+\.\d+|inf)\s*$")
_TOTAL = re.compile(r"^\s*(\d{1,15}) requests in (\S+),")
_SOCKETS = re.compile(
    r"^\s*Socket errors: connect (\d{1,15}), read (\d{1,15}), write (\d{1,15}), timeout (\d{1,15})"
)
_REFUSED = re.compile(r"^\s*Non-2xx or 3xx responses: (\d{1,15})")
_RATE = re.compile(r"^\s*Requests/sec:\s+(\S+)")
_INTENDED = re.compile(r"\bwrk2?\b.*\s(?:-R|--rate)[\s=]*(\d{1,15}(?:\.\d+)?)\b")
_VALUE = re.compile(r"(\d{1,15}(?:\.\d+)?)(us|ms|s|m|h)?", re.ASCII)
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_NO_QUANTILES = "; run it with --latency to have it print quantiles"
_KEPT_AT_LEAST = 0.99


@dataclass(frozen=True)
class _Output:
    """One output: the line at which it starts, its lines, and the rate that wrk2 was told."""

    source: Source
    line: int
    lines: Sequence[str]
    intended_rps: float | None

    def find(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        return next((m for line in self.lines if (m := pattern.match(line))), None)

    def need(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        match = self.find(pattern)
        if match is None:
            raise self.refused(f"the output that starts here has no {what}: it is not whole")
        return match

    def refused(self, words: str) -> RecordError:
        return self.source.refused(words, self.line)


def read_wrk(
    sources: Sequence[Source], objective: Objective, chosen: Mapping[str, str]
) -> tuple[list[Step], list[LeftOut]]:
    """Each output is a step, however many a file holds.

    wrk is a closed loop: its connections N are what is in flight, and its mean latency is N / X.
    (The mean that it prints is up to a tenth above: it adds samples that it thinks it missed.)
    Where connections failed, N is X · R with the mean that it prints. wrk2 times requests from
    when they were due, so in flight is X · R, at most the connections. Non-2xx answers and
    socket errors are errors. The rate that wrk2 was told (`-R`) is not in its output; it is read
    from a line of the shell before it, if there is one.

    Raises:
        RecordError: there is no output, or one is cut off; the quantile was not printed.
    """
    steps = [_step(output, objective) for source in sources for output in _outputs(source)]
    return steps, []


def _outputs(source: Source) -> Iterator[_Output]:
    lines = source.text.splitlines()
    starts = [i for i, line in enumerate(lines) if _START.match(line)]
    if not starts:
        raise source.refused("there is no line 'Running … test @ …' of wrk in it")
    before = 0
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        told = [m for line in lines[before:start] if (m := _INTENDED.search(line))]
        yield _Output(source, start + 1, lines[start:end], float(told[-1][1]) if told else None)
        before = start


def _step(output: _Output, objective: Objective) -> Step:
    connections = float(output.need(_CONNECTIONS, "line 'N threads and N connections'")[1])
    rate = _value(output, output.need(_RATE, "line 'Requests/sec'")[1], "Requests/sec")
    mean = _value(output, output.need(_MEAN, "line 'Latency'")[1], "Latency")
    total = output.need(_TOTAL, "line 'N requests in'")
    if min(connections, rate, mean, float(total[1])) <= 0:
        raise output.refused("the output that starts here measured nothing: a value of it is 0")
    quantile = _quantile(output, objective)
    done, lost = float(total[1]), _lost(output)
    errors = min(1.0, lost / (done + _unanswered(output)))
    sockets = output.find(_SOCKETS)
    paced = output.intended_rps is not None or any("HdrHistogram" in x for x in output.lines)
    offered = output.intended_rps or rate
    flight = min(connections, rate * mean)
    if not paced and not (sockets and int(sockets[1])):
        flight, mean = connections, connections / rate
    return Step(
        source=output.source.at(output.line),
        offered_rps=max(offered, rate),
        goodput_rps=rate * (1 - errors),
        throughput_rps=rate,
        concurrency=flight,
        mean_seconds=mean,
        latency_seconds=mean if objective.quantile is None else quantile,
        seconds=_value(output, total[2], "requests in"),
        requests=int(total[1]),
        error_share=errors,
        unsteady=_why_unsteady(offered, rate),
    )


def _why_unsteady(offered: float, rate: float) -> tuple[str, ...]:
    if rate >= _KEPT_AT_LEAST * offered:
        return ()
    return (
        f"only {rate:g} of the {offered:g} requests/s that were intended finished: "
        f"{rate / offered:.1%} (at least {_KEPT_AT_LEAST:.0%})",
    )


def _lost(output: _Output) -> float:
    refused = output.find(_REFUSED)
    return _unanswered(output) + (float(refused[1]) if refused else 0.0)


def _unanswered(output: _Output) -> float:
    """Socket errors. wrk counts only the requests that it finished reading."""
    sockets = output.find(_SOCKETS)
    return sum(float(count) for count in sockets.groups()) if sockets else 0.0


def _quantile(output: _Output, objective: Objective) -> float | None:
    there: dict[float, float] = {}
    for line in output.lines:
        if "Uncorrected Latency" in line:  # measured from the late send: not what a client sees
            break
        if match := _QUANTILE.match(line):
            there.setdefault(_share(float(match[1]) / 100), _value(output, match[2], match[1]))
        elif match := _SPECTRUM.match(line):
            there.setdefault(_share(float(match[2])), float(match[1]) / 1000)
    there = {quantile: value for quantile, value in there.items() if 0 < quantile < 1}
    if not there and objective.quantile is not None:
        raise output.refused(f"it printed no quantiles{_NO_QUANTILES}")
    found = choose_quantile(output.source, there, objective)
    if found is not None and found <= 0:
        raise output.refused("its quantile of the latency is 0")
    return found


def _share(value: float) -> float:
    return round(value, 9)


def _value(output: _Output, text: str, what: str) -> float:
    """`635.91us`, `1.02s`, `1.00m` in seconds; a bare number as it is."""
    match = _VALUE.fullmatch(text)
    if match is None:
        raise output.refused(f"{what}: {text[:40]!r} is not a number")
    return float(match[1]) * _UNITS.get(match[2] or "s", 1.0)
