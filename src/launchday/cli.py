"""The entry point: runs a command; every error becomes one line and an exit code."""

from __future__ import annotations

import signal
import sys
import tempfile
import traceback
from typing import NoReturn

from launchday.errors import LaunchdayError


def main() -> None:
    """Run the command line; a user never sees a traceback."""
    # Until a run takes the signal over there is nothing to undo: Ctrl-C during the imports below
    # ends the process at once and without a word.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from launchday.commands import launchday
    except ModuleNotFoundError as error:
        _fail(
            f"the harness needs the package {error.name!r}: install launchday[harness], or run "
            "`make setup` in a checkout"
        )
    try:
        code = launchday.main(standalone_mode=False)
    except LaunchdayError as error:
        _fail(str(error), error.exit_code)
    except Exception as error:
        # click's own errors (unknown option, missing argument) know how to show themselves.
        show = getattr(error, "show", None)
        if show is None:
            _fail(f"a defect of launchday, please report it with {_written_down(error)}")
        show()
        sys.exit(2)
    sys.exit(code or 0)


def _written_down(error: Exception) -> str:
    """Where the traceback is: a user never sees one, whoever mends it needs it."""
    with tempfile.NamedTemporaryFile("w", prefix="launchday-", suffix=".txt", delete=False) as file:
        traceback.print_exception(error, file=file)
    return file.name


def _fail(words: str, code: int = 2) -> NoReturn:
    sys.stderr.write(f"launchday: {words}\n")
    sys.exit(code)
