"""A measurement on a machine that was taken away meanwhile is void: it is made again."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

PROC_STAT = Path("/proc/stat")
STOLEN_AT_MOST = 0.1
ATTEMPTS = 4
PAUSE_SECONDS = 10.0

Ticks = tuple[int, int]


def stolen_and_wanted(stat: Path = PROC_STAT) -> Ticks:
    """Ticks of processor that the host gave to other guests, and all that were asked for.

    From the first line of ``/proc/stat`` (proc(5)): user nice system idle iowait irq softirq steal.
    Where there is no such file nothing is ever void.
    """
    try:
        line = stat.read_text().splitlines()[0]
    except OSError:
        return 0, 0
    user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(int, line.split()[1:])
    return steal, user + nice + system + irq + softirq + steal


def stolen_share(before: Ticks, after: Ticks) -> float:
    wanted = after[1] - before[1]
    return (after[0] - before[0]) / wanted if wanted else 0.0


def measure(
    once: Callable[[], object],
    read: Callable[[], Ticks] = stolen_and_wanted,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Call ``once``; if it fails while the host stole more than a tenth, call it again.

    Raises:
        AssertionError: it failed on a machine that was there: that counts.
        pytest.skip.Exception: it failed ``ATTEMPTS`` times, each on a machine that was not there.
    """
    stolen = 0.0
    for attempt in range(ATTEMPTS):
        if attempt:
            pause(PAUSE_SECONDS)
        before = read()
        try:
            once()
            return
        except AssertionError as failure:
            stolen = stolen_share(before, read())
            failure.add_note(f"meanwhile the host stole {stolen:.0%} of the processor asked for")
            if stolen <= STOLEN_AT_MOST:
                raise
    pytest.skip(f"void {ATTEMPTS} times: the host stole {stolen:.0%} of the processor asked for")
