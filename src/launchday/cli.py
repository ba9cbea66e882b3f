"""The entry point: runs a command; every error becomes one line and an exit code."""

from __future__ import annotations

import sys

from launchday.errors import LaunchdayError

try:
    from launchday.commands import launchday as _group
except ModuleNotFoundError as error:
    _missing: str | None = error.name
else:
    _missing = None


def main() -> None:
    """Run the command line; every error is one line, never a traceback."""
    if _missing is not None:
        _fail(
            f"the harness needs the package {_missing!r}: install launchday[harness], "
            "or run `make` in a checkout"
        )
    try:
        code = _group.main(standalone_mode=False)
    except LaunchdayError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        # click's own errors (unknown option, missing argument) know how to show themselves.
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        sys.exit(2)
    sys.exit(code or 0)


def _fail(words: str, code: int = 2) -> None:
    sys.stderr.write(f"launchday: {words}\n")
    sys.exit(code)
