"""How long the reference backend takes from its start to ready, with small and large fleets."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.target_service.postgres import throw_away_postgres
from tests.target_service.processes import FREE_PORTS, Process

START_GOAL_SECONDS = 3.0
SEED_GOAL_SECONDS = 30.0
LARGE_FLEET = 100_000
STARTS = 5


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    """Give the URLs of empty databases by kind; PostgreSQL only where it is installed."""
    sqlite = {"sqlite": f"sqlite:///{folder / 'car.db'}"}
    with suppress(pytest.skip.Exception), throw_away_postgres() as postgres:
        yield {**sqlite, "postgresql": postgres.url}
        return
    yield sqlite


def seconds_to_ready(folder: Path, url: str, fleet_size: int) -> float:
    """Return how long a start takes until the process says that it is ready."""
    settings = {"TARGET_DATABASE_URL": url, "TARGET_FLEET_SIZE": str(fleet_size)}
    began = time.monotonic()
    process = Process("target_service", folder / "log", {**FREE_PORTS, **settings})
    seconds = time.monotonic() - began
    process.close()
    return seconds


def measure() -> dict[str, dict[str, float]]:
    """Return seconds by kind of database: the first start, the median of the next, the seeding."""
    results = {}
    with tempfile.TemporaryDirectory() as name, databases(Path(name)) as urls:
        for kind, url in urls.items():
            first = seconds_to_ready(Path(name), url, 1000)
            again = [seconds_to_ready(Path(name), url, 1000) for _ in range(STARTS)]
            median = statistics.median(again)
            seeding = seconds_to_ready(Path(name), url, LARGE_FLEET) - median
            results[kind] = {"first": first, "again": median, "seeding": seeding}
    return results


def main() -> int:
    """Print the seconds; 0 if the goals are met, 1 if not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    results = measure()
    if as_json:
        sys.stdout.write(json.dumps(results) + "\n")
    else:
        for kind, seconds in results.items():
            sys.stdout.write(
                f"{kind:10}  first start {seconds['first']:5.2f} s, next {seconds['again']:5.2f} s;"
                f" {LARGE_FLEET} owners {seconds['seeding']:5.2f} s\n"
            )
    met = all(
        max(seconds["first"], seconds["again"]) <= START_GOAL_SECONDS
        and seconds["seeding"] <= SEED_GOAL_SECONDS
        for seconds in results.values()
    )
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
