"""What the live benchmarks of planning share: the command line, run as somebody types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_MOST_SECONDS = 900.0


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    code: int
    output: str
    errors: str

    @property
    def document(self) -> dict[str, Any]:
        """Its standard output as JSON.

        Raises:
            RuntimeError: it printed none; says its last words.
        """
        try:
            found = json.loads(self.output)
        except ValueError:
            words = (self.errors or self.output).strip().splitlines()[-1:]
            raise RuntimeError(f"launchday ended with {self.code}: {' '.join(words)}") from None
        assert isinstance(found, dict)
        return found


def launchday(*arguments: object, **environment: str) -> Done:
    """Run a command of launchday to its end."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LAUNCHDAY_", "LOCUST_"))}
    clean.pop("TOXIPROXY_URL", None)
    done = subprocess.run(
        [sys.executable, "-m", "launchday", *map(str, arguments)],
        cwd=ROOT,
        env={**clean, "PYTHONPATH": str(ROOT / "src"), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_MOST_SECONDS,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def breakpoint_record(
    runs: Path,
    where: Sequence[object],
    parameters: Mapping[str, object],
    scenario: object = "breakpoint",
    **environment: str,
) -> Path:
    """Run a staircase against a target, and return its record.

    Raises:
        RuntimeError: it made none; says why.
    """
    given = [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]
    before = set(runs.iterdir()) if runs.exists() else set()
    done = launchday("run", scenario, *where, *given, "--runs", runs, "--json", **environment)
    made = sorted(set(runs.iterdir()) - before) if runs.exists() else []
    if not made or not any(made[0].glob("samples-*.jsonl")):
        words = done.errors.strip().splitlines()[-1:] or ["it printed nothing"]
        raise RuntimeError(f"no record (exit {done.code}): {words[0]}")
    return made[0]
