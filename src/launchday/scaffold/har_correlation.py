"""Tells values that an answer gave from those that the browser knew, and hides the secret ones."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from launchday.scaffold.documents import Json
from launchday.scaffold.har import Exchange, Payload
from launchday.scaffold.har_secrets import (
    is_password_name,
    is_secret,
    is_secret_name,
    looks_random,
    secrets_in,
)
from launchday.scaffold.har_values import (
    Source,
    is_id,
    is_login_name,
    is_specific,
    names_one,
    sources,
)
from launchday.scaffold.python_text import Call, Expression, escaped, identifier

_SHORTEST_INSIDE = 16
_SHORTEST_SECRET_INSIDE = 6
_CONTEXT = 40
_WORDS = (
    re.compile(rf"[\w-]{{{_SHORTEST_INSIDE},}}"),
    re.compile(rf"[\w.~+/=:%-]{{{_SHORTEST_INSIDE},}}"),
)
_GENERAL = {"id", "uuid", "guid", "key", "code", "number", "no", "token", "ref", "slug", "value"}
# What a generated journey uses itself.
_IN_THE_WAY = {"self", "response", "quote", "unquote", "urlencode", "json", "time", "os", "re"}


@dataclass(frozen=True)
class _Joined(Expression):
    """An f-string; `parts` are what it is made of."""

    parts: tuple[Json, ...]


class Values:
    """The values of a session, fed exchange by exchange: first what was asked, then the answer.

    A value is taken from an answer if the browser had not sent it before: then it knew it anyway.
    `name` begins the environment variables; `secret_names` are secrets that are known already.
    """

    def __init__(self, name: str, secret_names: Mapping[str, str] | None = None) -> None:
        self._prefix = name.upper()
        self._sources: dict[str, Source] = {}
        self._cookies: dict[tuple[str, str], Source] = {}
        self._texts: list[tuple[int, str]] = []
        self._sent: set[str] = set()
        self._variables: dict[Source, str] = {}
        self._secrets = dict(secret_names or {})
        self._constants: dict[str, str] = {}
        self._places: dict[int, str] = {}
        self._had_cookies: dict[str, None] = {}
        self.tracking_cookies: dict[str, None] = {}

    @property
    def secrets(self) -> tuple[tuple[str, str], ...]:
        """Constants and the environment variables that they read."""
        return tuple((name, f"{self._prefix}_{name}") for name in self._constants)

    @property
    def cookies(self) -> tuple[str, ...]:
        """The names of the cookies that the browser had from before, as far as they are names."""
        return tuple(name for name in self._had_cookies if not looks_random(name))

    @property
    def secret_names(self) -> Mapping[str, str]:
        """The constants of all secrets, empty for those that never stood alone."""
        return self._secrets

    def taken_from(self, step: int) -> list[tuple[str, Source]]:
        """Variables that later requests need of the answer of `step`."""
        return [(name, source) for source, name in self._variables.items() if source.step == step]

    def answered(self, step: int, exchange: Exchange) -> None:
        """Note what the answer of `step` holds."""
        literal = [s for s in exchange.path.split("/") if s and not is_id(unquote(s))]
        self._places[step] = identifier(literal[-1], "page") if literal else "page"
        for value, source in sources(step, exchange):
            if source.kind == "cookie":
                self._cookies[str(source.path[0]), value] = source
            if not value or value in self._sent:
                continue
            known = self._sources.setdefault(value, source)
            if known.step == step and names_one(source.key) and not names_one(known.key):
                self._sources[value] = source
        if exchange.text and exchange.media_type.startswith("text/"):
            self._texts.append((step, exchange.text))

    def remember_login(self, fields: Mapping[str, str]) -> None:
        """Who signs in belongs in no file either: names beside a password."""
        if any(map(is_password_name, fields)):
            for name, value in fields.items():
                if is_login_name(name) and value:
                    self.secret(value, name)

    def had_cookie(self, name: str, value: str) -> None:
        """A cookie from before is a secret that is part of another one, the header's.

        Where it stands alone, it gets its own name.
        """
        self._had_cookies.setdefault(name)
        if len(value) >= _SHORTEST_SECRET_INSIDE:
            self._secrets.setdefault(value, "")

    def put(self, value: str, name: str, *, body: bool = False) -> Json:
        """What stands for `value` of the field `name`: a variable, a secret, or itself.

        Outside of a `body` what looks random is a secret, too, whatever it is called: bodies hold
        ids and hashes that clients make up.
        """
        variable = self.variable(value, name)
        if variable:
            return variable
        self._sent.add(value)
        if value in self._secrets or is_secret(value, name) or (not body and looks_random(value)):
            return self.secret(value, name)
        return self.mixed(value)

    def segment(self, value: str, before: str) -> Json:
        """What stands for a segment of a path, which comes after the segment `before`."""
        variable = self.variable(value, before, in_path=True)
        if variable:
            return variable
        self._sent.add(value)
        named = is_secret_name(before) and is_id(value) and not value.isdigit()
        if looks_random(value) or named:
            return self.secret(value, before)
        return self.mixed(value)

    def variable(self, value: str, name: str, *, in_path: bool = False) -> Expression | None:
        """The variable that holds `value`, if an answer gave it."""
        source = self._sources.get(value)
        if source is None:
            source = self._in_a_page(value) if is_secret_name(name) else None
        elif not is_specific(value):
            one = names_one(source.key) or source.kind == "location"
            if not (one and (names_one(name) or (in_path and (is_id(value) or len(value) > 3)))):
                source = None
        if source is None:
            return None
        text = self._name(source)
        return Expression(text)

    def cookie(self, name: str, value: str) -> Expression | None:
        """The variable that holds a cookie, if an answer set it."""
        source = self._cookies.get((name, value))
        return Expression(self._name(source)) if source else None

    def secret(self, value: str, name: str, *, one: bool = False) -> Expression:
        """The constant that reads `value` from the environment; `one`: whatever its value is."""
        constant = self._secrets.get(value)
        if not constant:
            base = constant = identifier(name, "secret").upper()
            taken = {"PARAMETERS", *self._constants, *self._secrets.values()}
            numbers = itertools.count(2)
            while constant in taken and not one:
                constant = f"{base}_{next(numbers)}"
            self._secrets[value] = constant
        self._constants.setdefault(constant, value)
        return Expression(constant)

    def tree(self, document: Json, name: str) -> Json:
        """A JSON document with its values put."""
        if isinstance(document, dict):
            self.remember_login({k: v for k, v in document.items() if isinstance(v, str)})
            inherited = is_password_name(name)  # {"passwords": {"old": "...", "new": "..."}}
            return {
                key: self.tree(item, name if inherited and not is_secret_name(key) else key)
                for key, item in document.items()
            }
        if isinstance(document, list):
            return [self.tree(item, name) for item in document]
        if isinstance(document, str):
            value = self.field(document, name)
            return self.joined([value, ""]) if self._is_number(document) else value
        if isinstance(document, int) and not isinstance(document, bool):
            value = self.put(str(document), name, body=True)
            if isinstance(value, str):
                return document
            number = self._is_number(str(document))
            return value if number else Expression(f"int({value.text})")
        return document

    def field(self, text: str, name: str) -> Json:
        """What stands for a text of a body, which may be JSON itself."""
        if text not in self._sources:
            try:
                inner = Payload("", text).json()
                read = self.tree(inner, name)
            except (ValueError, RecursionError):
                return self.put(text, name, body=True)
            if read != inner:
                return Call("json.dumps", read)
        return self.put(text, name, body=True)

    def mixed(self, text: str) -> Json:
        """`text` with the secrets and the known values inside it replaced."""
        parts: list[Json] = []
        at = 0
        for start, end, name in secrets_in(text):
            value = text[start:end]
            secret = self.variable(value, name) or self.secret(value, name)
            parts += [self._replaced(text[at:start]), secret]
            at = end
        return self.joined([*parts, self._replaced(text[at:])])

    def _replaced(self, text: str) -> Json:
        """`text` with the known values inside it replaced."""
        if len(text) < _SHORTEST_SECRET_INSIDE:
            return text
        # Word by word: a session may have given out a million values.
        words = {word for pattern in _WORDS for word in pattern.findall(text)}
        inside: list[tuple[str, Source | str]] = [
            (word, self._sources[word]) for word in words if word in self._sources
        ]
        inside += [
            (value, constant)
            for value, constant in self._secrets.items()
            if len(value) >= _SHORTEST_SECRET_INSIDE and _stands_in(value, text)
        ]
        if not inside:
            return text
        value, what = max(inside, key=lambda pair: len(pair[0]))
        if isinstance(what, Source):
            name = self._name(what)
        else:
            name = self.secret(value, "cookie_value").text
        parts: list[Json] = []
        for part in text.split(value):
            parts += [Expression(name), self._replaced(part)]
        return self.joined(parts[1:])

    def joined(self, parts: Sequence[Json]) -> Json:
        """One string of strings and expressions; a plain one if it can be."""
        if all(isinstance(part, str) for part in parts):
            return "".join(parts)
        if len(parts) == 1:
            return parts[0]
        return _joined(parts)

    def quoted(self, value: Json) -> Json:
        """`value` for a URL."""
        if isinstance(value, _Joined):
            return _joined([self.quoted(part) for part in value.parts])
        if isinstance(value, Expression):
            return Expression(f"quote(str({value.text}), safe='')".replace('"', "'"))
        return quote(value, safe="")

    def _is_number(self, value: str) -> bool:
        source = self._sources.get(value)
        return source is not None and source.number and source in self._variables

    def _in_a_page(self, value: str) -> Source | None:
        """A value that stands in a page, as a hidden field does: the text before it leads there."""
        if len(value) < 8:
            return None
        for step, text in reversed(self._texts):
            at = text.find(value)
            if at > 0:
                line = text[max(0, at - _CONTEXT) : at].rpartition("\n")[2]
                if line.strip():
                    source = Source(step, "text", (line,))
                    self._sources[value] = source
                    return source
        return None

    def _name(self, source: Source) -> str:
        if source not in self._variables:
            base = name = self._wish(source)
            while name in self._variables.values() or name in _IN_THE_WAY:
                name = f"{base}_{len(self._variables) + 2}"
            self._variables[source] = name
        return self._variables[source]

    def _wish(self, source: Source) -> str:
        place = _singular(self._places.get(source.step, "page"))
        if source.kind == "location":
            return f"{place}_id"
        if source.kind == "text":
            return f"{place}_token"
        name = identifier(source.key, "value")
        if name not in _GENERAL:
            return name
        names = [part for part in source.path[:-1] if isinstance(part, str)]
        return f"{_singular(identifier(names[-1], 'item')) if names else place}_{name}"


def _stands_in(value: str, text: str) -> bool:
    # The password "product" is no reason to take /products apart.
    if value.isalpha() and len(value) < _SHORTEST_INSIDE:
        return bool(re.search(rf"(?<![^\W_]){value}(?![^\W_])", text))
    return value in text


def _joined(parts: Sequence[Json]) -> _Joined:
    flat: list[Json] = []
    for part in parts:
        flat += part.parts if isinstance(part, _Joined) else [part]
    literal = "".join(part for part in flat if isinstance(part, str))
    code = "".join(part.text for part in flat if isinstance(part, Expression))
    mark = "'" if literal.count('"') > literal.count("'") and "'" not in code else '"'
    inside = "".join(
        f"{{{part.text}}}"
        if isinstance(part, Expression)
        else escaped(part, mark).replace("{", "{{").replace("}", "}}")
        for part in flat
    )
    return _Joined(f"f{mark}{inside}{mark}", tuple(flat))


def _singular(name: str) -> str:
    if name.endswith("ies"):
        return name[:-3] + "y"
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name
