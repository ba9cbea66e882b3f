"""The committed dashboards against Grafana's schema: its Foundation SDK reads and writes them."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest

from tests.dashboards.conftest import panels_of

SDK = "grafana-foundation-sdk"
models = pytest.importorskip(
    "grafana_foundation_sdk.models.dashboard", reason=f"{SDK} is not installed: no schema check"
)
# Structures that the schema leaves open, so that the SDK drops what is in them.
OPEN = ("target.", "titleFormat", "textFormat", "tagKeys", "definition")


def read_and_written(board: dict[str, Any]) -> tuple[Any, Any]:
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins

    register_default_plugins()  # before it, options of panels are any dictionary
    read = models.Dashboard.from_json(board)
    return read, json.loads(JSONEncoder(sort_keys=True).encode(read))


def differences(ours: Any, theirs: Any, place: str = "") -> Iterator[str]:
    """Places where the SDK knew no such key, or made another value of it."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key in theirs:
                yield from differences(value, theirs[key], f"{place}.{key}")
            elif value not in (None, False, "", [], {}):
                yield f"{place}.{key}"
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{place}[{index}]")
    elif ours != theirs:
        yield f"{place}: {ours!r} became {theirs!r}"


def wrong_types(value: Any, place: str = "") -> Iterator[str]:
    """Places where what was read is not what the SDK's type hints allow."""
    if isinstance(value, list | dict):
        items = enumerate(value) if isinstance(value, list) else value.items()
        for key, each in items:
            yield from wrong_types(each, f"{place}[{key}]")
    elif type(value).__module__.startswith("grafana_foundation_sdk.models") and not isinstance(
        value, Enum
    ):
        for name, hint in typing.get_type_hints(type(value)).items():
            found = getattr(value, name)
            if found is not None and not fits(found, hint):
                yield f"{place}.{name}: {found!r} is not {hint}"
            yield from wrong_types(found, f"{place}.{name}")


def fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in (Any, object) or isinstance(hint, typing.TypeVar):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, each) for each in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(fits(each, arguments[0]) for each in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(each, arguments[1]) for each in value.values())
    if not isinstance(hint, type):
        return True
    if issubclass(hint, Enum):
        return isinstance(value, hint) or value in {each.value for each in hint}
    return isinstance(value, (int, float) if hint is float else hint)


def test_grafanas_schema_knows_every_key_and_keeps_every_value(board: dict[str, Any]) -> None:
    _, written = read_and_written(board)
    lost = [place for place in differences(board, written) if not any(x in place for x in OPEN)]
    assert lost == []


def test_every_value_is_of_the_type_that_grafanas_schema_wants(board: dict[str, Any]) -> None:
    read, _ = read_and_written(board)
    # These the SDK leaves as they are.
    untouched = (".transformations:", ".links:")
    assert [p for p in wrong_types(read) if not any(each in p for each in untouched)] == []


def test_every_kind_of_panel_is_one_that_the_schema_has(board: dict[str, Any]) -> None:
    from grafana_foundation_sdk.cog import runtime

    read_and_written(board)
    for panel in panels_of(board):
        assert runtime.panelcfg_config(panel["type"]) is not None, panel["type"]


PLANTED: list[tuple[str, tuple[str | int, ...], Any]] = [
    ("a misspelt option", ("options", "legend", "placment"), "bottom"),
    ("a wrong word", ("options", "legend", "displayMode"), "lists"),
    ("a wrong type", ("fieldConfig", "defaults", "min"), "none"),
    ("a misspelt key of a query", ("targets", 0, "legendFormatt"), "x"),
    ("a wrong style", ("fieldConfig", "defaults", "custom", "drawStyle"), "lines"),
]


@pytest.mark.parametrize(("what", "path", "value"), PLANTED, ids=[each[0] for each in PLANTED])
def test_a_planted_fault_is_found(
    board: dict[str, Any], what: str, path: tuple[str | int, ...], value: Any
) -> None:
    copy = json.loads(json.dumps(board))
    place: Any = next(panel for panel in copy["panels"] if panel["type"] == "timeseries")
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    try:
        read, written = read_and_written(copy)
    except (TypeError, ValueError, KeyError):
        return
    lost = [place for place in differences(copy, written) if not any(x in place for x in OPEN)]
    assert lost or list(wrong_types(read)), what
