"""Rows of delimited text as people write and export them, each with its line in the file."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from launchday.capacity.importers.source import Source

_COMMENT = re.compile(r"^[ \t]*#", re.MULTILINE)
_DELIMITERS = ",;\t|"
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*", re.ASCII)
_NUMERIC = re.compile(r"\s*[+-]?[\d.]+([eE][+-]?\d+)?\s*", re.ASCII)


def rows_of(source: Source) -> Iterator[tuple[int, list[str]]]:
    """Line (from 1) and cells of the header and every row; blank lines and `#` ones left out.

    The delimiter is the one of , ; tab | that the header has most. Where it is no comma, 0,5 is
    read as 0.5.

    Raises:
        RecordError: quotes that do not end, a cell beyond 128 KB, a row that is not as long as
            the header.
    """
    delimiter = _delimiter(source.text)
    lines = _lines(source.text) if _COMMENT.search(source.text) else _plain(source.text)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    width = 0
    try:
        for row in reader:
            if (
                len(row) == width > 1 and row[0] and delimiter == ","
            ):  # the quick way: there are millions
                yield reader.line_num, row
                continue
            if not any(cell.strip() for cell in row):
                continue
            width = width or len(row)
            if delimiter != ",":
                row = [_with_point(cell) for cell in row]
            yield reader.line_num, _of_width(source, reader.line_num, row, width)
    except csv.Error as error:
        raise source.refused(f"is no table: {error}", max(1, reader.line_num)) from None


def _delimiter(text: str) -> str:
    header = next((line for line in _lines(text) if line.strip()), "")
    return max(_DELIMITERS, key=header.count)


def _plain(text: str) -> Iterator[str]:
    return io.StringIO(text, newline=None)


def _lines(text: str) -> Iterator[str]:
    """Comments become blank lines, so that the lines are still counted right."""
    for line in _plain(text):
        yield "\n" if line.lstrip().startswith("#") else line


def _with_point(cell: str) -> str:
    return cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell


def _of_width(source: Source, line: int, row: list[str], width: int) -> list[str]:
    """A row without the empty cells that a delimiter at its end makes."""
    while len(row) > width and not row[-1].strip():
        row = row[:-1]
    if len(row) != width:
        raise source.refused(f"has {len(row)} cells, the header has {width}", line)
    return row


def is_header(cells: list[str]) -> bool:
    """Whether a first row is names: not one cell of it is a number."""
    return not any(_NUMERIC.fullmatch(cell) for cell in cells)
