"""An example for a schema: what its author gave, else the least that the schema allows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from launchday.scaffold.documents import Json, References, Unreadable, list_at, table_at
from launchday.scaffold.patterns import matching

_DEEPEST = 12
_MOST_PARTS = 5000
_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1M",
    "email": "someone@example.com",
    "idn-email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uri-reference": "/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "byte": "bGF1bmNoZGF5",
    "password": "correct-horse-battery",
}


@dataclass(frozen=True)
class Example:
    """A value; `given` if the document's author chose it, rather than the schema's limits."""

    value: Json
    given: bool


def example_of(holder: dict[str, Json], references: References) -> Example:
    """For a parameter or a media type: its own example, or one for its `schema`.

    Raises:
        Unreadable: the schema refers to what is not there, or requires itself.
    """
    if "example" in holder:
        return Example(holder["example"], given=True)
    for named in references.table(holder.get("examples")).values():
        chosen = references.table(named)
        if "value" in chosen:
            return Example(chosen["value"], given=True)
    return _Maker(references).make(holder.get("schema", {}), 0)


class _Maker:
    def __init__(self, references: References) -> None:
        self._references = references
        self._parts = 0

    def make(self, schema: Json, depth: int) -> Example:
        self._parts += 1
        if depth > _DEEPEST or self._parts > _MOST_PARTS:
            raise Unreadable("its schema requires itself, or is too large")
        merged = self._merged(schema, depth)
        given = _given(merged)
        if given:
            return given
        for key in ("oneOf", "anyOf"):
            if isinstance(merged.get(key), list) and merged[key]:
                return self._first_of(merged, merged[key], depth)
        kind = _kind(merged)
        if kind == "object":
            return self._object(merged, depth)
        if kind == "array":
            return self._array(merged, depth)
        return Example(_scalar(kind, merged), given=False)

    def _merged(self, schema: Json, depth: int) -> dict[str, Json]:
        """The schema with all of `allOf` folded in."""
        if depth > _DEEPEST:
            raise Unreadable("its schema is nested too deeply")
        table = dict(self._references.table(schema))
        parts = table.pop("allOf", None)
        for part in parts if isinstance(parts, list) else []:
            other = self._merged(part, depth + 1)
            properties = {**table_at(other, "properties"), **table_at(table, "properties")}
            required = [*list_at(other, "required"), *list_at(table, "required")]
            table = {**other, **table}
            if properties:
                table["properties"] = properties
            if required:
                table["required"] = list(dict.fromkeys(required))
        return table

    def _first_of(self, schema: dict[str, Json], choices: list[Json], depth: int) -> Example:
        tables = [self._merged(choice, depth + 1) for choice in choices]
        real = [table for table in tables if table.get("type") != "null"] or tables
        around = {k: v for k, v in schema.items() if k not in ("oneOf", "anyOf")}
        made = self.make({"allOf": [real[0]], **around}, depth + 1)
        tag = table_at(schema, "discriminator").get("propertyName")
        if isinstance(tag, str) and isinstance(made.value, dict):
            made.value.setdefault(tag, self._tag(schema, choices[tables.index(real[0])]))
        return made

    def _tag(self, schema: dict[str, Json], choice: Json) -> str:
        """The value of a discriminator: its mapping's, or the schema's name."""
        reference = str(choice.get("$ref", "")) if isinstance(choice, dict) else ""
        mapping = table_at(table_at(schema, "discriminator"), "mapping")
        named = [key for key, target in mapping.items() if target == reference]
        return named[0] if named else reference.rpartition("/")[2]

    def _object(self, schema: dict[str, Json], depth: int) -> Example:
        required = [name for name in list_at(schema, "required") if isinstance(name, str)]
        value, given = {}, True
        for name, part in table_at(schema, "properties").items():
            if self._references.table(part).get("readOnly") is True:
                continue
            if name not in required and "example" not in self._references.table(part):
                continue
            made = self.make(part, depth + 1)
            value[name] = made.value
            given = given and made.given
        return Example(value, given=given and bool(value))

    def _array(self, schema: dict[str, Json], depth: int) -> Example:
        most = schema.get("maxItems")
        count = max(1, _whole(schema.get("minItems"), 0))
        if most == 0:
            return Example([], given=False)
        made = self.make(schema.get("items", {}), depth + 1)
        return Example([made.value] * min(count, 1000), given=made.given)


def _given(schema: dict[str, Json]) -> Example | None:
    """In the order of how much each says about a real value."""
    if "example" in schema:
        return Example(schema["example"], given=True)
    examples = schema.get("examples")
    if isinstance(examples, list) and examples:
        return Example(examples[0], given=True)
    for key in ("const", "default"):
        if key in schema and schema[key] is not None:
            return Example(schema[key], given=True)
    choices = [choice for choice in list_at(schema, "enum") if choice is not None]
    return Example(choices[0], given=True) if choices else None


def _kind(schema: dict[str, Json]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema or "required" in schema:
        return "object"
    if "items" in schema:
        return "array"
    if "minimum" in schema or "maximum" in schema:
        return "number"
    return "string"


def _scalar(kind: str, schema: dict[str, Json]) -> Any:
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    if kind in ("integer", "number"):
        return _number(schema, whole=kind == "integer")
    return _text(schema)


def _number(schema: dict[str, Json], *, whole: bool) -> int | float:
    low, high = _bound(schema, "inimum"), _bound(schema, "aximum")
    step = _finite(schema.get("multipleOf")) or (1 if whole else None)
    value: float = 1 if (low is None or low <= 1) and (high is None or high >= 1) else low or 0
    if low is None and high is not None and high < value:
        value = high
    if schema.get("exclusiveMinimum") not in (None, False) and low is not None and value <= low:
        value = low + (step or _gap(low, high))
    if schema.get("exclusiveMaximum") not in (None, False) and high is not None and value >= high:
        value = high - (step or _gap(low, high))
    if step:
        value = (math.ceil if low is not None else math.floor)(value / step) * step
        value = value or (step if high is None or step <= high else 0)
    return int(value) if whole or float(value).is_integer() else value


def _bound(schema: dict[str, Json], name: str) -> float | None:
    """The limit, inclusive or not: 3.0 says `exclusiveMinimum: true`, 3.1 gives the number."""
    exclusive = _finite(schema.get(f"exclusiveM{name}"))
    return exclusive if exclusive is not None else _finite(schema.get(f"m{name}"))


def _gap(low: float | None, high: float | None) -> float:
    return (high - low) / 2 if low is not None and high is not None else 1.0


def _finite(value: Json) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if number and math.isfinite(value) else None


def _text(schema: dict[str, Json]) -> str:
    known = _FORMATS.get(str(schema.get("format")))
    if known:
        return known
    least, most = _whole(schema.get("minLength"), 0), _whole(schema.get("maxLength"), 1_000_000)
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        found = matching(pattern, least, most)
        if found is not None:
            return found
    length = max(4, min(least, 10_000))
    return ("text" * (length // 4 + 1))[: min(length, most)]


def _whole(value: Json, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise
