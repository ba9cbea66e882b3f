"""Python source as `ruff format` leaves it: literals, calls, names and words for comments."""

from __future__ import annotations

import keyword
import math
import re
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 88
"""Columns of a generated file: the formatter's own default, whatever the reader has set."""

_INDENT = 4
_BRACKETS: dict[type, tuple[str, str]] = {dict: ("{", "}"), list: ("[", "]"), tuple: ("(", ")")}
_TYPOGRAPHY = {
    **dict.fromkeys((0x2010, 0x2011, 0x2012, 0x2013, 0x2014), "-"),
    **dict.fromkeys((0x2018, 0x2019), "'"),
    **dict.fromkeys((0x201C, 0x201D), '"'),
    0x2026: "...",
}


@dataclass(frozen=True)
class Expression:
    """Python that stands where a literal would, as it is: a variable, an f-string, a call."""

    text: str


@dataclass(frozen=True)
class Call:
    """A function of one argument where a literal would stand."""

    function: str
    argument: Any


def string(value: str) -> str:
    """A string literal, with the quotes that need fewer escapes; what looks like ASCII and is not
    is escaped."""
    quote = "'" if value.count('"') > value.count("'") else '"'
    return quote + escaped(value, quote) + quote


def escaped(value: str, quote: str = '"') -> str:
    """The inside of a string literal between `quote`s."""
    return "".join(_escaped(character, quote) for character in value)


def _escaped(character: str, quote: str) -> str:
    if character in ("\\", quote):
        return "\\" + character
    plain = " " <= character <= "~"
    letter = unicodedata.category(character)[0] in "LN" and character.isprintable()
    if plain or (letter and unicodedata.normalize("NFKC", character) == character):
        return character
    return character.encode("unicode_escape").decode("ascii")


def one_line(value: Any) -> str:
    """A literal of JSON values, tuples and expressions in one line."""
    if isinstance(value, Expression):
        return value.text
    if isinstance(value, Call):
        return f"{value.function}({one_line(value.argument)})"
    if isinstance(value, str):
        return string(value)
    if isinstance(value, dict):
        return f"{{{', '.join(_pair(key, item) for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(one_line, value))}]"
    if isinstance(value, tuple):
        comma = "," if len(value) == 1 else ""
        return f"({', '.join(map(one_line, value))}{comma})"
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return repr(value)


def _pair(key: object, item: Any) -> str:
    # Another dictionary is spread: `{**BEARER, "X": "1"}`.
    return f"**{key.text}" if isinstance(key, Expression) else f"{one_line(key)}: {one_line(item)}"


def literal(value: Any, *, indent: int = 0, before: str = "", after: str = "") -> str:
    """A statement or a part of it: `before`, the literal and `after`, in lines that are short
    enough, the first of them without its `indent` (in columns)."""
    line = before + one_line(value) + after
    if indent + len(line) <= WIDTH:
        return line
    inner = " " * (indent + _INDENT)
    if isinstance(value, str):
        return _long_string(value, indent, before, after)
    if isinstance(value, Call):
        return call(value.function, [("", value.argument)], indent=indent, before=before)
    parts = _parts(value, indent + _INDENT)
    if not parts:
        return line
    opening, closing = _BRACKETS[type(value)]
    body = "".join(f"{inner}{part},\n" for part in parts)
    return f"{before}{opening}\n{body}{' ' * indent}{closing}{after}"


def _parts(value: Any, indent: int) -> list[str]:
    if isinstance(value, dict):
        return [
            f"**{key.text}"
            if isinstance(key, Expression)
            else literal(item, indent=indent, before=f"{one_line(key)}: ", after="")
            for key, item in value.items()
        ]
    if isinstance(value, (list, tuple)):
        return [literal(item, indent=indent) for item in value]
    return []


def _long_string(value: str, indent: int, before: str, after: str) -> str:
    inner = " " * (indent + _INDENT)
    pieces, piece = [], ""
    room = max(20, WIDTH - indent - _INDENT - 2)
    quote = string(value)[0]
    for character in value:
        if len(escaped(piece + character, quote)) > room:
            pieces.append(piece)
            piece = ""
        piece += character
    pieces.append(piece)
    body = "".join(f"{inner}{quote}{escaped(part, quote)}{quote}\n" for part in pieces)
    return f"{before}(\n{body}{' ' * indent}){after}"


def call(
    function: str,
    arguments: Sequence[tuple[str, Any]],
    *,
    indent: int,
    before: str = "",
    after: str = "",
) -> str:
    """A call with (keyword or "", value) arguments, in one line or with one argument a line."""
    named = [(f"{name}=" if name else "", value) for name, value in arguments]
    line = f"{before}{function}({', '.join(name + one_line(v) for name, v in named)}){after}"
    if indent + len(line) <= WIDTH or not named:
        return line
    inner = " " * (indent + _INDENT)
    parts = [literal(v, indent=indent + _INDENT, before=name) for name, v in named]
    body = "".join(f"{inner}{part},\n" for part in parts)
    return f"{before}{function}(\n{body}{' ' * indent}){after}"


def words(text: str) -> str:
    """Somebody's words for a comment or a docstring: one line, nothing that ends the string."""
    flat = " ".join(text.translate(_TYPOGRAPHY).split())
    kept = "".join(c for c in flat if c.isprintable() and (c.isascii() or c.isalnum()))
    return kept.replace("\\", "/").replace('"""', "'''").replace("`", "'").rstrip('"')


def comment(text: str, indent: int = 0) -> str:
    """Lines of a comment that are short enough."""
    prefix = " " * indent + "# "
    return "\n".join(
        textwrap.wrap(words(text), WIDTH, initial_indent=prefix, subsequent_indent=prefix)
    )


def sentence(text: str, indent: int) -> str:
    """A docstring of one line from somebody's words, cut where the line ends."""
    room = WIDTH - indent - len('"""."""')
    short = textwrap.shorten(words(text).rstrip(" ."), room, placeholder=" ...")
    return f'"""{short if short.endswith("...") else short + "."}"""'


def identifier(text: str, fallback: str) -> str:
    """A name in snake_case from any text, or `fallback` when nothing of it can be one."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    split = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", ascii_text)
    name = re.sub(r"[^a-z0-9]+", "_", split.lower()).strip("_")[:50].rstrip("_")
    if not name:
        return fallback
    if name[0].isdigit() or keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return f"{fallback}_{name}"
    return name


def class_name(name: str) -> str:
    """A class's name from one in snake_case."""
    return "".join(part.capitalize() for part in name.split("_"))
