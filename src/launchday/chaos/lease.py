"""A janitor process that undoes our faults when the conductor is killed (`kill -9`).

It holds the reading end of a pipe. `released` on it means: all is undone and verified. The end
of the pipe without that word means: the conductor is gone, or could not undo; clean up.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launchday.errors import ToxiproxyError

if TYPE_CHECKING:
    from launchday.chaos.toxiproxy import Toxiproxy

RELEASED = b"released\n"
OWNED = "owned"
CLEAN_UP_SECONDS = 15.0
RETRY_SECONDS = 0.25


@dataclass(frozen=True)
class Undo:
    """How to take one fault back: remove `toxic` from `link`, or enable the link when None.

    `words` name the fault in the log of the run.
    """

    link: str
    toxic: str | None
    words: str = ""

    def __call__(self, toxiproxy: Toxiproxy) -> None:
        """Do it; harmless when it is already done. Raises ToxiproxyError."""
        if self.toxic is None:
            toxiproxy.set_enabled(self.link, True)
        else:
            toxiproxy.remove_toxic(self.link, self.toxic)


class Lease:
    """The conductor's end of the pipe to one janitor."""

    def __init__(self, janitor: subprocess.Popen[bytes]) -> None:
        self._janitor = janitor

    def release(self) -> None:
        """Tell the janitor that everything is undone; it exits without touching anything."""
        assert self._janitor.stdin is not None
        with suppress(OSError, ValueError):
            self._janitor.stdin.write(RELEASED)
            self._janitor.stdin.close()


@contextmanager
def held(
    toxiproxy_url: str,
    undos: Sequence[Undo],
    *,
    log: Path | None = None,
    owned: bool = False,
    wait_seconds: float = 5.0,
) -> Iterator[Lease]:
    """Keep a janitor beside this process that runs `undos` unless `release` was called.

    What it undid it appends to `log` (faults.jsonl of the run), if given. `owned`: the Toxiproxy
    ends with this process; when it refuses connections, its faults have ended with it.

    On leaving, waits at most `wait_seconds` for the janitor; one that still cleans up goes on
    for at most 15 s by itself.
    """
    what = json.dumps([(undo.link, undo.toxic, undo.words) for undo in undos])
    command = [sys.executable, "-m", "launchday.chaos.lease", toxiproxy_url, what]
    command += [str(log.resolve()) if log else "", OWNED if owned else ""]
    # Its own session: Ctrl-C in the terminal must reach the conductor only.
    janitor = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield Lease(janitor)
    finally:
        assert janitor.stdin is not None
        with suppress(OSError):
            janitor.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            janitor.wait(wait_seconds)


def undo_all(
    toxiproxy: Toxiproxy,
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


def _attempt(toxiproxy: Toxiproxy, undos: Sequence[Undo]) -> tuple[list[Undo], list[str]]:
    failed, errors = [], []
    for undo in undos:
        try:
            undo(toxiproxy)
        except ToxiproxyError as error:
            failed.append(undo)
            errors.append(str(error))
    return failed, errors


def _note_undone(log: str, undos: Sequence[Undo], by: str) -> None:
    """Append what was undone, so that the record of a killed run can be judged."""
    if not log:
        return
    with suppress(OSError), open(log, "a", encoding="utf-8") as file:
        for undo in undos:
            event = {"event": "undone", "by": by, "unix": time.time()}
            event |= {"link": undo.link, "fault": undo.words, "toxic": undo.toxic}
            file.write(json.dumps(event) + "\n")


def main(url: str, undos_json: str, log: str = "", owned: str = "") -> int:
    """Wait for the end of standard input; return 0 when nothing of ours is left, else 1."""
    undos = [Undo(link, toxic, words) for link, toxic, words in json.loads(undos_json)]
    if sys.stdin.buffer.read() == RELEASED:
        return 0
    # Only now: a janitor starts at the peak of a run, and must not take time from it.
    from launchday.chaos.toxiproxy import Toxiproxy

    toxiproxy = Toxiproxy(url)
    ended = toxiproxy.is_gone if owned == OWNED else lambda: False
    errors = undo_all(toxiproxy, undos, CLEAN_UP_SECONDS, in_vain=ended)
    if errors and ended():
        _note_undone(log, undos, "end of the Toxiproxy")
        return 0
    if not errors:
        _note_undone(log, undos, "janitor")
    outcome = f"faults may be left: {'; '.join(errors)}" if errors else "faults removed"
    # The terminal may be gone together with the conductor.
    with suppress(OSError):
        sys.stderr.write(f"launchday: the run ended without undoing its faults: {outcome}\n")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
