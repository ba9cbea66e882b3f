"""Real servers under real overload: no shedder, what others do, and ours, at 0.5 to 10 x.

`python -m benchmarks.admission_ladder [--quick] [--json]`. A uvicorn process on one core, an
open-loop Poisson generator on another; latency counts from the intended time. A row whose
generator did not keep its schedule is void and says so. It needs two cores that nobody else uses.

Two profiles. `io_bound`: 20 slots of lognormal 50 ms (coefficient of variation 0.5), the
capacity of a database pool. `cpu_bound`: 5 ms of CPU per request, without an await.
Scenarios: S0 (`cpu_us`), S2 (rows from 1.2 x), S3 (`recovery_seconds`); S1 (rows up to 1 x) and
S18 (`cpu_bound`) in part.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

if not __package__:  # run by its path
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import _ladder_report as report
from benchmarks._ladder_apps import SYSTEMS, why_missing
from benchmarks._ladder_process import Load
from benchmarks._ladder_runs import PROFILES, Baseline, Ladder, Profile, baseline, capacity, costs

RATIOS = (0.5, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0)
QUICK_RATIOS = (10.0,)
# Quick rows of a lower load, for what this project is about.
QUICK_MORE = {("launchday", "io_bound"): (1.2, 3.0), ("launchday_protocol", "io_bound"): (3.0,)}


def say(words: str) -> None:
    """Tell whoever waits; stdout is for the result."""
    sys.stderr.write(words + "\n")
    sys.stderr.flush()


def ratios(args: argparse.Namespace, system: str, profile: str) -> tuple[float, ...]:
    """Return the multiples of the capacity at which a system is measured."""
    if args.ratios:
        return tuple(args.ratios)
    if args.quick:
        return tuple(sorted({*QUICK_RATIOS, *QUICK_MORE.get((system, profile), ())}))
    return RATIOS


def measure_profile(
    ladder: Ladder, profile: Profile, base: Baseline, systems: list[str], args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return the rows of one profile."""
    rows = []
    say(report.head(profile.name))
    for system in systems:
        for ratio in ratios(args, system, profile.name):
            rows.append(ladder.row(system, profile, ratio, base))
            say(report.line(rows[-1]))
    return rows


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Return all that was measured, as `--json` prints it."""
    skipped = {s: reason for s in args.systems if (reason := why_missing(s))}
    for system, reason in skipped.items():
        say(f"{system}: left out, {reason}")
    systems = [system for system in args.systems if system not in skipped]
    bases: dict[str, Baseline] = {}
    result: dict[str, Any] = {"rows": [], "baseline": {}, "recovery_seconds": None}
    with Load() as load:
        say("CPU of a refusal and of an admission ...")
        cpu_us = costs(load, systems, args.rounds, args.requests)
        spare = [None] * args.repeats
        ladder = Ladder(load, args.seconds, args.warm_up, args.seed, cpu_us, spare)
        for profile in (PROFILES[name] for name in args.profiles):
            base = bases[profile.name] = baseline(load, profile, args.unloaded, args.seed)
            result["rows"] += measure_profile(ladder, profile, base, systems, args)
            after = None if args.quick else capacity(load, profile)
            result["baseline"][profile.name] = vars(base) | {"capacity_rps_after": after}
        if "launchday" in systems and "io_bound" in bases:
            say("recovery ...")
            result["recovery_seconds"] = ladder.recovery("launchday", bases["io_bound"])
    return {**result, "cpu_us": cpu_us, "skipped": skipped}


def parse(words: list[str]) -> argparse.Namespace:
    """Return the arguments. Exits with 2 when they are wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the whole in less than two minutes")
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--profiles", nargs="+", choices=PROFILES, default=list(PROFILES))
    parser.add_argument("--ratios", nargs="+", type=_positive, help="multiples of the capacity")
    parser.add_argument("--seconds", type=_positive, help="of each row; default 10, quick 2.5")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(words)
    args.seconds = args.seconds or (2.5 if args.quick else 10.0)
    args.warm_up = 1.0 if args.quick else 2.0
    args.unloaded = 3.0 if args.quick else 10.0
    args.rounds, args.requests = (3, 3000) if args.quick else (9, 5000)
    args.repeats = 2 if args.quick else 10
    return args


def _positive(word: str) -> float:
    value = float(word)
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 3600, not {word}")
    return value


def stop(number: int, frame: FrameType | None) -> None:
    """Leave as after Ctrl-C, so that the children are stopped."""
    raise KeyboardInterrupt


def main() -> int:
    """Print the table, or with `--json` one object; 130 when interrupted."""
    args = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, stop)
    began = time.monotonic()
    try:
        result = measure(args)
    except KeyboardInterrupt:
        return 130
    say(f"measured in {time.monotonic() - began:.0f} s")
    sys.stdout.write(json.dumps(result) + "\n" if args.json else report.show(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
