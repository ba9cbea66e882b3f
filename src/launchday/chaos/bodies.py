"""The JSON bodies of the Toxiproxy API, decoded and refused as the real server does (Go's rules).

Names match in any case, null counts as absent, unknown fields are ignored, whatever follows the
first JSON value is not read. Source: encoding/json as Toxiproxy 2.12.0 uses it, measured.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from typing import Any, NoReturn

PROXY_FIELDS: Mapping[str, type] = {"name": str, "listen": str, "upstream": str, "enabled": bool}
TOXIC_FIELDS: Mapping[str, type] = {"name": str, "type": str, "stream": str, "toxicity": float}
_INT64 = range(-(2**63), 2**63)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_GO_NAMES = {
    str: "string",
    int: "number",
    float: "number",
    bool: "bool",
    dict: "object",
    list: "array",
}


class Refusal(Exception):
    """The API says no: `status` and the words of the real server; `extra` joins the body."""

    def __init__(self, status: int, words: str, extra: Mapping[str, object] | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.extra = extra


def decoded_object(body: bytes) -> dict[str, Any]:
    """A JSON object with its names in lower case; 400."""
    return _lowered(_decoded(body), "body")


def decoded_array(body: bytes) -> list[dict[str, Any]]:
    """An array of JSON objects, likewise; null is an empty one; 400."""
    values = _decoded(body)
    if values is None:
        return []
    if not isinstance(values, list):
        raise unfit("body", values, "array")
    return [_lowered(item, "proxy") for item in values]


def fields(values: Mapping[str, Any], known: Mapping[str, type]) -> dict[str, Any]:
    """The known fields of a body, checked; null counts as absent; 400."""
    found: dict[str, Any] = {}
    for name, kind in known.items():
        value = values.get(name)
        if value is None:
            continue
        fits = type(value) in (int, float) if kind is float else type(value) is kind
        if not fits:
            raise unfit(name, value, "float32" if kind is float else _GO_NAMES[kind])
        found[name] = _float32(name, value) if kind is float else value
    return found


def attributes(values: Mapping[str, Any], current: Mapping[str, int]) -> dict[str, int]:
    """`current` with what the body's attributes change; those not in `current` are ignored; 400."""
    given = _lowered(values.get("attributes"), "attributes")
    changed = dict(current)
    for name in current.keys() & given.keys():
        value = given[name]
        if value is None:
            continue
        if type(value) is not int or value not in _INT64:
            raise unfit(f"attributes.{name}", value, "int64")
        changed[name] = value
    return changed


def require(values: Mapping[str, Any], where: str = "") -> None:
    """Refuse a proxy without a name or an upstream; 400."""
    for name in ("name", "upstream"):
        if not values.get(name):
            raise Refusal(400, f"missing required field: {name}{where}")


def unfit(name: str, value: object, wanted: str) -> Refusal:
    """The refusal of a value of the wrong type."""
    got = _GO_NAMES.get(type(value), "null")
    if got == "number":
        got = f"number {value}"
    words = f"bad request body: json: cannot unmarshal {got} into field {name} of type {wanted}"
    return Refusal(400, words[:300])


def _float32(name: str, value: float) -> float:
    """The number of at most 9 digits that names the 32 bits in which Go keeps it."""
    try:
        kept = _single(value)
    except OverflowError as error:
        raise unfit(name, value, "float32") from error
    if not math.isfinite(kept):  # Python reads 1e400 as infinity, which JSON cannot say
        raise unfit(name, value, "float32")
    written = (float(f"{kept:.{digits}g}") for digits in range(1, 10))
    return next(short for short in written if _single(short) == kept)


def _single(value: float) -> float:
    kept: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return kept


def _lowered(values: Any, what: str) -> dict[str, Any]:
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise unfit(what, values, "object")
    return {name.lower(): _well_formed(value) for name, value in values.items()}


def _well_formed(value: Any) -> Any:
    """Text without half characters, which no answer could be encoded with."""
    return _LONE_SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value


def _decoded(body: bytes) -> Any:
    text = body.decode(errors="replace").lstrip(" \t\r\n")
    if not text:
        raise Refusal(400, "bad request body: EOF")
    try:
        return _DECODER.raw_decode(text)[0]
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"bad request body: {str(error)[:200]}") from error


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"invalid character in {word}")


_DECODER = json.JSONDecoder(parse_constant=_no_number)
