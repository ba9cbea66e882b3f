"""Every limit and what others do, against every scenario, simulated: goodput, p99, false sheds.

Run it as `python -m benchmarks.admission_simulation [--seeds 3] [--slots 8 20 50] [--json]`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from random import Random
from typing import Any

from launchday.admission import Outcome, QueueRules
from tests.admission.scenarios import (
    DEFAULT_QUEUE,
    EARLIER,
    LIMITS,
    NO_QUEUE,
    PEERS,
    SCENARIOS,
    Make,
    run,
)

SAMPLES = 50_000
MEASURES = ("goodput", "shed", "p99_ratio", "well_after", "shed_after", "limit_swing")


def systems() -> dict[str, tuple[Make, QueueRules]]:
    """Return ours with its gate, ours by folly's form of CoDel, and the peers, without a queue."""
    found: dict[str, tuple[Make, QueueRules]] = {}
    for name, make in (LIMITS | EARLIER).items():
        found[name] = make, DEFAULT_QUEUE
    for name in ("fixed", "elastic"):
        found[f"{name}, minimum delay"] = LIMITS[name], QueueRules(overload="minimum_delay")
    for name, make in PEERS.items():
        found[name] = make, NO_QUEUE
    return found


def rows(slots: list[int], seeds: int) -> list[dict[str, Any]]:
    """Return the median and the worst of each measure over the seeds."""
    found = []
    for scenario in SCENARIOS:
        for slot_count in slots:
            runs: dict[str, list[Any]] = {name: [] for name in systems()}
            for seed in range(seeds):
                for name, (make, rules) in systems().items():
                    runs[name].append(run(scenario, slot_count, seed, make, rules))
            for name, measured in runs.items():
                row = {"scenario": scenario, "slots": slot_count, "system": name}
                for measure in MEASURES:
                    values = [getattr(one, measure) for one in measured]
                    row[measure] = round(statistics.median(values), 4)
                row["worst_goodput"] = round(min(one.goodput for one in measured), 4)
                found.append(row)
    return found


def microseconds_per_sample(make: Make) -> float:
    """Return the CPU time of one `on_sample` at 1000 rps of overload, decisions included."""
    limit, random = make(50, 0.5), Random(1)
    samples = [(random.lognormvariate(-3, 0.5), i / 1000) for i in range(SAMPLES)]
    started_at = time.process_time()
    for seconds, now in samples:
        limit.on_sample(seconds, limit.limit, Outcome.SUCCESS, now)
    return (time.process_time() - started_at) / SAMPLES * 1e6


def show(result: dict[str, Any]) -> str:
    """Return the tables as text."""
    lines = []
    head = f"{'goodput':>8}{'worst':>7}{'shed':>7}{'p99/P0':>8}{'after':>7}{'swing':>7}"
    group = None
    for row in result["rows"]:
        if group != (row["scenario"], row["slots"]):
            group = (row["scenario"], row["slots"])
            lines.append(f"\n{row['scenario'] + ', C = ' + str(row['slots']):28}{head}")
        lines.append(
            f"  {row['system']:26}{row['goodput']:8.1%}{row['worst_goodput']:7.1%}"
            f"{row['shed']:7.1%}{row['p99_ratio']:8.2f}{row['well_after']:7.1%}"
            f"{row['limit_swing']:7.2f}"
        )
    lines += [f"\n{'on_sample':28}{'us':>8}"]
    lines += [f"  {name:26}{value:8.2f}" for name, value in result["on_sample_us"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the tables, or with `--json` one object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--slots", type=int, nargs="+", default=[8, 20, 50])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = {
        "rows": rows(arguments.slots, arguments.seeds),
        "on_sample_us": {name: microseconds_per_sample(make) for name, make in LIMITS.items()},
    }
    sys.stdout.write(json.dumps(result) + "\n" if arguments.json else show(result))


if __name__ == "__main__":
    main()
