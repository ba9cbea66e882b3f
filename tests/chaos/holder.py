"""A conductor to be killed: holds the injection that its arguments name until a signal comes."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from types import FrameType

from launchday.chaos.experiment import Experiment, down, latency
from launchday.chaos.inject import injected
from launchday.chaos.toxiproxy import Toxiproxy


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main(url: str, mode: str, log: str = "") -> None:
    """Inject a latency on `slow` and take `dead` down; `polite` turns SIGTERM into an exit.

    `owner` says that the Toxiproxy ends with this process. `log`: for the janitor.
    """
    if mode == "polite":
        signal.signal(signal.SIGTERM, _leave)
    faults = (latency("slow", latency_ms=50), down("dead"))
    experiment = Experiment("held", "held", faults, 0, 60)
    toxiproxy, path, owned = Toxiproxy(url), Path(log) if log else None, mode == "owner"
    with injected(
        toxiproxy, experiment, lambda event: None, run_id="holder", log=path, owned=owned
    ):
        sys.stdout.write("holding\n")
        sys.stdout.flush()
        time.sleep(60)


if __name__ == "__main__":
    main(*sys.argv[1:])
