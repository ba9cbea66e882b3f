"""A conductor to be ended: holds faults on `slow` and `dead` as its arguments say."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from types import FrameType

from launchday.chaos import lease
from launchday.chaos.experiment import Experiment, down, latency
from launchday.chaos.inject import injected
from launchday.chaos.lease import LEASE_SECONDS
from launchday.chaos.toxiproxy import Toxiproxy


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main(url: str, mode: str, log: str = "", lease_seconds: str = str(LEASE_SECONDS)) -> None:
    """Inject a latency on `slow` and take `dead` down, until the mode says otherwise.

    `polite` turns SIGTERM into an exit; `owner` says that the Toxiproxy ends with this process;
    `brief` leaves after a moment, `raises` with an exception. `log`: for the janitor.
    """
    lease.QUIET_SECONDS = 0.5  # tests wait for the end of the janitor
    if mode == "polite":
        signal.signal(signal.SIGTERM, _leave)
    faults = (latency("slow", latency_ms=50), down("dead"))
    experiment = Experiment("held", "held", faults, 0, 60)
    toxiproxy, path, owned = Toxiproxy(url), Path(log) if log else None, mode == "owner"
    with injected(
        toxiproxy,
        experiment,
        lambda event: None,
        run_id="holder",
        log=path,
        owned=owned,
        lease_seconds=float(lease_seconds),
    ) as injection:
        sys.stdout.write("holding\n")
        sys.stdout.flush()
        began = time.monotonic()
        while (now := time.monotonic() - began) < (0.3 if mode in ("brief", "raises") else 60):
            injection.advance(now)
            time.sleep(0.05)
        if mode == "raises":
            raise RuntimeError("of the test")


if __name__ == "__main__":
    main(*sys.argv[1:])
