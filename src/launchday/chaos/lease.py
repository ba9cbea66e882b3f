"""A lease on faults: a janitor process undoes them when the conductor is killed or hangs."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from launchday.chaos import janitor as janitors
from launchday.chaos.janitor import ANSWERED, ASKS, RELEASED, RETRY_SECONDS
from launchday.chaos.lease_file import (
    DOUBT_SECONDS,
    QUIET_SECONDS,
    CanUndo,
    LeaseState,
    Undo,
    remove,
    written,
)
from launchday.chaos.toxiproxy_errors import NoAnswer
from launchday.errors import ToxiproxyError

__all__ = [
    "DOUBT_SECONDS",
    "LEASE_SECONDS",
    "QUIET_SECONDS",
    "Lease",
    "LeaseLostError",
    "Undo",
    "held",
    "undo_all",
]

BEAT = b"."
LEASE_SECONDS = 10.0
# Somebody on the way, or Toxiproxy's own time limit, answered; the request may still be at work.
_IN_DOUBT = (502, 503, 504)
# Janitors that outlive their lease on purpose; Python warns of processes that nobody remembers.
_still_cleaning: list[subprocess.Popen[bytes]] = []


class LeaseLostError(ToxiproxyError):
    """The janitor is gone, or took the faults away because this process did not move."""

    exit_code = 4


class Lease:
    """The conductor's end of the pipe to one janitor that waits `seconds` for a beat."""

    def __init__(self, janitor: subprocess.Popen[bytes], path: Path, seconds: float) -> None:
        assert janitor.stdin is not None
        self._janitor = janitor
        self._path = path
        self._pipe = janitor.stdin.fileno()
        self._seconds = seconds
        self._last_beat = time.monotonic()
        self._asked = 0
        # A janitor that is stopped must not stop us.
        os.set_blocking(self._pipe, False)

    @property
    def janitor_pid(self) -> int:
        """The process id of the janitor."""
        return self._janitor.pid

    def beat(self) -> None:
        """Say that the conductor moves.

        Raises LeaseLostError when the janitor ended, or this beat comes later than it waits for.
        """
        now = time.monotonic()
        still, self._last_beat = now - self._last_beat, now
        if still > self._seconds:
            # The janitor may be about to clean up: what is still in is nobody's by now.
            raise LeaseLostError(
                f"the faults were taken away during the run: it stood still for {still:.1f} s, and "
                f"its lease on them is {self._seconds:g} s"
            )
        with suppress(BlockingIOError):
            self._tell(BEAT)

    @property
    def unanswered(self) -> bool:
        """Whether a request that breaks something got no answer: it may still arrive."""
        return self._asked > 0

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Around each request that breaks something, so that the janitor knows of it before.

        What got no answer by the end of the block counts as `unanswered` for good: who undoes it
        then must not `release` the lease, but leave it to the janitor. Raises LeaseLostError, and
        nothing must be asked then, when the janitor has ended or does not listen.
        """
        try:
            self._tell(ASKS)
        except BlockingIOError as error:
            raise LeaseLostError(
                "the janitor that takes the faults away when a run hangs does not listen: somebody "
                "stopped it"
            ) from error
        self._asked += 1
        try:
            yield
        except Exception as error:
            status = error.status if isinstance(error, ToxiproxyError) else None
            if not isinstance(error, NoAnswer) and status not in _IN_DOUBT:
                self._answered()
            raise
        # What is no Exception, like KeyboardInterrupt, leaves the request on its way.
        self._answered()

    def _answered(self) -> None:
        self._asked -= 1
        # Without a janitor the next beat raises; one that hears of no answer only stays longer.
        with suppress(BlockingIOError, LeaseLostError):
            self._tell(ANSWERED)

    def _tell(self, word: bytes) -> None:
        try:
            os.write(self._pipe, word)
        except BlockingIOError:
            raise
        except OSError as error:
            raise LeaseLostError(
                "the faults were not under control any more: the janitor that takes them away when "
                "a run hangs has ended, either since it did so or since somebody ended it"
            ) from error

    def release(self) -> None:
        """Tell the janitor that everything is undone; it exits without touching anything."""
        remove([self._path])
        with suppress(OSError, ValueError):
            os.set_blocking(self._pipe, True)
            os.write(self._pipe, RELEASED)
        self.close()

    def close(self) -> None:
        """End the pipe. Without `release` before, the janitor cleans up."""
        assert self._janitor.stdin is not None
        with suppress(OSError):
            self._janitor.stdin.close()


@contextmanager
def held(
    toxiproxy_url: str,
    undos: Sequence[Undo],
    *,
    log: Path | None = None,
    owned: bool = False,
    experiment: str = "",
    wait_seconds: float = 5.0,
    lease_seconds: float = LEASE_SECONDS,
) -> Iterator[Lease]:
    """Keep a janitor beside this process that runs `undos` unless `release` was called.

    It does so when this process ends, and when it calls `beat` of the lease for `lease_seconds`
    (default 10) not once. What it undid it appends to `log` (faults.jsonl of the run), if given,
    as faults of `experiment` (its title).
    `owned`: the Toxiproxy ends with this process; when it refuses connections, its faults have
    ended with it. What is at stake is in a file as well, see `lease_file`.

    On leaving, waits at most `wait_seconds` for the janitor; one that still cleans up goes on by
    itself: until nothing was there for 5 s (30 s after a request without an answer, see
    `Lease.asking`), for an hour at most. Raises ValueError for a wrong `lease_seconds`,
    PreflightError when the file cannot be written.
    """
    if not (lease_seconds > 0 and math.isfinite(lease_seconds)):
        raise ValueError(f"lease_seconds must be positive, got {lease_seconds!r}")
    where = str(log.resolve()) if log else ""
    state = LeaseState(
        toxiproxy_url,
        tuple(undos),
        lease_seconds,
        where,
        owned,
        experiment,
        QUIET_SECONDS,
        DOUBT_SECONDS,
    )
    with written(state) as path:
        # By its path: importing launchday takes ten times as long as all that it does.
        command = [sys.executable, "-P", janitors.__file__, str(path)]
        # Its own session: Ctrl-C in the terminal must reach the conductor only.
        janitor = subprocess.Popen(
            command, stdin=subprocess.PIPE, start_new_session=True, bufsize=0
        )
        lease = Lease(janitor, path, lease_seconds)
        try:
            yield lease
        finally:
            lease.close()
            try:
                janitor.wait(wait_seconds)
            except subprocess.TimeoutExpired:
                _still_cleaning.append(janitor)


def undo_all(
    toxiproxy: CanUndo,
    undos: Sequence[Undo],
    deadline_seconds: float,
    *,
    in_vain: Callable[[], bool] = lambda: False,
) -> list[str]:
    """Run each undo until it succeeds or `deadline_seconds` are over; say what did not work.

    `in_vain` says after a failed attempt that another one makes no sense.
    """
    deadline = time.monotonic() + deadline_seconds
    while True:
        undos, errors = _attempt(toxiproxy, undos)
        if not undos or time.monotonic() >= deadline or in_vain():
            return errors
        time.sleep(RETRY_SECONDS)


def _attempt(toxiproxy: CanUndo, undos: Sequence[Undo]) -> tuple[list[Undo], list[str]]:
    failed, errors = [], []
    for undo in undos:
        try:
            undo(toxiproxy)
        except ToxiproxyError as error:
            failed.append(undo)
            errors.append(str(error))
    return failed, errors
