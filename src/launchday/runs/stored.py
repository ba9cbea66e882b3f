"""Asks the target what it stored and what the cars executed, once the load is over."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from launchday.ledger import STORED_FILE
from launchday.record import AppendLog, move
from launchday.runs.stop import Stop

_PATH = "/admin/ledger"
_ANSWER_SECONDS = 20.0
_PENDING_SECONDS = 15.0
_LIMIT_SECONDS = 60.0
_LIMIT_BYTES = 512 * 2**20
_READ_SECONDS = 10.0
_PAUSE_SECONDS = 0.5
# A target elsewhere has a clock of its own; what it stored before the run has no told key.
_CLOCKS_APART_SECONDS = 300.0
_SAME_CLOCK_SECONDS = 1.0


@dataclass(frozen=True)
class Question:
    """Whom to ask, and since when. `exclusive`: nobody but the generator used the target.

    `answer_seconds`: how long to ask a target that does not answer; `pending_seconds`: how long to
    wait for commands that have not ended; `limit_seconds` and `limit_bytes` bound the whole.
    """

    target: str
    admin_token: str | None = field(repr=False)
    started_unix: float
    exclusive: bool
    answer_seconds: float = _ANSWER_SECONDS
    pending_seconds: float = _PENDING_SECONDS
    limit_seconds: float = _LIMIT_SECONDS
    limit_bytes: int = _LIMIT_BYTES

    @property
    def since_unix(self) -> float:
        """What was stored earlier is not of this run."""
        return self.started_unix - (
            _SAME_CLOCK_SECONDS if self.exclusive else _CLOCKS_APART_SECONDS
        )


class _NoLedger(Exception):
    """The target has no ledger for us; asking again would not change that."""


class _Unanswered(Exception):
    """The target did not answer whole; it may when asked again."""


def ask(question: Question, run: Path, stop: Stop) -> None:
    """Write the target's ledger to stored.jsonl, or the reason why it is missing.

    Asks again while the target does not answer, and while commands are pending.

    Raises:
        RecordError: the file cannot be written.
        Interrupted: the user asked to stop.
    """
    path = run / STORED_FILE
    try:
        _ask_until_settled(question, path, stop)
    except _NoLedger as error:
        if not path.exists():  # else what it said a moment ago is whole, if not settled
            with closing(AppendLog(path)) as log:
                log.write({"kind": "missing", "reason": str(error)})


def _ask_until_settled(question: Question, path: Path, stop: Stop) -> None:
    if not question.admin_token:
        raise _NoLedger("the target was not asked what it stored: target.admin_token is not set")
    began = time.monotonic()
    deadline = settled = began + question.limit_seconds
    context = ssl.create_default_context()
    with httpx.Client(timeout=_READ_SECONDS, trust_env=False, verify=context) as client:
        while True:
            try:
                pending = _Copying(question, path, stop, deadline).run(client)
            except (_Unanswered, httpx.HTTPError) as error:
                words = str(error) or type(error).__name__
                if time.monotonic() > min(began + question.answer_seconds, deadline):
                    raise _NoLedger(f"the target did not say what it stored ({words})") from error
            else:
                settled = min(settled, time.monotonic() + question.pending_seconds)
                if not pending or time.monotonic() > settled:
                    return
            stop.wait(_PAUSE_SECONDS)


class _Copying:
    """One attempt to copy the target's ledger to `path`, which gets all of it or nothing."""

    def __init__(self, question: Question, path: Path, stop: Stop, deadline: float) -> None:
        self._question = question
        self._path = path
        self._stop = stop
        self._deadline = deadline
        self._pending = 0
        self._ended = False
        self._rest = b""

    def run(self, client: httpx.Client) -> int:
        """How many commands were pending in it."""
        part = self._path.with_suffix(".part")
        try:
            with closing(AppendLog(part)) as log:
                self._fill(log, client)
            move(part, self._path)
        finally:
            part.unlink(missing_ok=True)
        return self._pending

    def _fill(self, log: AppendLog, client: httpx.Client) -> None:
        question = self._question
        since, exclusive = question.since_unix, question.exclusive
        log.write({"kind": "asked", "since_unix": since, "exclusive": exclusive})
        url = f"{question.target.rstrip('/')}{_PATH}"
        params = {"since_unix": f"{since:.3f}"}
        headers = {"Authorization": f"Bearer {question.admin_token}"}
        with client.stream("GET", url, params=params, headers=headers) as response:
            _check(response.status_code)
            self._copy(response.iter_bytes(), log)
        if not self._ended:
            raise _Unanswered("its ledger broke off")

    def _copy(self, chunks: Iterator[bytes], log: AppendLog) -> None:
        size = 0
        for chunk in chunks:
            size += len(chunk)
            self._check_limits(size)
            self._look_at(chunk)
            log.write_bytes(chunk)

    def _check_limits(self, size: int) -> None:
        self._stop.check()
        if size > self._question.limit_bytes:
            limit = self._question.limit_bytes // 2**20
            raise _NoLedger(f"the target's ledger is larger than {limit} MiB")
        if time.monotonic() > self._deadline:
            limit_seconds = self._question.limit_seconds
            raise _NoLedger(f"the target's ledger took longer than {limit_seconds:.0f} s")

    def _look_at(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            try:
                parsed = json.loads(line)
                kind, state = parsed["kind"], parsed.get("state")
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise _NoLedger(f"the target answers {_PATH} with what is no ledger") from error
            self._pending += kind == "stored" and state == "pending"
            self._ended = kind == "end"


def _check(status: int) -> None:
    if status in (401, 403):
        raise _NoLedger(f"the target refused target.admin_token ({status} for {_PATH})")
    if status >= 500 or status in (408, 429):
        raise _Unanswered(f"{status} for {_PATH}")
    if status != 200:
        raise _NoLedger(f"the target has no ledger: {status} for {_PATH}")
