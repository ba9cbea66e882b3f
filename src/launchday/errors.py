"""The errors of the harness; each is one sentence that names what to do.

LaunchdayError                exit code 2
 |- SettingsError             a wrong setting, flag or file, refused at start
 |- PreflightError            the world is not ready: port taken, target down, not yours
 |- ToxiproxyError            the fault injector said no, with its words and HTTP status
 |- GeneratorError            Locust did not start, or stopped too early
 `- RecordError               a run directory cannot be written or read
"""

from __future__ import annotations


class LaunchdayError(Exception):
    """Something that the user can act on. Caught once, in the command line; never a traceback."""

    exit_code = 2


class SettingsError(LaunchdayError):
    """A setting is wrong: names the setting, the value and what is allowed."""


class PreflightError(LaunchdayError):
    """The run cannot start; nothing was injected and nothing is left running."""


class ToxiproxyError(LaunchdayError):
    """The Toxiproxy API refused or did not answer. `status` is None when there was no answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class GeneratorError(LaunchdayError):
    """The load generator did not start, or stopped before its schedule ended."""


class RecordError(LaunchdayError):
    """A run directory cannot be written (full disk, permissions) or is not a record."""
