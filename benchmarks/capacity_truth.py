"""Planning against simulated servers whose truth is known: bias, coverage, false alarms, power.

Run it as `python -m benchmarks.capacity_truth [--seeds 40] [--quick] [--json]`. Exit code 1 if a
bar of the reference is missed.
"""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks._capacity_objective import cases, scores
from benchmarks._capacity_runs import CALM, SLOWER, UTILISATION, differences, p99_coverage
from benchmarks._capacity_usl import usl_interval_coverage

AT_LEAST = {
    "objective_within_5pct": 0.90,
    "usl_ci_coverage": 0.90,
    "p99_ci_coverage": 0.90,
    "power_15pct": 0.80,
}
AT_MOST = {"recommendation_above_truth": 0.15, "aa_false_positives": 0.05}


def measure(seeds: int, quick: bool, seed: int = 1) -> dict[str, object]:
    """Every number; of the objective search the worst of the servers, with each beside it."""
    sets = 10 if quick else 200
    servers = {case.server.name: scores(case, seeds, 1000 * seed) for case in cases()}
    return {
        "objective_within_5pct": min(one["objective_within_5pct"] for one in servers.values()),
        "recommendation_above_truth": max(
            one["recommendation_above_truth"] for one in servers.values()
        ),
        "usl_ci_coverage": usl_interval_coverage(sets, seed),
        "p99_ci_coverage": p99_coverage(sets, seed),
        "aa_false_positives": max(
            differences(sets, seed + 1, CALM), differences(sets, seed + 2, UTILISATION)
        ),
        "power_15pct": differences(sets, seed + 3, CALM, SLOWER),
        "power_15pct_at_80pct_busy": differences(sets, seed + 4, UTILISATION, SLOWER),
        "servers": servers,
    }


def missed(found: dict[str, object]) -> list[str]:
    """The bars that are missed, in words."""
    low = [f"{k} {found[k]} is below {bar}" for k, bar in AT_LEAST.items() if _of(found, k) < bar]
    high = [f"{k} {found[k]} is above {bar}" for k, bar in AT_MOST.items() if _of(found, k) > bar]
    return low + high


def _of(found: dict[str, object], key: str) -> float:
    value = found[key]
    return value if isinstance(value, float) else float("nan")


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and say which bars are missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40, help="breakpoint runs per server (40)")
    parser.add_argument("--quick", action="store_true", help="2 runs, 10 sets; bars do not count")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args(arguments)
    found = measure(2 if options.quick else options.seeds, options.quick)
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        for name, value in found.items():
            sys.stdout.write(f"{name}: {value}\n")
    wrong = [] if options.quick else missed(found)
    for reason in wrong:
        sys.stderr.write(f"missed: {reason}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
