"""Values of a recorded session: where they came from, and which are ids."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from launchday.scaffold.documents import Json
from launchday.scaffold.har import Exchange
from launchday.scaffold.har_secrets import is_secret_name

_LOGIN_NAME = re.compile(r"^(e?-?mail|user(_?name)?|login|phone)$", re.IGNORECASE)
_ID_NAME = re.compile(
    r"(^|[-_])(id|uuid|guid|slug|sku|handle|number|no|code|vin|ref|reference|token|etag|cursor)$|[a-z](Id|Uuid|Key|Code|Number|Token|Ref)$"
)
_ID = re.compile(
    r"\d+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{12,}"
    r"|[0-9A-HJKMNP-TV-Z]{26}|[A-HJ-NPR-Z0-9]{17}",
    re.IGNORECASE,
)
_MIXED = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w~-]+")
_MOST_LEAVES = 5_000
DECODED = 1
"""Behind the name of a cookie: its value as text, not as it was sent."""


@dataclass(frozen=True)
class Source:
    """Where a value was first seen: in the answer of step `step`.

    `path` leads to it: keys of a JSON body, the name of a header or cookie, the number of a
    segment of Location counted from its end, or the text right before it in a page. `number`: JSON
    holds it as one.
    """

    step: int
    kind: Literal["json", "header", "cookie", "location", "text"]
    path: tuple[str | int, ...]
    number: bool = False

    @property
    def key(self) -> str:
        """The name nearest to the value."""
        names = [part for part in self.path if isinstance(part, str)]
        return names[-1] if names else ""


def is_login_name(name: str) -> bool:
    """Whether what is called so, beside a password, says who signs in."""
    return bool(_LOGIN_NAME.search(name))


def is_id(segment: str) -> bool:
    """Whether a segment of a path names one thing, and not a kind of things."""
    if _ID.fullmatch(segment) or "@" in segment or len(segment) > 40:
        return True
    return (
        len(segment) >= 8 and len(re.findall(r"\d", segment)) >= 3 and bool(_MIXED.match(segment))
    )


def is_specific(value: str) -> bool:
    """Whether two equal values can hardly be equal by accident."""
    if len(value) >= 16 or (value.isdigit() and len(value) >= 5):
        return True
    return len(value) >= 8 and any(character.isdigit() for character in value)


def names_one(key: str) -> bool:
    """Whether a field called `key` holds an id."""
    return bool(_ID_NAME.search(key))


def template(path: str, variable: frozenset[str] = frozenset()) -> str:
    """A path without its ids: `/v1/vehicles/{id}`; `variable` are segments that are known to be."""
    segments = path.split("/")
    return "/".join("{id}" if s and (s in variable or is_id(unquote(s))) else s for s in segments)


def sources(step: int, exchange: Exchange) -> Iterator[tuple[str, Source]]:
    """Every value of an answer that a later request could carry."""
    for name, value in exchange.cookies.items():
        yield value, Source(step, "cookie", (name,))
        if unquote(value) != value:
            yield unquote(value), Source(step, "cookie", (name, DECODED))
    yield from _of_headers(step, exchange)
    if "json" in exchange.media_type or exchange.text.lstrip().startswith(("{", "[")):
        yield from _of_json(step, exchange.text)


def _of_headers(step: int, exchange: Exchange) -> Iterator[tuple[str, Source]]:
    for name, value in exchange.response_headers:
        if name == "etag" or (name != "set-cookie" and is_secret_name(name)):
            yield value, Source(step, "header", (name,))
    for value in exchange.headers("location"):
        for back, segment in enumerate(reversed(urlsplit(value).path.split("/")), 1):
            if is_id(segment) or is_specific(segment):
                yield unquote(segment), Source(step, "location", (-back,))


def _of_json(step: int, text: str) -> Iterator[tuple[str, Source]]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return
    for count, (value, path) in enumerate(leaves(document)):
        if count >= _MOST_LEAVES:
            return
        if value is not None and not isinstance(value, (bool, float)):
            yield str(value), Source(step, "json", path, number=isinstance(value, int))


def leaves(document: Json) -> Iterator[tuple[Json, tuple[str | int, ...]]]:
    """Every scalar of a JSON document with the way to it, the shallow ones first."""
    level: list[tuple[Json, tuple[str | int, ...]]] = [(document, ())]
    while level:
        deeper: list[tuple[Json, tuple[str | int, ...]]] = []
        for value, path in level:
            if isinstance(value, dict):
                deeper += [(item, (*path, key)) for key, item in value.items()]
            elif isinstance(value, list):
                deeper += [(item, (*path, index)) for index, item in enumerate(value)]
            else:
                yield value, path
        level = deeper
