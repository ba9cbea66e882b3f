"""Workers that share a limit, without processes."""

from __future__ import annotations

from pathlib import Path

from launchday.admission.limits import FixedLimit, Limit
from launchday.admission.shared import SharedLimit


class Workers:
    """`workers(limit)`: one more worker of this process; its clock stands still."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._built: list[SharedLimit] = []

    def __call__(self, limit: int | Limit = 10, rows: int = 8) -> SharedLimit:
        inner = FixedLimit(limit) if isinstance(limit, int) else limit
        shared = SharedLimit(inner, path=self.path, workers=rows, clock=lambda: 100.0)
        self._built.append(shared)
        return shared

    def close(self) -> None:
        for shared in self._built:
            shared.close()
