"""A process that counts and flushes until it is killed; prints what each flush has made safe."""

from __future__ import annotations

import sys
from pathlib import Path

from launchday.load.samples import SampleBook
from launchday.outcomes import Outcome
from launchday.record import schedule_from_json

ARRIVALS_A_FLUSH = 50


def main(path: Path) -> None:
    schedule = {
        "epoch_unix": 0.0, "duration_seconds": 1e6, "phases": [], "points": [[0, 1], [1e6, 1]],
        "expected_arrivals": 10**6, "seed": 1, "request_timeout_seconds": 1.0,
        "late_after_seconds": 0.01,
    }  # fmt: skip
    book = SampleBook(path)
    book.begin(schedule_from_json(schedule))
    second = 0
    while True:
        for number in range(ARRIVALS_A_FLUSH):
            book.arrival(second, started=number > 0, lateness_seconds=0.001 * number)
            book.request(
                second, f"endpoint-{number}", "critical", Outcome.OK, corrected_seconds=0.1,
                service_seconds=0.05, answered_503=False, retry_after=False, response_bytes=10,
            )  # fmt: skip
        book.flush()
        second += 1
        print(second, flush=True)  # noqa: T201 - this is how the test learns what was flushed


if __name__ == "__main__":
    main(Path(sys.argv[1]))
