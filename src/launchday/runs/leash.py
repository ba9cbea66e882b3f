"""Runs one command and ends it when the conductor is gone: `python leash.py COMMAND ...`.

The conductor holds the writing end of this process's standard input. When that closes, on
purpose or because the conductor died (also by `kill -9`), the command gets SIGTERM and, if it
does not go, SIGKILL. It lives in a session of its own: Ctrl-C in a terminal reaches the conductor
only, which ends things in order. Standard library only, and no import of launchday: it must start
at once.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

GRACE_SECONDS = 5.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(command: list[str]) -> int:
    """Run `command` until it ends or standard input closes; its exit code."""
    # Only the end of standard input ends the leash: a signal to the group must not orphan.
    # (The conductor starts us with these blocked, since one could come before this line.)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            preexec_fn=_before_exec,
            start_new_session=True,
        )
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error.strerror}\n")
        return 127
    threading.Thread(target=_end_with_stdin, args=(child,), daemon=True).start()
    code = child.wait()
    # What the command started itself must not outlive it.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    return code if code >= 0 else 128 - code


def _before_exec() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    if sys.platform == "linux":
        # Also when this leash itself is killed: prctl(PR_SET_PDEATHSIG, SIGKILL).
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _end_with_stdin(child: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        pass
    with suppress(ProcessLookupError):
        child.terminate()
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
