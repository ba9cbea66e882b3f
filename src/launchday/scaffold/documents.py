"""Reads an OpenAPI document from JSON or YAML and follows its references."""

from __future__ import annotations

import json
from typing import Any, TypeAlias, cast
from urllib.parse import unquote

import yaml

from launchday.errors import SettingsError

Json: TypeAlias = Any

MOST_BYTES = 32_000_000
_MOST_REFERENCES = 50


class Unreadable(ValueError):
    """A part of a document cannot be used; the rest of it can."""


class _Loader(yaml.SafeLoader):
    """YAML as OpenAPI means it: a date is a string, as in JSON."""


_Loader.yaml_implicit_resolvers = {
    first: [rule for rule in rules if rule[0] != "tag:yaml.org,2002:timestamp"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(content: bytes, source: str) -> dict[str, Json]:
    """The document in `content`, JSON or YAML; `source` is what error messages call it.

    Raises:
        SettingsError: it is neither, is a web page, is too large, or is no OpenAPI 3.0 or 3.1.
    """
    if len(content) > MOST_BYTES:
        raise SettingsError(f"{source} is larger than {MOST_BYTES // 1_000_000} MB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{source} is no UTF-8 text ({error.reason})") from error
    if text.lstrip()[:1] == "<":
        raise SettingsError(
            f"{source} is a web page; give the address of the document itself, for example "
            "http://127.0.0.1:8000/openapi.json"
        )
    try:
        document = _parsed(text)
    except RecursionError as error:
        raise SettingsError(f"{source} is nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise SettingsError(f"{source} is neither JSON nor YAML: {why}") from error
    return _checked(document, source)


def _parsed(text: str) -> Json:
    if text.lstrip()[:1] == "{":
        try:
            return json.loads(text)
        except ValueError as error:
            # A flow mapping of YAML may begin like JSON; what is wrong with JSON is said as such.
            if text.lstrip()[1:].lstrip()[:1] in ('"', ""):
                raise ValueError(f"as JSON: {error}") from error
    return _TextKeys().read(yaml.load(text, _Loader))


class _TextKeys:
    """YAML reads the key 200 as a number; JSON has no such keys.

    What several aliases share is read once, or a small file could stand for a giant one.
    """

    def __init__(self) -> None:
        self._done: dict[int, Json] = {}
        self._open: set[int] = set()

    def read(self, value: Json) -> Json:
        """The same with keys of text. Raises RecursionError for an alias that holds itself."""
        if not isinstance(value, (dict, list)):
            return value
        if id(value) in self._open:
            raise RecursionError
        if id(value) not in self._done:
            self._open.add(id(value))
            self._done[id(value)] = (
                {str(key): self.read(item) for key, item in value.items()}
                if isinstance(value, dict)
                else [self.read(item) for item in value]
            )
            self._open.remove(id(value))
        return self._done[id(value)]


def _checked(document: Json, source: str) -> dict[str, Json]:
    if not isinstance(document, dict):
        raise SettingsError(f"{source} is no OpenAPI document: it holds no object")
    if "swagger" in document:
        raise SettingsError(
            f"{source} is Swagger {document['swagger']}; launchday reads OpenAPI 3.0 and 3.1: "
            "convert it first"
        )
    version = str(document.get("openapi", ""))
    if not version.startswith(("3.0", "3.1")):
        raise SettingsError(
            f"{source} is no OpenAPI document of version 3.0 or 3.1: its `openapi` is {version!r}"
        )
    if not isinstance(document.get("paths") or {}, dict):
        raise SettingsError(f"{source}: `paths` must be an object")
    return cast(dict[str, Json], document)


class References:
    """Follows `$ref` inside one document (RFC 6901 pointers)."""

    def __init__(self, document: Json) -> None:
        self._document = document

    def resolve(self, value: Json) -> Json:
        """`value`, or what it refers to.

        Raises:
            Unreadable: it refers to another file, to nothing, or to itself.
        """
        for _ in range(_MOST_REFERENCES):
            reference = value.get("$ref") if isinstance(value, dict) else None
            if not isinstance(reference, str):
                return value
            beside = {key: item for key, item in value.items() if key != "$ref"}
            found = self._find(reference)
            # 3.1 allows keywords beside a reference.
            value = {**found, **beside} if beside and isinstance(found, dict) else found
        raise Unreadable("a reference leads back to itself")

    def table(self, value: Json) -> dict[str, Json]:
        """What `value` is or refers to, if it is an object; else an empty one."""
        found = self.resolve(value)
        return found if isinstance(found, dict) else {}

    def _find(self, reference: str) -> Json:
        if not reference.startswith("#"):
            raise Unreadable(f"it refers to another file, {reference}")
        found = self._document
        for part in unquote(reference[1:]).split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(key) if isinstance(found, list) else key]
            except (KeyError, IndexError, ValueError, TypeError) as error:
                raise Unreadable(f"it refers to {reference}, which is not there") from error
        return found


def table_at(holder: Json, key: str) -> dict[str, Json]:
    """`holder[key]` if it is an object, else an empty one."""
    value = holder.get(key) if isinstance(holder, dict) else None
    return value if isinstance(value, dict) else {}


def list_at(holder: Json, key: str) -> list[Json]:
    """`holder[key]` if it is a list, else an empty one."""
    value = holder.get(key) if isinstance(holder, dict) else None
    return value if isinstance(value, list) else []
