"""The files of other tools as text, and their numbers: what cannot be read is named and refused."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launchday.errors import RecordError, SettingsError

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_ODD_NUMBER = re.compile(r"[+-]?(nan|inf(inity)?)", re.IGNORECASE)
SMALLEST, LARGEST = 1e-15, 1e20
"""What is measured lies between; so do products and quotients of two, within a float."""

_GZIP = b"\x1f\x8b"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Source:
    """A file that was read: its path, its text, and the SHA-256 of its bytes."""

    path: Path
    text: str
    digest: str

    def refused(self, words: str, line: int | None = None) -> RecordError:
        """The error that names this file, and the line (counted from 1) if there is one."""
        return RecordError(f"{self.at(line)}: {words}")

    def at(self, line: int | None = None) -> str:
        """The file, and the line in it, as people write it."""
        return self.path.name if line is None else f"{self.path.name} line {line}"


def read_sources(paths: Sequence[Path]) -> tuple[Source, ...]:
    """Read every file as text (UTF-8, or UTF-16 with its mark, as PowerShell writes it).

    Raises:
        SettingsError: no file, or the same file or the same content twice: it would count twice.
        RecordError: a file cannot be read, is empty, or is not text.
    """
    if not paths:
        raise SettingsError("no file to plan from: name at least one")
    seen: dict[str, Path] = {}
    sources = []
    for path in paths:
        source = _read(path)
        if source.digest in seen:
            raise SettingsError(
                f"{path} is the same as {seen[source.digest]}: a measurement counts once, "
                "leave one of them out"
            )
        seen[source.digest] = path
        sources.append(source)
    return tuple(sources)


def digest_of(sources: Sequence[Source]) -> str:
    """One SHA-256 for all files; the order in which they were named does not matter."""
    together = "\n".join(sorted(source.digest for source in sources))
    return hashlib.sha256(together.encode()).hexdigest()


def _read(path: Path) -> Source:
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        why = getattr(error, "strerror", None) or error
        raise RecordError(f"{path} cannot be read: {why}") from None
    if content.startswith(_GZIP):
        raise RecordError(f"{path} is compressed: unpack it first (gunzip)")
    source = Source(path, _text(path, content), hashlib.sha256(content).hexdigest())
    if not source.text.strip():
        raise source.refused("the file is empty")
    return source


def _text(path: Path, content: bytes) -> str:
    encoding = "utf-16" if content.startswith(_UTF_16) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise RecordError(f"{path} is not text: byte {error.start} is not {encoding}") from None
    if "\0" in text:
        raise RecordError(f"{path} is not text: it holds a NUL character")
    return text


def number(source: Source, line: int | None, column: str, cell: str) -> float:
    """A finite number of at least 0, of any column of any tool.

    Raises:
        RecordError: it is text, NaN, infinite or negative; names file, line, column and value.
    """
    shown = cell.strip()
    if not _NUMBER.fullmatch(shown):
        what = "not finite" if _ODD_NUMBER.fullmatch(shown) else "not a number"
        raise source.refused(f"column {column!r}: {_short(shown)} is {what}", line)
    value = float(shown)
    if value < 0 or value > LARGEST:
        what = "negative" if value < 0 else "too large"
        raise source.refused(f"column {column!r}: {_short(shown)} is {what}", line)
    return value


def positive(source: Source, line: int | None, column: str, cell: str) -> float:
    """`number`, and not 0: a load of nothing tells nothing.

    Raises:
        RecordError: as `number`, and for 0.
    """
    value = number(source, line, column, cell)
    if value < SMALLEST:
        what = "must be more than 0" if value == 0 else "is too small"
        raise source.refused(f"column {column!r}: {_short(cell)} {what}", line)
    return value


def _short(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:37] + "...")
