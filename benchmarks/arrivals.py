"""Do arrivals come when they should? Open-loop generators as a server stamps their requests.

`python -m benchmarks.arrivals [--quick] [--json]`. One core for a receiver that stamps each request
when it receives it, one for the generator, whose word is not asked. Constant rates: lateness,
index of dispersion, drift; and a surge from 100 to 3000 a second within one second. Medians of
runs in which nobody else used the cores. It needs Linux and two cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

if not __package__:  # run by its path
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks._arrivals_receiver import Receiver
from benchmarks._arrivals_runs import CUT_SECONDS, SURGE, Arrivals, Received, constant, median_row
from benchmarks._arrivals_senders import SENDERS
from benchmarks._generator_cli import add_generators, command_line, count, positive, run
from benchmarks.admission_ladder import say
from launchday.rate_curve import RateCurve

RATES, QUICK_RATES = (500, 1000, 2000, 5000), (1000, 2000)
# Nobody else comes near.
OUR_RATES = (20_000,)
QUICK_GENERATORS = [name for name in SENDERS if name != "launchday poisson"]
# The schedule goes on a little longer than it is measured.
TAIL_SECONDS = 0.5
SENTENCES = (
    "late: ms from the intended time to receipt, more than of the least late request; least: of",
    "that one, from the generator's own start where it tells it. dispersion: variance over mean of",
    "the counts in windows: 0 even, 1 Poisson. drift: millionths. CPU: of one core.",
    "surge: relative error of the counts per 100 ms; a Poisson schedule has sqrt(1/n) by nature.",
)


class Session:
    """The measurements of one call; `spare`: runs that may be repeated because they were void."""

    def __init__(self, arrivals: Arrivals, args: argparse.Namespace) -> None:
        self._arrivals, self._args, self._spare = arrivals, args, args.spare

    def steady(self, name: str, binary: str, rate: int) -> dict[str, Any]:
        """Return the row of one constant rate."""
        ends_at = CUT_SECONDS + self._args.seconds
        curve = constant(rate, ends_at + TAIL_SECONDS)

        def told(run: Received) -> dict[str, Any]:
            return {"generator": name, "rate": rate, **run.steady(rate, CUT_SECONDS, ends_at)}

        return {"generator": name, "rate": rate} | self._runs(name, binary, curve, told)

    def surge(self, name: str, binary: str) -> dict[str, Any]:
        """Return the row of the surge."""

        def told(run: Received) -> dict[str, Any]:
            return {"generator": name, **run.surge(SURGE)}

        return {"generator": name} | self._runs(name, binary, SURGE, told)

    def _runs(
        self,
        name: str,
        binary: str,
        curve: RateCurve,
        told: Callable[[Received], dict[str, Any]],
    ) -> dict[str, Any]:
        """Run until enough runs are not void, or there are no spares; return their medians."""
        good: list[dict[str, Any]] = []
        void: list[str] = []
        wanted = self._args.runs
        while len(good) + len(void) < wanted or (len(good) < wanted and self._spare):
            self._spare -= len(good) + len(void) >= wanted
            run = self._arrivals.run(SENDERS[name], binary, curve, CUT_SECONDS)
            row, reason = told(run), run.usage.void(self._args.most_others)
            say(line(row) + (f"  void: {reason}" if reason else ""))
            if reason:
                void.append(reason)
            else:
                good.append(row)
        measured = median_row([_numbers(row) for row in good]) if good else {}
        return {**measured, "runs": len(good), "void": void}


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("generator", "rate")}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Return all that was measured, as `--json` prints it."""
    found = {name: SENDERS[name].find(args.tool.get(name)) for name in args.generators}
    binaries = {name: binary for name, binary in found.items() if binary}
    missing = {name: "not found on PATH" for name in found if name not in binaries}
    rows: list[dict[str, Any]] = []
    surges: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="receiver-") as folder, Receiver(Path(folder)) as to:
        session = Session(Arrivals(to), args)
        for rate in args.rates:
            for name, binary in binaries.items():
                if rate < OUR_RATES[0] or SENDERS[name].mode:
                    rows.append(_tried(session.steady, name, binary, rate))
        for name, binary in binaries.items():
            if SENDERS[name].surges and not args.no_surge:
                surges.append(_tried(session.surge, name, binary))
    return {"rows": rows, "surge": surges, "missing": missing}


def _tried(row: Any, name: str, *arguments: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = row(name, *arguments)
    except RuntimeError as error:
        named = {"generator": name} | ({"rate": arguments[1]} if len(arguments) > 1 else {})
        return {**named, "runs": 0, "void": [str(error)]}
    return found


def line(row: dict[str, Any]) -> str:
    """Return one row, of a constant rate or of the surge."""
    start = f"  {row.get('rate', 'surge'):>6} {row['generator']:20}"
    if row.get("runs") == 0:
        return f"{start}  void: {row['void'][-1]}"
    if "rate" not in row:
        return (
            f"{start}{row['rms_percent']:9.2f} % RMS{row['worst_percent']:8.1f} % worst"
            f"{row['most_arrivals_off']:8.0f} arrivals off{row['missing']:8.0f} missing"
            f"{row['generator_cpu_share']:7.0%}"
        )
    late = row["lateness_ms"]
    times = [late["p50"], late["p99"], late["p999"], row["least_ms"]]
    spread = [row["dispersion_10ms"], row["dispersion_100ms"], row["drift_ppm"]]
    return (
        f"{start}{_known(row['achieved_rps'], 9, 1)}{''.join(map(_known, [*times, *spread]))}"
        f"{_known(row['missing'], 8, 0)}{row['generator_cpu_share']:7.0%}"
        f"{row['receiver_cpu_share']:9.0%}"
    )


def _known(value: float | None, width: int = 9, digits: int = 2) -> str:
    return f"{value:{width}.{digits}f}" if value is not None else f"{'-':>{width}}"


def show(result: dict[str, Any]) -> str:
    """Return the table."""
    lines = [
        f"  {'rate':>6} {'':20}{'achieved':>9}{'late p50':>9}{'p99':>9}{'p99.9':>9}{'least':>9}"
        f"{'disp 10':>9}{'100 ms':>9}{'drift':>9}{'missing':>8}{'CPU':>7}{'receiver':>9}",
        *map(line, [*result["rows"], *result["surge"]]),
    ]
    lines += [f"  {name}: {reason}" for name, reason in result["missing"].items()]
    return "\n".join([*lines, *SENTENCES]) + "\n"


def parse(words: list[str]) -> argparse.Namespace:
    """Return the arguments. Exits with 2 when they are wrong."""
    parser = command_line(__doc__)
    add_generators(parser, SENDERS)
    parser.add_argument("--rates", nargs="+", type=count, help="arrivals per second")
    parser.add_argument("--runs", type=count, help="of each; default 3, quick 1")
    parser.add_argument("--seconds", type=positive, help="measured in a run; default 4, quick 2")
    parser.add_argument("--no-surge", action="store_true", help="constant rates only")
    args = parser.parse_args(words)
    args.tool = dict(args.tool)
    args.generators = args.generators or (QUICK_GENERATORS if args.quick else list(SENDERS))
    args.rates = args.rates or [*(QUICK_RATES if args.quick else RATES), *OUR_RATES]
    args.runs = args.runs or (1 if args.quick else 3)
    args.seconds = args.seconds or (2.0 if args.quick else 4.0)
    args.spare = 2 if args.quick else 20
    return args


if __name__ == "__main__":
    sys.exit(run(parse(sys.argv[1:]), measure, show))
