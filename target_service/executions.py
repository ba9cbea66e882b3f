"""What the cars executed: a bounded memory by command id, and a journal that outlives a kill -9."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Far more than clients retry across.
REMEMBERED_EXECUTIONS = 1_000_000


class KeyReused(Exception):
    """A command id came again with another car, command or arguments."""


@dataclass(frozen=True, slots=True)
class Order:
    """One command for one car; `key` is its id, `arguments` what `canonical` returns."""

    key: str
    vin: str
    command: str
    arguments: str = "{}"

    def require_same(self, other: Order) -> None:
        """Raise KeyReused unless the other order, with the same key, is this one."""
        if self != other:
            raise KeyReused


@dataclass(frozen=True, slots=True)
class Execution:
    """An order that a car executed, at `unix` seconds."""

    order: Order
    unix: float

    def line(self) -> bytes:
        """Return it as one line of JSON: key, vin, command, arguments, unix."""
        order = self.order
        key, vin, command = json.dumps(order.key), json.dumps(order.vin), json.dumps(order.command)
        return (
            f'{{"key":{key},"vin":{vin},"command":{command},'
            f'"arguments":{order.arguments},"unix":{self.unix!r}}}\n'
        ).encode()

    @classmethod
    def of_line(cls, line: bytes) -> Execution:
        """Undo `line`. Raises ValueError."""
        row = json.loads(line)
        try:
            key, vin, command = str(row["key"]), str(row["vin"]), str(row["command"])
            return cls(Order(key, vin, command, canonical(row["arguments"])), float(row["unix"]))
        except (KeyError, TypeError):
            raise ValueError("is no execution") from None


class Executions:
    """Remembers what was executed; the oldest is forgotten beyond `remembered`.

    With a `journal` every execution is in that file before `add` returns, and is there again
    when the file is opened anew. Raises OSError when the file cannot be used, ValueError when it
    holds something else.
    """

    def __init__(self, journal: Path | None, remembered: int = REMEMBERED_EXECUTIONS) -> None:
        self._remembered = remembered
        self._by_key: OrderedDict[str, Order] = OrderedDict()
        # Beside the memory by key, so that a command that was executed twice is seen twice.
        self._in_order: deque[Execution] = deque(maxlen=remembered)
        self._journal = _Journal(journal, self._remember) if journal else None

    def knows(self, order: Order) -> bool:
        """Return whether the order was executed. Raises KeyReused."""
        before = self._by_key.get(order.key)
        if before is not None:
            before.require_same(order)
        return before is not None

    def add(self, order: Order, unix: float) -> None:
        """Remember an execution. Raises OSError, and then it is not remembered."""
        execution = Execution(order, unix)
        if self._journal:
            self._journal.append(execution.line())
        self._remember(execution)

    def _remember(self, execution: Execution) -> None:
        self._in_order.append(execution)
        self._by_key.setdefault(execution.order.key, execution.order)
        if len(self._by_key) > self._remembered:
            self._by_key.popitem(last=False)

    def since(self, unix: float) -> list[Execution]:
        """Return what was executed at `unix` or later, oldest first, doubles included."""
        return [execution for execution in self._in_order if execution.unix >= unix]

    def keys(self, vin: str) -> list[str]:
        """Return the ids that this car executed, oldest first, doubles included."""
        return [done.order.key for done in self._in_order if done.order.vin == vin]

    def close(self) -> None:
        """Close the journal; a second call does nothing."""
        if self._journal:
            self._journal.close()


class _Journal:
    """An append-only file of lines, for one process at a time.

    Unbuffered and without fsync: the gateway's process may die at any moment, and what the
    kernel has survives that; the machine, which stands for all the cars, does not die.
    """

    def __init__(self, path: Path, remember: Callable[[Execution], None]) -> None:
        if path.exists() and not path.is_file():
            raise ValueError("must be a file")
        self._file = path.open("ab", buffering=0)
        self._size_bytes = 0
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._load(path, remember)
        except BlockingIOError:
            self.close()
            raise ValueError("another gateway uses it") from None
        except (OSError, ValueError):
            self.close()
            raise

    def _load(self, path: Path, remember: Callable[[Execution], None]) -> None:
        """Read every line, and cut off a torn last one: its command was not answered."""
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                remember(_parse(line, number))
                self._size_bytes += len(line)
        self._file.truncate(self._size_bytes)

    def append(self, line: bytes) -> None:
        """Write one line wholly or not at all. Raises OSError."""
        if self._file.write(line) != len(line):
            self._file.truncate(self._size_bytes)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size_bytes += len(line)

    def close(self) -> None:
        self._file.close()


def _parse(line: bytes, number: int) -> Execution:
    try:
        return Execution.of_line(line)
    except (ValueError, RecursionError):
        raise ValueError(f"line {number} is no execution: name another file") from None


def canonical(arguments: Any) -> str:
    """Return the arguments of a command as text that is the same for equal arguments.

    Raises ValueError unless they are a JSON object.
    """
    if not isinstance(arguments, dict):
        raise ValueError("must be a JSON object")
    return json.dumps(arguments, allow_nan=False, sort_keys=True, separators=(",", ":"))
