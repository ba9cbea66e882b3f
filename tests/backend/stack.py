"""One reference backend with its gateway, and its audit at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launchday.load.ledger_book import LedgerBook
from launchday.runs.audit import Audit, audit_record
from launchday.runs.stop import Stop
from launchday.runs.stored import Question, ask
from tests.target_service.processes import ADMIN_TOKEN, FAST, FREE_PORTS, Process


class Stack:
    """A gateway that stays up, and a backend that may be killed and started again.

    `book` notes what clients were told; `audit` compares it with what is stored and executed.
    """

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self._folder = folder
        self._run = folder / "run"
        self._run.mkdir()
        self.book = LedgerBook(self._run / "ledger-0.jsonl")
        self.book.begin()
        self._started_unix = time.time()
        common = {**FREE_PORTS, **FAST, "TARGET_ADMIN_TOKEN": ADMIN_TOKEN, **settings}
        self.gateway = Process("target_service.gateway", folder / "gateway-log", common)
        self._settings = {
            "TARGET_DATABASE_URL": f"sqlite:///{folder / 'car.db'}",
            "TARGET_GATEWAY_URL": self.gateway.url,
            **common,
        }
        self.target = self._start()

    def _start(self) -> Process:
        return Process("target_service", self._folder / "target-log", self._settings)

    def restart(self) -> None:
        """Start the backend again at the same address, after it was killed."""
        self.target.close()
        self._settings["TARGET_PORT"] = str(self.target.port)
        self.target = self._start()

    def audit(self) -> Audit:
        """Ask the backend what it stored, and judge: for once, at the end."""
        self.book.end()
        question = Question(self.target.url, ADMIN_TOKEN, self._started_unix, exclusive=True)
        ask(question, self._run, Stop())
        return audit_record(self._run)

    def close(self) -> None:
        self.book.close()
        self.target.close()
        self.gateway.close()


@contextmanager
def stack(folder: Path, **settings: str) -> Iterator[Stack]:
    """Run a stack; `settings` are those of both."""
    running = Stack(folder, settings)
    try:
        yield running
    finally:
        running.close()
