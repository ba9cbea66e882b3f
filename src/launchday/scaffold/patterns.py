"""A short string that matches a regular expression, as well as can be."""

from __future__ import annotations

import re
import warnings

# The parser of the standard library, private but there since 3.11; what it cannot read, or reads
# differently, ends in None: every string is checked against the expression itself.
from re import _parser as parser  # type: ignore[attr-defined] # typeshed does not know it
from typing import Any

_CATEGORIES = {
    "CATEGORY_DIGIT": "1",
    "CATEGORY_WORD": "a",
    "CATEGORY_SPACE": " ",
    "CATEGORY_NOT_DIGIT": "a",
    "CATEGORY_NOT_WORD": "-",
    "CATEGORY_NOT_SPACE": "a",
}
_USUAL = "aA1-_ .~:/!"
_LONGEST = 10_000


def matching(pattern: str, least: int = 0, most: int = _LONGEST) -> str | None:
    """A string of `least` to `most` characters in which `pattern` is found, or None.

    JSON Schema searches: only ^ and $ tie the expression to the ends.
    """
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # "[[" and such
            expression = re.compile(pattern)
            parsed = list(parser.parse(pattern))
        for extra in (0, max(0, least - 1), least):
            found = "".join(_text(part, extra) for part in parsed)
            found += "a" * (least - len(found)) if not pattern.endswith("$") else ""
            if least <= len(found) <= most and expression.search(found):
                return found
    except (re.error, RecursionError, OverflowError, ValueError, LookupError, TypeError):
        return None
    return None


def _text(part: Any, extra: int) -> str:
    """Of one parsed part; `extra` more repetitions than the least where there may be."""
    kind, value = str(part[0]), part[1]
    if kind == "LITERAL":
        return chr(value)
    if kind in ("IN", "NOT_LITERAL", "ANY", "CATEGORY"):
        return _character(kind, value)
    if kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        least, most, body = value
        count = min(int(least) + extra, int(most), _LONGEST)
        return "".join(_text(each, 0) for each in body) * count
    if kind == "SUBPATTERN":
        return "".join(_text(each, extra) for each in value[3])
    if kind == "BRANCH":
        return "".join(_text(each, extra) for each in value[1][0])
    return ""  # anchors and assertions: the check at the end decides


def _character(kind: str, value: Any) -> str:
    if kind == "CATEGORY":
        return _CATEGORIES.get(str(value), "a")
    if kind == "ANY":
        return "a"
    if kind == "NOT_LITERAL":
        return "b" if value == ord("a") else "a"
    negated = str(value[0][0]) == "NEGATE"
    members = value[1:] if negated else value
    for usual in _USUAL:
        if _in(usual, members) != negated:
            return usual
    kind, first = str(members[0][0]), members[0][1]
    return chr(first[0] if kind == "RANGE" else first) if kind != "CATEGORY" else "a"


def _in(character: str, members: Any) -> bool:
    return any(
        (str(kind) == "LITERAL" and ord(character) == value)
        or (str(kind) == "RANGE" and value[0] <= ord(character) <= value[1])
        or (str(kind) == "CATEGORY" and _CATEGORIES.get(str(value)) == character)
        for kind, value in members
    )
