"""What clients were told about each Idempotency-Key, written to the record once a second."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launchday.ledger import text_or_none
from launchday.outcomes import Outcome
from launchday.record import AppendLog

_encode = json.JSONEncoder(separators=(",", ":")).encode


class LedgerBook:
    """Notes every request that carried a key; without a path it notes nothing.

    Each line is made when its request ends and only written by `flush`: making a second's lines
    at once would hold up the arrivals that are due meanwhile. The format: launchday.ledger.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._log: AppendLog | None = None
        self._lines: list[str] = []
        self._count = 0

    @property
    def kept(self) -> bool:
        """Whether anything is noted: what it needs must not be worked out in vain."""
        return self._log is not None

    def begin(self) -> None:
        """Make the file, before the first arrival."""
        if self._path:
            self._log = AppendLog(self._path)

    def note(
        self,
        key: str,
        endpoint: str,
        outcome: Outcome,
        status: int = 0,
        answer: Mapping[str, Any] | None = None,
    ) -> None:
        """Note what a request was told; `answer` is the JSON object of a 2xx, if it was one."""
        if self._log is None:
            return
        line = {
            "key": key,
            "endpoint": endpoint,
            "unix": round(time.time(), 3),
            "outcome": outcome.value,
            "status": status,
            "id": answer and text_or_none(answer.get("id", answer.get("command_id"))),
            "state": answer and text_or_none(answer.get("state")),
        }
        self._lines.append(_encode(line))
        self._count += 1

    def flush(self) -> None:
        """Write what was noted since the last flush, in one go."""
        if self._log and self._lines:
            lines, self._lines = self._lines, []
            self._log.write_bytes(("\n".join(lines) + "\n").encode())

    def end(self) -> None:
        """Write what is left and the last line, which says that nothing is missing."""
        self.flush()
        if self._log:
            self._log.write({"kind": "end", "lines": self._count})
        self.close()

    def close(self) -> None:
        """Stop writing; without `end` the ledger says that it is not complete."""
        if self._log:
            self._log.close()
            self._log = None
